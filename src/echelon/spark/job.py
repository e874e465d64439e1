"""Plain functions mapped over items, such as files or spans of rows, by ordinary tasks of Spark.

An item's task that loses its process or its storage is tried again by Spark. An error of the function itself would only
happen again: it is reported instead of raised, so that Spark sees no failure, and the driver ends the job at once.
"""

from __future__ import annotations

import json
import logging
import pickle
import re
import socket
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from pickle import PickleError
from typing import TYPE_CHECKING, Any, TypeVar

import pyarrow as pa

from echelon.comm import is_communication_failure
from echelon.errors import EchelonError, StorageError
from echelon.spark.background import BackgroundJob, Collectable
from echelon.spark.failure import Failure, describe, from_spark, missing_module, to_error
from echelon.spark.packed import Packed, pack, settle
from echelon.spark.watching import OnProgress, watcher

if TYPE_CHECKING:
    from pyspark import RDD
    from pyspark.sql import DataFrame, SparkSession

__all__ = ["OnProgress", "Reports", "Sent", "collect", "over_items", "run_tasks", "send"]

Item = TypeVar("Item")
_POLL_SECONDS = 0.1
_log = logging.getLogger(__name__)


def run_tasks(
    session: SparkSession,
    fn: Callable[[Item], bytes],
    items: Sequence[Item],
    *,
    partitions: int | None = None,
    description: str = "Echelon: tasks",
    on_progress: OnProgress | None = None,
) -> list[bytes]:
    """The results of fn(item), in the order of the items.

    Args:
        fn, items: what cloudpickle can send. An item may be tried again, on another host.
        partitions: how many tasks share the items; default one each.
        description: what Spark's own pages say of the job.
        on_progress: see `collect`. What it raises is logged.

    Raises:
        WorkerFailed: the function raised; says for which item. The other tasks are ended.
        CommunicationError, StorageError: an item was tried as often as Spark allows, and its process or storage failed.
    """
    if not items:
        return []
    numbered, packed, reports = list(enumerate(_pickled(items))), _packed(fn), Reports(session)

    def task(items: Iterable[tuple[int, bytes]]) -> Iterator[tuple[int, bytes]]:
        work: Callable[[Any], bytes] | None = None
        for index, item in items:
            with reports.reporting(index) as outcome:
                if work is None:
                    work = _unpacked(packed)
                outcome.result = work(pickle.loads(item))
            if outcome.failed:
                return
            yield index, outcome.result
        settle()

    def plan() -> RDD[tuple[int, bytes]]:
        # Not a DataFrame, which takes Spark longer to plan than a small task takes.
        return session.sparkContext.parallelize(numbered, min(partitions or len(items), len(items))).mapPartitions(task)

    return [result for _, result in sorted(collect(session, plan, reports, description, on_progress))]


def _packed(fn: Callable[[Item], bytes]) -> Packed:
    try:
        return pack(fn)
    except (TypeError, AttributeError, PickleError) as error:
        raise EchelonError(f"the function cannot be sent to the tasks: {error}") from error


def _unpacked(packed: Packed) -> Any:
    try:
        return packed.unpacked()
    except ModuleNotFoundError as error:
        # Another try would only miss it again.
        raise missing_module(error) from error


class Outcome:
    """What became of one item. failed: its error was reported; there is no result."""

    result: Any = None
    failed = False


class Reports:
    """What tasks have to say to the driver as they end: errors, and a note of each item.

    A task that Spark runs twice says the same twice, which counts once.
    """

    def __init__(self, session: SparkSession) -> None:
        from pyspark.accumulators import AccumulatorParam

        class Union(AccumulatorParam[dict[str, str]]):
            def zero(self, value: dict[str, str]) -> dict[str, str]:
                return {}

            def addInPlace(self, value1: dict[str, str], value2: dict[str, str]) -> dict[str, str]:
                return {**value1, **value2}

        self._said = session.sparkContext.accumulator({}, Union())

    def reporting(self, item: int) -> _Reporting:
        """A block that works on an item."""
        return _Reporting(self, item)

    def fail(self, failure: Failure) -> None:
        self._said.add({f"failure/{failure.rank}": failure.to_json()})

    def note(self, item: int, value: Any) -> None:
        """Leaves a note, as JSON, of an item."""
        self._said.add({f"note/{item}": json.dumps(value)})

    def failure(self) -> Failure | None:
        """On the driver: the failure that came first."""
        return next((Failure.from_json(text) for _, text in self._of("failure")), None)

    def notes(self) -> list[Any]:
        """On the driver: all notes, in the order of the items."""
        return [json.loads(text) for _, text in sorted(self._of("note"))]

    def _of(self, kind: str) -> Iterator[tuple[int, str]]:
        for key, text in self._said.value.items():
            if key.startswith(f"{kind}/"):
                yield int(key.partition("/")[2]), text


class _Reporting:
    def __init__(self, reports: Reports, item: int) -> None:
        self._reports, self._item = reports, item
        self._outcome = Outcome()

    def __enter__(self) -> Outcome:
        return self._outcome

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> bool:
        if not isinstance(error, Exception):
            return False
        if isinstance(error, StorageError) or is_communication_failure(error):
            return False
        self._reports.fail(describe(error, self._item, socket.gethostname(), 0))
        self._outcome.failed = True
        return True


class Sent:
    """Items as they are known to every task: sent once to each host, unpickled one by one."""

    def __init__(self, session: SparkSession, pickled: list[bytes]) -> None:
        self._broadcast = session.sparkContext.broadcast(pickled)

    def __call__(self, index: int) -> Any:
        return pickle.loads(self._broadcast.value[index])

    def forget(self) -> None:
        """Frees the memory of the hosts. No task may be left."""
        self._broadcast.destroy()


def send(session: SparkSession, items: Sequence[Any]) -> Sent:
    """
    Raises:
        EchelonError: an item cannot be pickled.
    """
    return Sent(session, _pickled(items))


def _pickled(items: Sequence[Any]) -> list[bytes]:
    from pyspark.cloudpickle import dumps

    try:
        return [dumps(item) for item in items]
    except (TypeError, AttributeError, PickleError) as error:
        raise EchelonError(f"the items cannot be sent to the tasks: {error}") from error


def over_items(
    session: SparkSession,
    items: int,
    partitions: int | None,
    task: Callable[[Iterator[int]], Iterator[pa.RecordBatch]],
    schema: str,
) -> DataFrame:
    """The batches that `task` makes of the numbers of its items; they are contiguous.

    Raises:
        EchelonError: the task cannot be pickled.
    """

    def numbered(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        yield from task(index for batch in batches for index in batch.column(0).to_pylist())
        settle()

    try:
        return session.range(0, items, 1, min(partitions or items, items)).mapInArrow(numbered, schema)
    except (TypeError, AttributeError, PickleError) as error:
        raise EchelonError(f"the function cannot be sent to the tasks: {error}") from error


def collect(
    session: SparkSession,
    plan: Callable[[], Collectable],
    reports: Reports,
    description: str,
    on_progress: OnProgress | None = None,
    *,
    unit: str = "item",
) -> list[Any]:
    """The rows of a DataFrame, or elements of an RDD, whose tasks report their errors.

    on_progress: called in this thread, ten times a second; default whoever watches, see `watching.watched`. unit: what
    messages call that of which errors are reported.

    Raises:
        EchelonError: as in `run_tasks`. PySparkException: the query itself is wrong.
    """
    show = on_progress or watcher()
    job = BackgroundJob(session, plan, f"echelon-{uuid.uuid4().hex}", description)
    try:
        while not job.wait(_POLL_SECONDS) and reports.failure() is None:
            _tell(show, job)
    finally:
        job.cancel()
    if (failure := reports.failure()) is not None:
        raise to_error(failure, unit=unit) from None
    if job.error is not None:
        raise (from_spark(job.error) if _of_tasks(job.error) else job.error) from None
    return job.rows


def _tell(on_progress: OnProgress | None, job: BackgroundJob) -> None:
    if on_progress is None:
        return
    try:
        on_progress(job.tasks())
    except Exception:
        # Whoever shows progress must not be able to stop a job.
        _log.warning("progress could not be shown", exc_info=True)


def _of_tasks(error: BaseException) -> bool:
    """Whether tasks failed, and not the user's own query, of which Spark says best itself what is wrong."""
    from py4j.protocol import Py4JJavaError
    from pyspark.errors import PythonException

    failed = re.search("Job aborted due to stage failure|cancelled|shut down", str(error))
    return isinstance(error, PythonException) or (isinstance(error, Py4JJavaError) and failed is not None)
