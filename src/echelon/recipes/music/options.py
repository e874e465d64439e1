"""The options of preparing music; the command line makes its flags from these fields."""

from __future__ import annotations

import math
from dataclasses import dataclass

from echelon.errors import EchelonError
from echelon.train.config import option

ENDINGS = ("mp3", "ogg", "oga", "opus", "flac", "wav", "aif", "aiff", "aifc", "au", "w64", "caf", "rf64")
"""How files of sound are named that libsndfile reads."""
_COMPRESSIONS = ("zstd", "lz4", "none")
_RATES = (1000, 192_000)


@dataclass(frozen=True)
class PrepareOptions:
    """How songs become windows of codes."""

    rate: int = option(16_000, "samples a second that songs are brought to, such as 8000 or 16000", least=_RATES[0])
    window: int = option(8192, "codes of a row that are to be predicted", least=1)
    context: int = option(
        2048,
        "codes before these that a row brings along, so that the first can be predicted too; best at least as many as "
        "the model looks back on",
        least=1,
    )
    normalise: bool = option(True, "scale each song so that its loudest sample is 1")
    test_fraction: float = option(0.1, "part of the songs to test on, whole ones drawn by their paths; 0 for none")
    split_seed: int = option(0, "seed of that division")
    from_second: float = option(0.0, "leave out what comes before this second of each song")
    seconds: float | None = option(None, "take at most so many seconds of each song (default: all)")
    min_seconds: float = option(0.1, "leave out songs of which less than so many seconds are to be had")
    formats: str | None = option(None, "only files with these endings, such as mp3,ogg (default: all that are known)")
    shuffle_seed: int = option(0, "seed of the order in which the rows are written", least=0)
    compression: str = option("zstd", "of the data files: zstd, lz4 or none")
    resume: bool = option(False, "keep the parts that an interrupted prepare of the same files and options has written")

    def __post_init__(self) -> None:
        least, most = _RATES
        if not least <= self.rate <= most:
            raise EchelonError(f"--rate must be from {least} to {most} samples a second, got {self.rate}")
        for name, lowest in (("window", 1), ("context", 1), ("shuffle_seed", 0)):
            if getattr(self, name) < lowest:
                raise EchelonError(f"{_flag(name)} must be at least {lowest}, got {getattr(self, name)}")
        if not 0 <= self.test_fraction < 1:
            raise EchelonError(f"--test-fraction must be at least 0 and below 1, got {self.test_fraction}")
        for name in ("from_second", "min_seconds"):
            if not 0 <= getattr(self, name) < math.inf:
                raise EchelonError(f"{_flag(name)} must be at least 0, got {getattr(self, name)}")
        if self.seconds is not None and not 0 < self.seconds < math.inf:
            raise EchelonError(f"--seconds must be more than 0, got {self.seconds}")
        if self.compression not in _COMPRESSIONS:
            raise EchelonError(f"--compression must be one of {', '.join(_COMPRESSIONS)}, got {self.compression!r}")
        _ = self.endings

    @property
    def endings(self) -> tuple[str, ...]:
        """The endings of files that are taken, without a dot, in small letters."""
        if self.formats is None:
            return ENDINGS
        named = tuple(ending.strip().lower().lstrip(".") for ending in self.formats.split(","))
        if unknown := [ending for ending in named if ending not in ENDINGS]:
            raise EchelonError(f"--formats must be of {', '.join(ENDINGS)}, got {', '.join(map(repr, unknown))}")
        return named


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"
