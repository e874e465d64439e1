"""The options of preparing videos; the command line makes its flags from these fields."""

from __future__ import annotations

from dataclasses import dataclass

from echelon.errors import EchelonError
from echelon.train.config import option

AUTO = "auto"
_CHOICES = {"level": (AUTO, "frame", "video"), "split": (AUTO, "names", "ids"), "compression": ("zstd", "lz4", "none")}


@dataclass(frozen=True)
class PrepareOptions:
    """How TFRecord files become a dataset."""

    level: str = option(AUTO, "frame, video, or auto to look into the first record")
    audio: bool = option(True, "take the sound features too; without them, records that have none are good")
    max_frames: int = option(300, "frames of a video that are kept, the first ones", least=1)
    split: str = option(
        AUTO,
        "names: by files or folders called train…, validate… (split val) and test…; ids: --test-fraction of the "
        "videos; auto: names if there are several, else ids",
    )
    test_fraction: float = option(0.2, "part of the videos to test on, drawn by their ids, where names do not say it")
    split_seed: int = option(0, "seed of that division")
    files: str | None = option(None, "only files that match, for example 'train00*' or 'train*,validate*'")
    fraction: float = option(1.0, "part of the files of each split to take, drawn by their names; at least one")
    vocabulary: str | None = option(None, "vocabulary.csv of the public set (path or URL), for the names of the labels")
    shuffle_seed: int = option(0, "seed of the order in which the rows are written")
    compression: str = option("zstd", "of the data files: zstd, lz4 or none")
    resume: bool = option(False, "keep the parts that an interrupted prepare of the same files and options has written")

    def __post_init__(self) -> None:
        for name, known in _CHOICES.items():
            if getattr(self, name) not in known:
                raise EchelonError(f"--{name} must be one of {', '.join(known)}, got {getattr(self, name)!r}")
        if self.max_frames < 1:
            raise EchelonError(f"--max-frames must be at least 1, got {self.max_frames}")
        if not 0 <= self.test_fraction < 1:
            raise EchelonError(f"--test-fraction must be at least 0 and below 1, got {self.test_fraction}")
        if not 0 < self.fraction <= 1:
            raise EchelonError(f"--fraction must be more than 0 and at most 1, got {self.fraction}")
