"""The most frequent of many strings, such as words, of which no more than these reach the driver."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, TypeVar

import pyarrow as pa
import pyarrow.compute as pc

from echelon.spark.job import OnProgress, Reports, collect, over_items, send

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

Item = TypeVar("Item")
_COUNTS = "word string, n bigint"
_HELD_ROWS = 1 << 19
_HELD_BYTES = 32 << 20
"""Of the counts of a task that may not yet be merged."""


def most_frequent(
    session: SparkSession,
    items: Sequence[Item],
    strings_of: Callable[[Item], Iterator[pa.Array]],
    count: int,
    *,
    description: str = "Echelon: count words",
    on_progress: OnProgress | None = None,
) -> list[tuple[str, int]]:
    """The strings that occur most often over all items, and how often, in that order; of equally frequent ones those
    first whose UTF-8 bytes are smaller. The order in which they are counted makes no difference.

    Args:
        strings_of: strings in an item, in pieces, without nulls. Runs in a task, and must be picklable.
        count: how many at most.

    Raises:
        WorkerFailed: the function raised. CommunicationError, StorageError: processes or storage failed.
    """
    if not items:
        return []
    sent, reports = send(session, items), Reports(session)

    def counted(indices: Iterator[int]) -> Iterator[pa.RecordBatch]:
        for index in indices:
            with reports.reporting(index) as outcome:
                yield from _counted(strings_of(sent(index)))
            if outcome.failed:
                return

    def plan() -> DataFrame:
        from pyspark.sql import functions as f

        counts = over_items(session, len(items), None, counted, _COUNTS)
        total = counts.groupBy("word").agg(f.sum("n").alias("n"))
        return total.orderBy(f.desc("n"), f.asc("word")).limit(count)

    try:
        rows = collect(session, plan, reports, description, on_progress)
    finally:
        sent.forget()
    return [(row["word"], row["n"]) for row in rows]


def _counted(pieces: Iterator[pa.Array]) -> Iterator[pa.RecordBatch]:
    """How often each string occurs: most strings once, none left out; bounded memory, however many there are."""
    held: list[pa.Table] = []
    for piece in pieces:
        counts = pc.value_counts(piece)
        held.append(pa.table({"word": counts.field("values"), "n": counts.field("counts")}))
        if sum(map(len, held)) > _HELD_ROWS or sum(table.nbytes for table in held) > _HELD_BYTES:
            held = [_merged(held)]
            if len(held[0]) > _HELD_ROWS // 2 or held[0].nbytes > _HELD_BYTES // 2:
                yield from held.pop().to_batches()
    if held:
        yield from _merged(held).to_batches()


def _merged(held: list[pa.Table]) -> pa.Table:
    total = pa.concat_tables(held).group_by("word", use_threads=False).aggregate([("n", "sum")])
    return total.rename_columns({"n_sum": "n"}).select(["word", "n"])
