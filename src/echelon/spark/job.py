"""Plain functions mapped over items, such as files or spans of rows, by ordinary tasks of Spark.

An item's task that loses its process or its storage is tried again by Spark. An error of the function itself would only
happen again: it is reported instead of raised, so that Spark sees no failure, and the driver ends the job at once.
"""

from __future__ import annotations

import socket
import uuid
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import pyarrow as pa

from echelon.comm import is_communication_failure
from echelon.errors import EchelonError, StorageError
from echelon.spark.background import BackgroundJob, Tasks
from echelon.spark.failure import Failure, describe, from_spark, to_error

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, Row, SparkSession

Item = TypeVar("Item")
OnProgress = Callable[[Tasks], None]
_RESULT = "item int, result binary"
_POLL_SECONDS = 0.1


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
        on_progress: called in this thread, from time to time.

    Raises:
        WorkerFailed: the function raised; says for which item. The other tasks are ended.
        CommunicationError, StorageError: an item was tried as often as Spark allows, and its process or storage failed.
    """
    if not items:
        return []
    sent = send(session, items)

    def task(reports: Reports, indices: Iterator[int]) -> Iterator[pa.RecordBatch]:
        for index in indices:
            with reports.reporting(index) as outcome:
                outcome.result = fn(sent(index))
            if outcome.failed:
                return
            yield pa.RecordBatch.from_pydict(
                {"item": pa.array([index], pa.int32()), "result": pa.array([outcome.result], pa.binary())}
            )

    try:
        rows = collect(
            session,
            lambda reports: over_items(session, len(items), partitions, task, reports, _RESULT),
            description,
            on_progress,
        )
    finally:
        sent.forget()
    return [bytes(row["result"]) for row in sorted(rows, key=lambda row: row["item"])]


class Outcome:
    """What became of one item. failed: its error was reported; there is no result."""

    result: Any = None
    failed = False


class Reports:
    """Errors on their way from tasks to the driver, as each task ends."""

    def __init__(self, session: SparkSession) -> None:
        from pyspark.accumulators import AccumulatorParam

        class Lists(AccumulatorParam[list[str]]):
            def zero(self, value: list[str]) -> list[str]:
                return []

            def addInPlace(self, value1: list[str], value2: list[str]) -> list[str]:
                return value1 + value2

        self._texts = session.sparkContext.accumulator([], Lists())

    def reporting(self, item: int) -> _Reporting:
        """A block that works on an item."""
        return _Reporting(self, item)

    def add(self, failure: Failure) -> None:
        self._texts.add([failure.to_json()])

    def first(self) -> Failure | None:
        """The failure that came first, on the driver."""
        texts = self._texts.value
        return Failure.from_json(texts[0]) if texts else None


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
        self._reports.add(describe(error, self._item, socket.gethostname(), 0))
        self._outcome.failed = True
        return True


class Sent:
    """Items as they are known to every task: sent once to each host, unpickled one by one."""

    def __init__(self, session: SparkSession, pickled: list[bytes]) -> None:
        self._broadcast = session.sparkContext.broadcast(pickled)

    def __call__(self, index: int) -> Any:
        from pyspark.cloudpickle import loads

        return loads(self._broadcast.value[index])

    def forget(self) -> None:
        """Frees the memory of the hosts. No task may be left."""
        self._broadcast.destroy()


def send(session: SparkSession, items: Sequence[Any]) -> Sent:
    """
    Raises:
        EchelonError: an item cannot be pickled.
    """
    from pyspark.cloudpickle import dumps

    try:
        return Sent(session, [dumps(item) for item in items])
    except (TypeError, AttributeError) as error:
        raise EchelonError(f"the items cannot be sent to the tasks: {error}") from error


def over_items(
    session: SparkSession,
    items: int,
    partitions: int | None,
    task: Callable[[Reports, Iterator[int]], Iterator[pa.RecordBatch]],
    reports: Reports,
    schema: str,
) -> DataFrame:
    """The batches that `task` makes of the numbers of its items; they are contiguous."""

    def numbered(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        return task(reports, (index for batch in batches for index in batch.column(0).to_pylist()))

    return session.range(0, items, 1, min(partitions or items, items)).mapInArrow(numbered, schema)


def collect(
    session: SparkSession,
    plan: Callable[[Reports], DataFrame],
    description: str,
    on_progress: OnProgress | None = None,
) -> list[Row]:
    """The rows of a plan whose tasks report their errors; see `run_tasks` for what is raised."""
    reports = Reports(session)
    job = BackgroundJob(session, lambda: plan(reports), f"echelon-{uuid.uuid4().hex}", description)
    told = None
    try:
        while not job.wait(_POLL_SECONDS) and reports.first() is None:
            if on_progress is not None and (tasks := job.tasks()) != told:
                on_progress(told := tasks)
    finally:
        job.cancel()
    if (failure := reports.first()) is not None:
        raise to_error(failure, unit="item") from None
    if job.error is not None:
        if not _of_spark(job.error):
            raise job.error
        raise from_spark(job.error) from None
    return job.rows


def _of_spark(error: BaseException) -> bool:
    from pyspark.errors import PySparkException

    return isinstance(error, PySparkException) or type(error).__module__.startswith("py4j.")
