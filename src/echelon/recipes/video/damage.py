"""What is told of records that are left out: each with its reason, and by file how many bytes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from echelon.recipes.video.tfrecord import Loss
from echelon.spark.prepare import Problem

_RECORDS, _BYTES = "records left out/", "bytes left out/"


def told(path: str, loss: Loss) -> tuple[Problem, Counter[str]]:
    """A loss in a file as a problem, and the counts for `by_file`."""
    return Problem(path, str(loss)), Counter({_RECORDS + path: 1, _BYTES + path: loss.size})


def by_file(counts: Mapping[str, int]) -> dict[str, dict[str, int]]:
    """Of each file with losses how many there are, and how many bytes."""
    paths = sorted(name.removeprefix(_RECORDS) for name in counts if name.startswith(_RECORDS))
    return {path: {"problems": counts[_RECORDS + path], "bytes": counts.get(_BYTES + path, 0)} for path in paths}
