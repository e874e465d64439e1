"""Raw items become a dataset: tasks decode them, Spark shuffles their rows globally, tasks write the data files."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from echelon.data.cells import encode
from echelon.data.manifest import Asset, Dataset
from echelon.data.schema import Schema, Values
from echelon.data.shuffle import bucket_of, shuffle_keys
from echelon.data.storage import Storage, open_storage
from echelon.data.write import commit, write_asset
from echelon.errors import DataError
from echelon.spark.carriage import Carriage
from echelon.spark.finish import Finish, Finished
from echelon.spark.job import OnProgress, Reports, collect, over_items, send
from echelon.spark.ledger import begin, plan_of
from echelon.spark.merged import Merge
from echelon.spark.notes import Notes, Problem
from echelon.spark.probe import listed_files
from echelon.spark.scattered import Arrays, Format, SumsOf, Written, bounded_batches, written, written_before

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

__all__ = ["Addition", "Finish", "Finished", "Found", "Merge", "Problem", "Rows", "Summary", "prepare_dataset"]

PART_BYTES = 128 << 20
_LEAST_PART_BYTES = 16 << 20
_MOST_PARTS = 10_000
_FINISHED_PARTS = 32
"""Of a small dataset whose rows are finished after the shuffle: that many cores have some of the work."""
_USUAL_ITEM_BYTES = 32 << 20
_BRIEF_ITEMS = 16
"""That share a task, where each core has two tasks all the same."""
TRAIN = "train"


@dataclass(frozen=True)
class Rows:
    """Some rows.

    values: for every column its values, as `cells.encode` takes them. splits: of all rows, or of each. keys: the place
    of each in the global order, int64 [rows], in [0, 2^63); rows of one split with equal keys become neighbours, in the
    order of the items. None for places that are drawn.
    """

    values: Mapping[str, Values]
    splits: str | Sequence[str] = TRAIN
    keys: NDArray[np.int64] | None = None


Found = Rows | Problem | Counter[str]
Item = TypeVar("Item")


@dataclass(frozen=True)
class Summary:
    """What became of the items.

    rows: of each split. problems: how many; the first of them are in `reported`, in the order of the items. counts: all
    counters added up. sums: by split what `sums_of` gave, added up over all rows.
    """

    rows: Mapping[str, int]
    problems: int
    reported: tuple[Problem, ...]
    counts: Mapping[str, int]
    sums: Mapping[str, Arrays]

    @property
    def info(self) -> dict[str, Any]:
        """What every recipe's dataset says of its problems, for `Addition.info`."""
        return {"problems": {"count": self.problems, "first": [[p.item, p.reason] for p in self.reported]}}

    def to_json(self) -> dict[str, Any]:
        """All but the sums, for a dataset's `info`."""
        return {"rows": dict(self.rows), "counts": dict(self.counts), **self.info}

    @classmethod
    def from_json(cls, said: Mapping[str, Any]) -> Summary:
        """Of `to_json`; without sums."""
        reported = tuple(Problem(item, reason) for item, reason in said["problems"]["first"])
        return cls(said["rows"], said["problems"]["count"], reported, said["counts"], {})


@dataclass(frozen=True)
class Addition:
    """What belongs to a dataset beside its rows: `info` and `assets` of its manifest."""

    info: Mapping[str, Any]
    assets: Mapping[str, NDArray]


def prepare_dataset(
    session: SparkSession,
    url: str,
    schema: Schema,
    items: Sequence[Item],
    rows_of: Callable[[Item], Iterator[Found]],
    *,
    merge: Merge | None = None,
    finish: Finish | None = None,
    conclude: Callable[[Summary], Addition] | None = None,
    sums_of: SumsOf | None = None,
    bytes_of: Callable[[Item], int] | None = None,
    brief: bool = False,
    parts: int | None = None,
    assets: Mapping[str, NDArray] = MappingProxyType({}),
    shuffle_seed: int | None = 0,
    row_group_mb: float = 4,
    compression: str = "zstd",
    overwrite: bool = False,
    resume: bool = False,
    on_progress: OnProgress | None = None,
) -> tuple[Dataset, Summary]:
    """Writes the rows of items, such as raw files, as a dataset.

    The same items and seed give the same dataset, byte by byte, on any number of cores and hosts. Only the file of a
    part whose task had to be tried again, or that was written after an interruption, has another name.

    Args:
        rows_of: what an item holds, in a fixed order: rows, problems, and counts of whatever is worth counting. A
            DataError is a problem of the whole item; a missing file is an error of its host, which must see what was
            listed. Runs in a task, and must be picklable.
        merge: makes one of rows that have the same key and mean the same, after the shuffle and before `finish`.
        finish: makes the dataset's rows of those of `rows_of`, which have its `travelling` schema then, after they were
            shuffled. For rows that are smaller before it.
        conclude: what else belongs to the dataset; called on the driver before the dataset is committed.
        sums_of: called in tasks with a split and some of its rows, as `cells.decode` gives them; the arrays that it
            returns are added up. Integers are exact; the order in which floats are added varies.
        bytes_of: about how many bytes the rows of an item have, to decide on the number of data files; default 32 MB.
        brief: reading an item takes no longer than starting a task, so that some items share one.
        parts: that number itself, where not bytes but the work of the last step decides. A part may come
            out empty.
        assets: arrays of the dataset that tasks need, at `commit.asset_path`; written before any task starts.
        shuffle_seed: of the global shuffle; None keeps the order of the items.
        overwrite: whether a dataset at this URL may be replaced.
        resume: keep the parts that a killed prepare with the same arguments has written at this URL. The items are read
            again, for the other parts. Functions are told apart by their names, so code must not have changed.
        on_progress: called in this thread, from time to time.

    Raises:
        DataError: there is a dataset already, parts were left by a prepare with other arguments, or not one row could
        be read; names the first problem. WorkerFailed: a host does not see a file, or a function raised something
        else. CommunicationError, StorageError: processes or storage failed.
    """
    storage = open_storage(url)
    count = parts or _parts(items, bytes_of, bool(merge or finish))
    carriage = Carriage(finish.travelling if finish else schema, count)
    plan = plan_of(
        [*items, rows_of, merge, finish, sums_of, {name: _told(array) for name, array in assets.items()}],
        {"schema": schema.to_json(), "parts": carriage.parts, "seed": shuffle_seed, "groups": row_group_mb,
         "compression": compression},
    )  # fmt: skip
    ledger = begin(storage, plan, overwrite=overwrite, resume=resume)
    if not items:
        raise DataError(f"there is nothing to prepare for {storage.url}: no items were given")
    stored = _stored(storage, assets)
    kept = written_before(storage, ledger) if ledger.again else {}
    scatter = _Scatter(carriage, rows_of, len(items), shuffle_seed, frozenset(kept))
    form = Format(storage.url, row_group_mb, compression, sums_of, ledger)
    tasks = _tasks(session, len(items)) if brief else None
    summary, whole = _run(session, items, tasks, scatter, schema, form, merge, finish, list(kept.values()), on_progress)
    if not whole.files:
        first = "".join(f"; the first of {summary.problems} problems: {p}" for p in summary.reported[:1])
        raise DataError(f"not one row could be read for {storage.url}{first}")
    addition = conclude(summary) if conclude is not None else Addition({}, {})
    stored |= _stored(storage, addition.assets)
    dataset = commit(storage, schema, whole.splits, addition.info, stored, shuffled=shuffle_seed is not None)
    return dataset, summary


def _run(
    session: SparkSession,
    items: Sequence[Any],
    tasks: int | None,
    scatter: _Scatter,
    schema: Schema,
    form: Format,
    merge: Merge | None,
    finish: Finish | None,
    kept: list[dict[str, Any]],
    on_progress: OnProgress | None,
) -> tuple[Summary, Written]:
    """Reads, shuffles and writes all rows that are not kept, by one job of Spark."""
    sent, reports, carriage = send(session, items), Reports(session), scatter.carriage

    def packed(indices: Iterator[int]) -> Iterator[pa.RecordBatch]:
        for index in indices:
            with reports.reporting(index) as outcome:
                notes = Notes()
                yield from scatter(sent(index), index, notes)
                reports.note(index, notes.to_json())
            if outcome.failed:
                return

    def plan() -> DataFrame:
        rows = over_items(session, len(items), tasks, packed, carriage.ddl)
        return written(rows, carriage, schema, form, reports, merge, finish)

    try:
        with bounded_batches(session, carriage.schema, repeatable=True):
            results = collect(session, plan, reports, f"Echelon: prepare {form.url}", on_progress)
    finally:
        sent.forget()
    whole = Written.merged([*kept, *results])
    notes = Notes.merged([*map(Notes.from_json, reports.notes()), whole.notes])
    return _summary(whole, notes), whole


def _tasks(session: SparkSession, items: int) -> int:
    return max(items // _BRIEF_ITEMS, min(items, 2 * session.sparkContext.defaultParallelism))


def _told(array: NDArray) -> tuple[str, tuple[int, ...], str]:
    """An array in few words, since the weights of a network would take seconds to be pickled."""
    values = np.ascontiguousarray(array)
    return values.dtype.str, values.shape, hashlib.blake2b(values.reshape(-1).view(np.uint8).data).hexdigest()


def _stored(storage: Storage, arrays: Mapping[str, NDArray]) -> dict[str, Asset]:
    return {name: write_asset(storage, name, np.asarray(array)) for name, array in arrays.items()}


class _Scatter:
    """Reads an item and packs its rows for the shuffle, but for those of parts that are done."""

    def __init__(
        self,
        carriage: Carriage,
        rows_of: Callable[[Any], Iterator[Found]],
        items: int,
        seed: int | None,
        done: frozenset[int] = frozenset(),
    ) -> None:
        self.carriage = carriage
        self._done = np.array(sorted(done), np.int64)
        self._rows_of, self._items, self._seed = rows_of, items, seed

    def __call__(self, item: Any, index: int, notes: Notes) -> Iterator[pa.RecordBatch]:
        row = 0
        try:
            with listed_files():
                for found in self._rows_of(item):
                    if isinstance(found, Problem):
                        notes.add(found, (index, row))
                    elif isinstance(found, Counter):
                        notes.counts.update(found)
                    else:
                        batch = encode(self.carriage.schema, found.values)
                        yield self._pack(batch, found, index, row)
                        row += len(batch)
        except DataError as error:
            notes.add(Problem(f"item {index}", str(error)), (index, row))

    def _pack(self, batch: pa.RecordBatch, found: Rows, item: int, row: int) -> pa.RecordBatch:
        parts = self.carriage.parts
        if found.keys is not None:
            keys = found.keys
            buckets = bucket_of(keys, parts)
        elif self._seed is None:
            keys = np.zeros(len(batch), np.int64)
            buckets = np.full(len(batch), item * parts // self._items)
        else:
            keys = shuffle_keys(self._seed, item, row, len(batch))
            buckets = bucket_of(keys, parts)
        packed = self.carriage.pack(batch, found.splits, buckets, keys, item, row)
        return packed.filter(pa.array(~np.isin(buckets, self._done))) if self._done.size else packed


def _parts(items: Sequence[Item], bytes_of: Callable[[Item], int] | None, finished: bool) -> int:
    """A function of the items alone, as all that decides where rows go."""
    total = sum(map(bytes_of, items)) if bytes_of is not None else len(items) * _USUAL_ITEM_BYTES
    each = min(PART_BYTES, max(_LEAST_PART_BYTES, total // _FINISHED_PARTS)) if finished else PART_BYTES
    return max(1, min(_MOST_PARTS, -(-total // each)))


def _summary(whole: Written, notes: Notes) -> Summary:
    return Summary(
        rows={split: sum(file.rows for file in files) for split, files in whole.splits.items()},
        problems=notes.problems,
        reported=tuple(problem for _, problem in notes.reported),
        counts=dict(notes.counts),
        sums=whole.sums,
    )
