"""A DataFrame is written out once, as the same kind of dataset as any other: shuffled, and with tensors in cells.

Two passes: the first counts rows and nulls and looks at the lengths of lists, so that nothing is written of a frame
that cannot become a dataset; the second writes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from numpy.typing import NDArray

from echelon.data.cells import conform
from echelon.data.manifest import Dataset
from echelon.data.schema import Column, Schema
from echelon.data.shuffle import bucket_of
from echelon.data.storage import open_storage
from echelon.data.write import commit, start
from echelon.errors import DataError
from echelon.spark.carriage import Carriage
from echelon.spark.job import OnProgress, Reports, collect
from echelon.spark.prepare import PART_BYTES, TRAIN
from echelon.spark.scattered import Format, Written, bounded_batches, written

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
        is computed, or there is a dataset already.
        WorkerFailed: the frame itself cannot be computed. CommunicationError, StorageError: processes or storage
        failed.
    """
    sources = [_source(field.name, field.dataType) for field in frame.schema.fields if field.name != SPLIT]
    if not sources:
        raise DataError(f"the DataFrame has no columns but {frame.columns}: there is nothing to write")
    storage = open_storage(url)
    start(storage, overwrite)
    rows, columns = _measured(frame, sources)
    schema = Schema(columns)
    carriage = Carriage(schema, _parts(schema, rows))
    plan, reports = _writing(_plain(frame, sources, seed), carriage, Format(storage.url, row_group_mb, compression))
    with bounded_batches(frame.sparkSession, carriage):
        results = collect(frame.sparkSession, plan, reports, f"Echelon: write {storage.url}", on_progress)
    whole = Written.merged((row["files"], bytes(row["sums"])) for row in results)
    _require_rows(whole, rows)
    return commit(storage, schema, whole.splits, shuffled=True)


def _writing(plain: DataFrame, carriage: Carriage, form: Format) -> tuple[Callable[[], DataFrame], Reports]:
    """What writes the rows of a plain frame, and where it reports mistakes in them."""
    reports = Reports(plain.sparkSession)

    def pack(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            with reports.reporting(0) as outcome:
                yield _packed(batch, carriage)
            if outcome.failed:
                return

    def plan() -> DataFrame:
        return written(plain.mapInArrow(pack, carriage.ddl), carriage, form)

    return plan, reports


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
        wanted.append(f.count_if(_has_null(source)).alias(f"null {number}"))
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


def _has_null(source: _Source) -> Expression:
    from pyspark.sql import functions as f

    null = source.expression.isNull()
    if source.length is None or source.dtype == "uint8":
        return null
    return null | f.exists(source.expression, lambda entry: entry.isNull())


def _column(source: _Source, found: Mapping[str, Any], number: int) -> Column:
    if source.length is None:
        return Column(source.name, source.dtype)
    shortest, longest = found[f"min {number}"], found[f"max {number}"]
    return Column(source.name, source.dtype, (longest,) if shortest == longest > 0 else (None,))


def _plain(frame: DataFrame, sources: list[_Source], seed: int) -> DataFrame:
    """The frame with plain columns c0…, a split and a key that is a function of the row and the seed."""
    from pyspark.sql import functions as f

    cells = [source.expression.alias(f"c{number}") for number, source in enumerate(sources)]
    split = f.col(SPLIT).cast("string") if SPLIT in frame.columns else f.lit(TRAIN)
    plain = frame.select(split.alias("split"), *cells)
    hashed = f.xxhash64(f.lit(seed), *plain.columns)
    return plain.withColumn("key", f.shiftrightunsigned(hashed, 1))


def _packed(batch: pa.RecordBatch, carriage: Carriage) -> pa.RecordBatch:
    keys: NDArray = batch.column("key").to_numpy()
    named = pa.RecordBatch.from_arrays(
        [batch.column(f"c{number}") for number in range(len(carriage.schema.names))], names=list(carriage.schema.names)
    )
    rows = conform(carriage.schema, named)
    return carriage.pack(rows, batch.column("split").to_pylist(), bucket_of(keys, carriage.parts), keys, 0, 0)


def _parts(schema: Schema, rows: int) -> int:
    row = sum(
        _GUESSED_ROW_BYTES if column.is_variable or column.is_string else column.cell_bytes for column in schema.columns
    )
    return max(1, min(_MOST_PARTS, -(-rows * row // PART_BYTES)))
