"""The server's decisions: who computes what, which changes count, and when to evaluate, to store and to end.

A change is applied and its lease committed under one lock, and only if the lease is current, so every step's rows are
in the parameters exactly once, whatever workers, networks and schedulers repeat. Nothing here waits for a worker.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from echelon.data.manifest import Dataset
from echelon.errors import CommunicationError
from echelon.server.course import Course
from echelon.server.evaluation import Evaluation
from echelon.server.leases import Leases, Outcome
from echelon.server.orders import Joining, Order, Stop, Train, Wait
from echelon.server.state import GlobalState, Tensors
from echelon.sync.protocol import Tally
from echelon.sync.server import ParameterServer
from echelon.train.config import RunConfig
from echelon.train.evaluate import Measured, measured
from echelon.train.failure import Failure
from echelon.train.learner import Learner
from echelon.train.progress import Progress

WAIT_SECONDS = 0.05

Figures = tuple[Measured, dict[str, float]]
"""Metrics and the trivial baseline's."""


class Conductor:
    """See `echelon.server.orders.Server`. Safe for several threads.

    ended: whether the training is over and stored. failure: a worker's, which ended it. last_heard: when a worker
    said something last, by `clock`.
    """

    def __init__(
        self, learner: Learner, config: RunConfig, strategy: ParameterServer, dataset: Dataset, state: GlobalState,
        leases: Leases, streams: int, course: Course, clock: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self._learner, self._config, self._strategy, self._dataset = learner, config, strategy, dataset
        self._state, self._leases, self._streams, self._course, self._clock = state, leases, streams, course, clock
        self._lock = threading.RLock()
        self._processes: dict[int, str] = {}
        self._told_to_stop: set[int] = set()
        self._warm: set[int] = set()
        self._evaluation: Evaluation | None = None
        self._evaluations, self._evaluated_version = 0, -1
        self._merging: Future[Figures] | None = None
        self._aside = ThreadPoolExecutor(1, thread_name_prefix="merging")
        self._reason = ""
        self._storing = False
        # A run that is over already is neither evaluated nor stored again.
        self._stored_version = 0 if course.progress.rows else -1
        self.ended = False
        self.failure: Failure | None = None
        self.last_heard = clock()

    @property
    def progress(self) -> Progress:
        return self._course.progress

    @property
    def message_bytes(self) -> int:
        """Of the frame that has a change, or all parameters."""
        return self._state.snapshot.form.bytes

    @property
    def everyone_knows(self) -> bool:
        """Whether all workers that came have heard that it is over."""
        with self._lock:
            return self._processes.keys() <= self._told_to_stop

    def join(self, who: Joining) -> None:
        with self._lock:
            self._heard()
            again = self._processes.get(who.worker, who.process) != who.process
            if again:
                self._course.remark(f"worker {who.worker} came again, on {who.host}: what it held is free")
            elif not self._processes:
                self._course.begin()
                self._course.started(who.device, "")
            self._processes[who.worker] = who.process
            self._told_to_stop.discard(who.worker)
            self._forget(who.worker)
            self._warm.discard(who.worker)

    def ask(self, worker: int, process: str) -> Order:
        with self._lock:
            self._heard()
            if self._processes.get(worker) != process:
                raise CommunicationError(f"another process has taken the place of worker {worker}, so this one ends")
            self._forget(worker)
            self._move()
            if self.failure is not None or self.ended:
                self._told_to_stop.add(worker)
                return Stop()
            now, term = self._clock(), self._term(worker)
            if self._evaluation is not None:
                part = self._evaluation.grant(worker, now, self._config.evaluation_deadline)
                if part is not None:
                    return part
            lease = None if self._reason else self._leases.grant(worker, now, term)
            if lease is None:
                return Wait(WAIT_SECONDS)
            return Train(lease, self._streams, self._state.version, term, self._state.snapshot)

    def renew(self, token: int) -> bool:
        with self._lock:
            self._heard()
            lease = self._leases.held(token)
            if lease is None:
                return False
            self._warm.add(lease.worker)
            return self._leases.renew(token, self._clock(), self._term(lease.worker))

    def push(self, token: int, version: int, change: Tensors, tally: Tally, rate: float) -> Outcome:
        with self._lock:
            self._heard()
            if self._leases.held(token) is not None:
                # Before the commit: a change that cannot be applied must not count as done.
                self._state.check(change)
            outcome, lease = self._leases.commit(token, self._clock())
            if lease is not None:
                staleness = self._state.version - version
                self._state.apply(change, self._strategy.factor(self._streams, staleness))
                self._warm.add(lease.worker)
                self._course.advance(self._leases.committed // self._streams, tally, rate, staleness)
                self._move()
            return outcome

    def exchange(
        self, worker: int, process: str, token: int, version: int, change: Tensors, tally: Tally, rate: float
    ) -> Order:
        with self._lock:
            self.push(token, version, change, tally, rate)
            return self.ask(worker, process)

    def give(self, number: int, token: int, states: bytes) -> Outcome:
        with self._lock:
            self._heard()
            if self._evaluation is None or self._evaluation.number != number:
                return Outcome.REFUSED
            outcome = self._evaluation.give(token, states, self._clock())
            self._move()
            return outcome

    def fail(self, failure: Failure) -> None:
        with self._lock:
            self.failure = self.failure or failure
            self._leases.end()

    def sent(self, count: int) -> None:
        """Counts bytes that travelled, both ways."""
        with self._lock:
            self._course.sent(count)

    def tick(self) -> None:
        """Does what is due. Called from time to time, also when no worker says anything.

        Raises:
            StorageError: a checkpoint could not be written. EchelonError: metrics could not be computed.
        """
        with self._lock:
            self._move()

    def close(self) -> None:
        """Ends its threads; what is not stored yet is lost."""
        self._aside.shutdown(wait=False, cancel_futures=True)

    def _heard(self) -> None:
        self.last_heard = self._clock()

    def _term(self, worker: int) -> float:
        """How long a lease may last without a word: the first step of a process may have to compile."""
        config = self._config
        return config.later_step_deadline if worker in self._warm else config.first_step_deadline

    def _forget(self, worker: int) -> None:
        """What a worker held is free."""
        self._leases.release(worker)
        if self._evaluation is not None:
            self._evaluation.release(worker)

    def _move(self) -> None:
        """From what is the case to what follows."""
        if self.ended or self.failure is not None or not self._processes:
            return
        self._leases.expire(self._clock())
        self._conclude_evaluation()
        if not self._reason and (reason := self._course.reason):
            self._reason = reason
            self._leases.end()
        idle = self._evaluation is None and self._merging is None
        if self._reason:
            if idle:
                self._end()
        elif idle and self._course.evaluation_due:
            self._evaluate()
        if not self._reason and self._course.checkpoint_due:
            self._course.write(self._state.snapshot, self._leases.reached())
        # What could not be written ends the training.
        self._course.writing  # noqa: B018

    def _evaluate(self) -> None:
        """Begins an evaluation of what the parameters are now."""
        split = self._course.split
        assert split is not None
        self._course.evaluating()
        self._evaluations += 1
        self._evaluated_version = self._state.version
        self._evaluation = Evaluation(
            self._evaluations, self._course.progress.step, self._state.snapshot, split, self._dataset.rows(split),
            len(self._processes),
        )  # fmt: skip

    def _conclude_evaluation(self) -> None:
        """Merges the parts aside, since that may take long, and tells what came out."""
        evaluation = self._evaluation
        if evaluation is None:
            return
        evaluation.expire(self._clock())
        if self._merging is None and (states := evaluation.states) is not None:
            self._merging = self._aside.submit(self._merged, states)
        if self._merging is not None and self._merging.done():
            (found, baseline), self._merging = self._merging.result(), None
            self._evaluation = None
            self._course.evaluated(evaluation.step, found, baseline, evaluation.tensors)

    def _merged(self, states: list[bytes]) -> Figures:
        found = measured(self._learner, states)
        split = self._course.split
        assert split is not None
        return found, self._course.progress.baseline or self._learner.baseline(self._dataset, split)

    def _end(self) -> None:
        """Evaluates and stores the last parameters, then it is over."""
        stored = self._stored_version == self._state.version
        if self._course.split is not None and self._evaluated_version != self._state.version and not stored:
            self._evaluate()
        elif not self._storing and not stored:
            self._storing = True
            self._course.report(now=True)
            self._course.write(self._state.snapshot, self._leases.reached())
        elif not self._course.writing and not self._course.sampling:
            self._course.stopped(self._reason)
            self.ended = True
