"""The batches of a worker's leases: of one stream after another, read ahead while it stays with one."""

from __future__ import annotations

from collections.abc import Iterator

from echelon.data.batch import Batch
from echelon.data.loader import Loader, Position
from echelon.data.manifest import Dataset
from echelon.server.leases import Lease
from echelon.server.streams import lanes_of_streams
from echelon.train.config import RunConfig
from echelon.train.worker import SPLIT, Job, bucketing_of


class StreamReader:
    """steps: of an epoch. seconds_waiting: how long the worker has waited for batches."""

    def __init__(self, job: Job, dataset: Dataset, streams: int, first: int) -> None:
        """
        Args:
            streams: of the run. first: the stream that will be read first.
        """
        config: RunConfig = job.config
        self._shares = lanes_of_streams(config.resolved_lanes, streams)
        self._epochs = config.epochs
        self._loader = Loader(
            dataset, SPLIT, job.learner.columns, batch_size=config.resolved_batch_size, lanes=config.resolved_lanes,
            seed=config.seed, share=self._shares[first], cache_mb=config.cache_mb, budget_mb=config.memory_mb,
            prefetch=config.prefetch, readers=config.readers, bucketing=bucketing_of(job),
        )  # fmt: skip
        self.steps = self._loader.steps
        self._stream = -1
        self._next = Position(0, 0)
        self._batches: Iterator[tuple[Position, Batch | None]] = iter(())

    @property
    def seconds_waiting(self) -> float:
        return self._loader.seconds_waiting

    def batches(self, lease: Lease) -> Iterator[tuple[Position, Batch | None]]:
        """One item for each step of the lease: where it is, and its rows, or None where the stream has none."""
        begin = Position(lease.epoch, lease.first)
        if (lease.stream, begin) != (self._stream, self._next):
            self._seek(lease.stream, begin)
        for step in range(lease.first, lease.first + lease.steps):
            position, batch = next(self._batches)
            if position != Position(lease.epoch, step):
                raise RuntimeError(f"a lease of step {step} in epoch {lease.epoch} was given the batch of {position}")
            self._next = Position(*divmod(lease.epoch * self.steps + step + 1, self.steps))
            yield position, batch

    def close(self) -> None:
        """Ends the thread that reads."""
        self._loader.close()

    def _seek(self, stream: int, begin: Position) -> None:
        self._loader.close()
        self._loader.deal(begin.epoch * self.steps + begin.step, self._shares[stream])
        self._stream, self._next = stream, begin
        self._batches = self._loader.batches(begin, self._epochs)
