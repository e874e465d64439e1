"""Rows that mean the same become one, after a shuffle that has made them neighbours."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from echelon.data.cells import decode, encode
from echelon.data.schema import Schema
from echelon.spark.carriage import Run
from echelon.spark.notes import Notes

MERGED = "merged"
"""The counter of rows that became part of another one."""


@dataclass(frozen=True)
class Merge:
    """Of rows with the same value in one column the first stays, with the numbers of another column added up.

    Such rows must have the same key of the shuffle (see `Rows`). same: a column of fixed shape, such as a digest of
    128 bits; two rows with one key and another value are two rows. added: a column of integers of fixed shape.
    """

    same: str
    added: str


def merged(runs: Iterable[Run], merge: Merge, schema: Schema, notes: Notes) -> Iterator[Run]:
    """Runs of rows, sorted by their keys, without rows that became part of an earlier one. How many is counted.

    However many mean the same, they are added up as they come: never more than a run and one row is held.
    """
    last: Run | None = None
    for run in runs:
        if not len(run.rows):
            continue
        if last is not None and (last.part, last.split) == (run.part, run.split):
            run = _joined(last, run)
        elif last is not None:
            yield last
        before = len(run.rows)
        run = _within(run, merge, schema)
        notes.counts[MERGED] += before - len(run.rows)
        if len(run.rows) > 1:
            yield _cut(run, 0, len(run.rows) - 1)
        last = _cut(run, len(run.rows) - 1, len(run.rows))
    if last is not None:
        yield last


def _within(run: Run, merge: Merge, schema: Schema) -> Run:
    """The rows of one run merged."""
    values = decode(schema.select((merge.same, merge.added)), run.rows)
    same, added = np.asarray(values[merge.same]), np.asarray(values[merge.added])
    flat = same.reshape(len(same), -1)
    starts = np.flatnonzero(np.append(True, (flat[1:] != flat[:-1]).any(axis=1)))
    if len(starts) == len(same):
        return run
    sums = np.add.reduceat(added, starts, axis=0, dtype=added.dtype)
    column = encode(schema.select((merge.added,)), {merge.added: sums}).column(0)
    rows = run.rows.take(pa.array(starts))
    rows = rows.set_column(rows.schema.get_field_index(merge.added), rows.schema.field(merge.added), column)
    return replace(run, rows=rows, origins=tuple(origin[starts] for origin in run.origins))


def _joined(first: Run, second: Run) -> Run:
    rows = pa.Table.from_batches([first.rows, second.rows]).combine_chunks().to_batches()[0]
    origins: tuple[NDArray[np.int64], ...] = tuple(map(np.concatenate, zip(first.origins, second.origins, strict=True)))
    return Run(first.part, first.split, rows, origins)


def _cut(run: Run, start: int, end: int) -> Run:
    origins = tuple(origin[start:end] for origin in run.origins)
    return Run(run.part, run.split, run.rows.slice(start, end - start), origins)
