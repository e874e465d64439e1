"""One training from its order to its results: where its workers are started, and what results.json says of it."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field

from echelon.data.manifest import open_dataset
from echelon.data.plan import steps_in_epoch
from echelon.errors import EchelonError
from echelon.launch.local import train_here
from echelon.launch.torchrun import started_by_torchrun, train_as_rank
from echelon.server.born import nursery
from echelon.server.keys import require_zmq
from echelon.server.local import serve_here
from echelon.sync.server import ParameterServer
from echelon.train.balance import Cadence
from echelon.train.checkpoint import newest_whole
from echelon.train.heartbeat import beating, last_heartbeat
from echelon.train.progress import Progress
from echelon.train.results import FAILED, FINISHED, RUNNING, results_of
from echelon.train.run import Event, RunFolder
from echelon.train.solved import SolvedLearner, check_alone, solve_here
from echelon.train.worker import SPLIT, Job

OnEvent = Callable[[Event], None]


@dataclass(frozen=True)
class Place:
    """Where work is done.

    workers: processes that share it; under torchrun there are as many as it started. master: of Spark; None takes the
    active session, else starts Spark inside this process. conf: settings of a session that is started.
    """

    workers: int = 1
    master: str | None = None
    conf: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.workers < 1:
            raise EchelonError(f"there must be at least 1 worker, got {self.workers}")

    @property
    def on_spark(self) -> bool:
        """One worker needs no Spark, unless it shall be on a cluster."""
        local = self.master is None or self.master.startswith("local")
        return not started_by_torchrun() and (self.workers > 1 or not local)

    @property
    def is_first(self) -> bool:
        """Whether this process speaks for all; of torchrun's processes it is rank 0."""
        return not started_by_torchrun() or os.environ["RANK"] == "0"

    @property
    def size(self) -> int:
        """The number of workers.

        Raises:
            EchelonError: another number was asked for than torchrun started.
        """
        if not started_by_torchrun():
            return self.workers
        started = int(os.environ["WORLD_SIZE"])
        if self.workers not in (1, started):
            raise EchelonError(f"torchrun started {started} workers, but {self.workers} are asked for: give one number")
        return started


def drive(job: Job, place: Place, begin: Callable[[], None], on_event: OnEvent) -> None:
    """Trains until the end and writes results.json; of a training that fails, too.

    Args:
        begin: makes or checks the folder of the run and the dataset, before anything else is written. Called once for
            all workers.
        on_event: gets events as they happen; what it raises is dropped.

    Raises:
        EchelonError: the root cause of a failure.
    """
    folder, begun, workers = RunFolder(job.run), False, place.size

    def conclude(state: str, progress: Progress, error: str = "") -> None:
        rows = open_dataset(job.dataset).rows(SPLIT)
        solved = isinstance(job.learner, SolvedLearner)
        steps = 1 if solved else steps_in_epoch(rows, job.config.resolved_batch_size)
        attempts = folder.newest_attempt()
        folder.write_results(
            results_of(state, progress, steps_per_epoch=steps, workers=workers, attempts=attempts, error=error)
        )

    with ExitStack() as alive:

        def start() -> None:
            nonlocal begun
            before = folder.results.get("state")
            begin()
            begun = True
            if before == RUNNING:
                _tell_of_lost_driver(folder, on_event)
            conclude(RUNNING, _reached(folder))
            alive.enter_context(beating(folder))

        try:
            progress, workers = _run(job, place, folder, start, _harmless(on_event))
        except BaseException as error:
            if begun:
                with suppress(Exception):  # what failed is more important than that it cannot be noted
                    conclude(FAILED, _reached(folder), _why(error))
            raise
        if begun:
            conclude(FINISHED, progress)


def _tell_of_lost_driver(folder: RunFolder, on_event: OnEvent) -> None:
    """Writes down why a run goes on that nobody ended, where the report finds it."""
    attempt, last, reached = folder.newest_attempt(), last_heartbeat(folder), _reached(folder)
    cause = f"its driver ended without a word: {last or 'of which no sign of life is left'}"
    event = {"kind": "recovery", "step": reached.step, "epoch": None, "seconds": reached.seconds, "attempt": attempt}
    event["cause"] = cause
    if attempt and not folder.has_event_of_driver(attempt):
        folder.add_event(event)
    _harmless(on_event)(event)


def _why(error: BaseException) -> str:
    return str(error) or ("interrupted" if isinstance(error, KeyboardInterrupt) else type(error).__name__)


def _harmless(on_event: OnEvent) -> OnEvent:
    """The same function, whose failures end no training: a terminal may be closed while it goes on."""

    def tell(event: Event) -> None:
        try:
            on_event(event)
        except Exception as error:
            logging.getLogger(__name__).debug("an event was not shown: %s", error)

    return tell


def _run(
    job: Job, place: Place, folder: RunFolder, start: Callable[[], None], on_event: OnEvent
) -> tuple[Progress, int]:
    """The progress, and how many workers there were at the end."""
    if isinstance(job.learner, SolvedLearner):
        check_alone(place.size, job.strategy)
        start()
        return solve_here(job, folder.start_attempt(), on_event), 1
    asynchronous = isinstance(job.strategy, ParameterServer)
    if asynchronous:
        _check_asynchronous(job, place)
    if started_by_torchrun() and not asynchronous:
        progress, world = train_as_rank(job, start, on_event)
        return progress, world.size
    if not place.on_spark:
        start()
        train = serve_here if asynchronous else train_here
        return train(job, folder.start_attempt(), on_event), 1
    # Spark is imported only where it is needed: one worker trains without it.
    from echelon.spark.session import session
    from echelon.spark.slots import require_slots
    from echelon.spark.training import train_on_spark

    if asynchronous:
        # Imports torch while Spark starts. What tasks of Spark are pickled by, a server's orders are, too.
        nursery(("pyspark.cloudpickle",))
    # Workers that do not wait for each other need neither executors that stay nor slots at the same time.
    spark = session(place.master, place.workers, place.conf, gang=not asynchronous)
    # A run that cannot begin leaves no folder behind, which would be in the way of the same command with fewer workers.
    require_slots(spark, 1 if asynchronous else place.workers)
    start()
    trained = train_on_spark(spark, job, place.workers, on_event)
    return trained.progress, trained.workers


def _check_asynchronous(job: Job, place: Place) -> None:
    """
    Raises:
        EchelonError: the workers of a parameter server cannot be started so, or are told what they know themselves.
    """
    if place.size > 1 and not place.on_spark:
        raise EchelonError(
            "the workers of a parameter server are tasks of Spark: start them with --workers, not with torchrun"
        )
    if Cadence.parse(job.config.balance) or job.weights:
        raise EchelonError(
            "the workers of a parameter server take as much work as they can: leave out --balance and weights"
        )
    if place.on_spark:
        require_zmq()


def _reached(folder: RunFolder) -> Progress:
    checkpoint, _ = newest_whole(folder)
    return Progress.from_json(checkpoint.state["progress"]) if checkpoint else Progress()
