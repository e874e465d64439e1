"""What is told of songs while they are read, as problems and counts, and what it comes to."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from echelon.recipes.music.listening import Heard
from echelon.spark.prepare import Problem

_DECLARED, _DECODED, _UNDECLARED = "declared ms", "decoded ms", "undeclared ms"
_CODES = "codes/"


@dataclass(frozen=True)
class Told:
    """What is told of one song. path: within the source."""

    path: str

    def problem(self, reason: str) -> Problem:
        """Something of it, or all, is left out."""
        return Problem(self.path, reason)

    def lengths(self, heard: Heard) -> Counter[str]:
        """How long it said to be and was, if it was read to its end."""
        if not heard.is_whole:
            return Counter()
        if heard.declared is None:
            return Counter({_UNDECLARED: round(heard.decoded * 1000)})
        counts = Counter({_DECLARED: round(heard.declared * 1000), _DECODED: round(heard.decoded * 1000)})
        if heard.lost is not None:
            counts |= Counter({f"{name}/{self.path}": counts[name] for name in (_DECLARED, _DECODED)})
        return counts

    def codes(self, digest: str, split: str) -> Counter[str]:
        """What its codes are. digest: hexadecimal, of them all."""
        return Counter({f"{_CODES}{digest}/{split}/{self.path}": 1})


def durations(counts: Mapping[str, int]) -> dict[str, float]:
    """Seconds that the files which say how long they are said to have ("declared") and had ("decoded"), and what the
    others had ("undeclared"). Only files that were read to their end.
    """
    return {name.removesuffix(" ms"): counts.get(name, 0) / 1000 for name in (_DECLARED, _DECODED, _UNDECLARED)}


def damaged(counts: Mapping[str, int]) -> dict[str, dict[str, float]]:
    """By song, of those that are not whole, seconds that it said to have and had."""
    paths = sorted(name.removeprefix(f"{_DECLARED}/") for name in counts if name.startswith(f"{_DECLARED}/"))
    return {
        path: {
            "declared": counts[f"{_DECLARED}/{path}"] / 1000,
            "decoded": counts.get(f"{_DECODED}/{path}", 0) / 1000,
        }
        for path in paths
    }


def twins(counts: Mapping[str, int]) -> list[dict[str, str]]:
    """Songs with the same codes, as those are that lie there twice: of each such group the splits by path."""
    groups: dict[str, dict[str, str]] = defaultdict(dict)
    for name in sorted(counts):
        if name.startswith(_CODES):
            digest, split, path = name.removeprefix(_CODES).split("/", 2)
            groups[digest][path] = split
    return [group for group in groups.values() if len(group) > 1]
