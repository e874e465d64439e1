"""A DataFrame is written out once, as the same kind of dataset as any other: shuffled, and with tensors in cells.

Two passes: the first counts rows and nulls and looks at the lengths of lists, on which the schema and the number of
data files depend; the second shuffles the rows as Spark has them and writes. Only there are lists unpacked, and once: a
null within one ends the job before the dataset is committed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from echelon.data.cells import conform
from echelon.data.manifest import Dataset
from echelon.data.schema import Column, Schema
from echelon.data.shuffle import KEY_BITS
from echelon.data.storage import open_storage
from echelon.data.write import commit, start
from echelon.errors import DataError
from echelon.spark.carriage import Run, place_keys, runs_of
from echelon.spark.job import OnProgress, Reports, collect
from echelon.spark.prepare import TRAIN
from echelon.spark.scattered import WRITTEN, Format, Written, bounded_batches, write_runs

if TYPE_CHECKING:
    from pyspark.sql import Column as Expression
    from pyspark.sql import DataFrame
    from pyspark.sql.types import DataType

SPLIT = "split"
_NUMBERS = {
    "boolean": "bool",
    "tinyint": "int8",
    "smallint": "int16",
    "int": "int32",
    "bigint": "int64",
    "float": "float32",
    "double": "float64",
}
_GUESSED_ROW_BYTES = 256
_MOST_PARTS = 1_000
# Of one task, which has nothing else to do: small ones, so that small frames are written by several.
_PART_BYTES = 32 << 20


def write_frame(
    frame: DataFrame,
    url: str,
    *,
    seed: int = 0,
    row_group_mb: float = 4,
    compression: str = "zstd",
    overwrite: bool = False,
    on_progress: OnProgress | None = None,
) -> Dataset:
    """Writes a DataFrame as a dataset.

    Numbers, booleans and strings stay what they are, decimals become float64. Arrays of numbers become tensors
    [length] of the same type, Spark ML vectors tensors [length] of float32, binary a tensor [length] of uint8; where
    not all rows have the same length, it varies. A column "split" names the split of each row; without one all are
    "train".

    The same rows and seed give the same dataset, however Spark divided them.

    Args:
        seed: of the global shuffle. overwrite: whether a dataset at this URL may be replaced.

    Raises:
        DataError: the frame is empty, has nulls or a column of another type (named), has other rows each time that it
        is computed, or there is a dataset already. WorkerFailed: the frame itself cannot be computed, or a list holds
        a null. CommunicationError, StorageError: processes or storage failed.
    """
    sources = [_source(field.name, field.dataType) for field in frame.schema.fields if field.name != SPLIT]
    if not sources:
        raise DataError(f"the DataFrame has no columns but {frame.columns}: there is nothing to write")
    storage = open_storage(url)
    start(storage, overwrite)
    rows, columns = _measured(frame, sources)
    schema = Schema(columns)
    plan, reports = _writing(
        _placed(frame, sources, seed, _parts(schema, rows)), schema, Format(storage.url, row_group_mb, compression)
    )
    with bounded_batches(frame.sparkSession, schema, repeatable=False):
        results = collect(frame.sparkSession, plan, reports, f"Echelon: write {storage.url}", on_progress, unit="part")
    whole = Written.merged(results)
    _require_rows(whole, rows)
    return commit(storage, schema, whole.splits, shuffled=True)


def _writing(placed: DataFrame, schema: Schema, form: Format) -> tuple[Callable[[], DataFrame], Reports]:
    """What writes rows that are in their places, and where it reports mistakes in them."""
    reports = Reports(placed.sparkSession)

    def runs(batches: Iterator[pa.RecordBatch]) -> Iterator[Run]:
        for batch in batches:
            cells = [batch.column(f"c{number}") for number in range(len(schema.names))]
            rows = conform(schema, pa.RecordBatch.from_arrays(cells, names=list(schema.names)))
            yield from runs_of(batch.column("part"), batch.column("split"), rows)

    def write(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        from pyspark import TaskContext

        context = TaskContext.get()
        with reports.reporting(context.partitionId() if context is not None else 0) as outcome:
            outcome.result = write_runs(runs(batches), schema, form).to_batch()
        if not outcome.failed:
            yield outcome.result

    return lambda: placed.mapInArrow(write, WRITTEN), reports


def _require_rows(whole: Written, counted: int) -> None:
    found = sum(file.rows for files in whole.splits.values() for file in files)
    if found != counted:
        raise DataError(
            f"the DataFrame had {counted} rows when they were counted and {found} when they were written: it gives "
            "other rows each time that it is computed, as rand() without a seed does. Write it to Parquet and give that"
        )


@dataclass(frozen=True)
class _Source:
    """A column of the frame.

    dtype: of the column of the dataset. expression: a number, a string, binary or an array of numbers.
    length: how many entries a row has; None for one value.
    """

    name: str
    dtype: str
    expression: Expression
    length: Expression | None


def _source(name: str, kind: DataType) -> _Source:
    from pyspark.sql import functions as f

    column = f.col(f"`{name.replace('`', '``')}`")
    simple = kind.simpleString()
    if simple in _NUMBERS or simple == "string":
        return _Source(name, _NUMBERS.get(simple, "string"), column, None)
    if simple.startswith("decimal("):
        return _Source(name, "float64", column.cast("double"), None)
    if simple == "binary":
        return _Source(name, "uint8", column, f.length(column))
    if type(kind).__name__ == "VectorUDT":
        from pyspark.ml.functions import vector_to_array

        array = vector_to_array(column, "float32")
        return _Source(name, "float32", array, f.size(array))
    element = simple.removeprefix("array<").removesuffix(">")
    if simple.startswith("array<") and element in _NUMBERS:
        return _Source(name, _NUMBERS[element], column, f.size(column))
    raise DataError(
        f"column '{name}' is {simple}, which no dataset can hold: drop it, or turn it into a number, a string, "
        "binary, an array of numbers or a Spark ML vector"
    )


def _measured(frame: DataFrame, sources: list[_Source]) -> tuple[int, tuple[Column, ...]]:
    """The number of rows and the columns of the dataset."""
    from pyspark.sql import functions as f

    wanted = [f.count(f.lit(1)).alias("rows")]
    if SPLIT in frame.columns:
        wanted.append(f.count_if(f.col(SPLIT).isNull()).alias("null split"))
    for number, source in enumerate(sources):
        wanted.append(f.count_if(source.expression.isNull()).alias(f"null {number}"))
        if source.length is not None:
            wanted += [f.min(source.length).alias(f"min {number}"), f.max(source.length).alias(f"max {number}")]
    found = frame.agg(*wanted).collect()[0].asDict()
    if not found["rows"]:
        raise DataError("the DataFrame has no rows: there is nothing to write")
    nulls = {source.name: found[f"null {number}"] for number, source in enumerate(sources)}
    nulls[SPLIT] = found.get("null split", 0)
    if any(nulls.values()):
        told = ", ".join(f"'{name}' in {count}" for name, count in nulls.items() if count)
        raise DataError(f"of {found['rows']} rows there are nulls in column {told}: fill or drop these rows first")
    return found["rows"], tuple(_column(source, found, number) for number, source in enumerate(sources))


def _column(source: _Source, found: Mapping[str, Any], number: int) -> Column:
    if source.length is None:
        return Column(source.name, source.dtype)
    shortest, longest = found[f"min {number}"], found[f"max {number}"]
    return Column(source.name, source.dtype, (longest,) if shortest == longest > 0 else (None,))


def _placed(frame: DataFrame, sources: list[_Source], seed: int, parts: int) -> DataFrame:
    """The frame with columns c0…, and the split and the part of each row; each task has one part, in its final order.

    The order is that of keys which are a function of the seed and the row's values.
    """
    from pyspark.sql import functions as f

    cells = [source.expression.alias(f"c{number}") for number, source in enumerate(sources)]
    split = f.col(SPLIT).cast("string") if SPLIT in frame.columns else f.lit(TRAIN)
    plain = frame.select(split.alias("split"), *cells)
    key = f.shiftrightunsigned(f.xxhash64(f.lit(seed), *plain.columns), 1)
    # As `bucket_of`.
    part = f.shiftright(f.shiftright("key", KEY_BITS - 32) * parts, 32).cast("int")
    places = f.array(*map(f.lit, place_keys(parts).tolist()))
    keyed = plain.withColumn("key", key).withColumn("part", part)
    placed = keyed.repartition(parts, f.element_at(places, f.col("part") + 1))
    return placed.sortWithinPartitions("part", "split", "key")


def _parts(schema: Schema, rows: int) -> int:
    row = sum(
        _GUESSED_ROW_BYTES if column.is_variable or column.is_string else column.cell_bytes for column in schema.columns
    )
    return max(1, min(_MOST_PARTS, -(-rows * row // _PART_BYTES)))
