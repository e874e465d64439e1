"""The training loop of one worker.

Every worker takes the same global steps. Rank 0 decides when to evaluate, to write a checkpoint and to stop; its
decisions ride in the tally that is summed at each boundary, so that all act at the same step and none of it changes
the parameters.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from echelon.comm import Comm
from echelon.data.batch import Batch
from echelon.data.loader import Loader, Position
from echelon.data.manifest import Dataset
from echelon.errors import EchelonError
from echelon.sync.protocol import ReplicaState, Strategy, Tally
from echelon.train.balance import Cadence
from echelon.train.balancer import Balancer
from echelon.train.compiled import uncompiled
from echelon.train.config import RunConfig
from echelon.train.evaluate import evaluate, evaluation_split
from echelon.train.events import EventLog, NoLog
from echelon.train.every import Every
from echelon.train.faults import Rehearsal, parse_faults
from echelon.train.gradient import add_gradients
from echelon.train.learner import Learner, Objective
from echelon.train.meter import Meter
from echelon.train.profiling import Profile
from echelon.train.progress import Progress
from echelon.train.restore import part_of, writing_ranks
from echelon.train.run import RunFolder
from echelon.train.sampled import SampleMaker
from echelon.train.stopping import last_step
from echelon.train.writer import COMMIT_SECONDS, CheckpointWriter

ROUND_ALLOWANCE = 4.0
"""At the end of a round of many steps, how many times as long as this worker took for it the others may take more."""


@dataclass(frozen=True)
class Parts:
    """What the loop works with; made by `echelon.train.worker`.

    facts: all that fixes which rows each step takes; stored with checkpoints.
    """

    run: RunFolder
    learner: Learner
    model: nn.Module
    optimizer: torch.optim.Optimizer
    strategy: Strategy
    config: RunConfig
    dataset: Dataset
    loader: Loader
    facts: dict[str, Any]
    log: EventLog | NoLog
    profile: Profile


class Loop:
    """One worker's training, from some progress to its end. kept: by the strategy's replica until then."""

    def __init__(self, parts: Parts, comm: Comm, progress: Progress, kept: ReplicaState | None = None) -> None:
        self.parts, self.comm, self.progress = parts, comm, progress
        config = parts.config
        self._replica = parts.strategy.start(Objective(parts.model, parts.learner.loss), comm, parts.optimizer)
        if kept is not None:
            self._replica.restore(kept)
        self._split = evaluation_split(parts.dataset, config.eval_split)
        self._last = last_step(config, parts.loader.steps)
        self._begin = time.perf_counter() - progress.seconds
        self._reported = self._saved = progress
        self._loss = self._weight = 0.0
        self._tally = self._round_spent = Tally()
        self._decided_at = progress.seconds
        self._evaluate_every = Every.parse(config.eval_every if self._split else "off")
        self._checkpoint_every = Every.parse(config.checkpoint_every)
        self._report_every = Every.parse(config.log_every)
        self._writer = CheckpointWriter(parts.run, comm.world, config.keep_checkpoints, self._committed, self._remark)
        self._samples = SampleMaker(parts.run, parts.learner, comm.world.attempt, self._sampled, self._remark)
        self._meter = Meter(parts.loader, comm)
        self._faults = Rehearsal(parse_faults(config.fault), comm.world)
        self._balancer = self._new_balancer()

    def run(self) -> Progress:
        """Trains until there is a reason to stop; all ranks return the same progress."""
        steps, done = self.parts.loader.steps, self.progress.step
        if reason := self._over():
            return self._finished(reason)
        self._allow("the first step", self.parts.config.first_step_deadline)
        for position, batch in self.parts.loader.batches(
            Position(done // steps, done % steps), self.parts.config.epochs
        ):
            step = position.epoch * steps + position.step + 1
            with self.comm.naming("a step"):
                total = self._step(step, position.epoch, batch)
            self.parts.profile.step()
            if total is not None:
                if reason := self._boundary(step, total):
                    return self._finished(reason)
                self._allow("a step", self.parts.config.later_step_deadline)
        raise AssertionError("the last step is a boundary with a reason to stop")

    def _step(self, step: int, epoch: int, batch: Batch | None) -> Tally | None:
        """One update of this replica; the summed tally at a boundary."""
        parts, config = self.parts, self.parts.config
        if self._faults:
            self._faults.before(step)
        for group in parts.optimizer.param_groups:
            group["lr"] = group["initial_lr"] * parts.learner.rate(step - 1)
        parts.optimizer.zero_grad()
        key = (config.seed, step, self.comm.world.rank)
        rows = len(batch) if batch else 0
        last = step == self._last
        boundary = last or step % parts.strategy.sync_every == 0

        def announce(loss: float, weight: float) -> None:
            self._tally += Tally(weight=weight, loss=loss, rows=rows)
            if boundary:
                self._announce(step, last)

        device = self.comm.world.device
        add_gradients(self._replica, parts.learner, config, batch, epoch, key, device, announce)
        if boundary:
            self._allow_for_round()
        if boundary or self._faults or self._balancer:
            self._tally += self._spent(step, rows)
        total = self._replica.before_step()
        if config.clip_norm is not None:
            nn.utils.clip_grad_norm_(parts.model.parameters(), config.clip_norm)
        parts.optimizer.step()
        return self._replica.after_step() or total

    def _announce(self, step: int, last: bool) -> None:
        """Ends a round's tally. What the rest of the step costs, on CPUs a backward pass, is the next round's."""
        self._allow_for_round()
        if self.parts.strategy.sync_every > 1:
            self._round_spent = self._meter.take()
        self._replica.announce(self._decided(step, self._tally + self._round_spent), last)
        self._tally = Tally()

    def _spent(self, step: int, rows: int) -> Tally:
        """What was spent since this was called last, but for what was announced."""
        rest, announced = self._meter.take(), self._round_spent
        self._round_spent = Tally()
        computing = announced.computing + rest.computing
        if self._faults:
            self._faults.after(computing)
        if self._balancer:
            self._balancer.note(step, rows, announced.reading + rest.reading + computing)
        return rest

    def _allow(self, phase: str, seconds: float) -> None:
        """From here on, the beginning of a round, others may be waited for so long."""
        self._round = (seconds, time.perf_counter())
        self.comm.deadline(phase, seconds)

    def _allow_for_round(self) -> None:
        """At a boundary after many steps, slower workers have fallen behind in each: it counts how long they took here.

        It goes by this worker's own clock, so that it holds for the first round, too, and follows the load.
        """
        if self.parts.strategy.sync_every == 1:
            return
        seconds, begin = self._round
        self.comm.deadline("the end of a round", seconds + ROUND_ALLOWANCE * (time.perf_counter() - begin))

    def _decided(self, step: int, tally: Tally) -> Tally:
        """The tally with rank 0's decisions, should this step be a boundary."""
        if not self.comm.world.is_first:
            return tally
        before, saved, seconds = self.progress, self._saved, time.perf_counter() - self._begin
        steps, limit = self.parts.loader.steps, self.parts.config.max_seconds
        save = self._checkpoint_every.due((saved.step, step), steps, (saved.seconds, seconds))
        return replace(
            tally,
            seconds=seconds,
            evaluate=float(self._evaluate_every.due((before.step, step), steps, (self._decided_at, seconds))),
            # One that is due while the one before is being written stays due.
            checkpoint=float(save and not self._writer.busy),
            stop=float(limit is not None and seconds >= limit),
        )

    def _boundary(self, step: int, total: Tally) -> str:
        """Reports, evaluates and writes what is due; a reason to stop, or ""."""
        if not math.isfinite(total.loss):
            raise EchelonError(f"the loss is {total.loss} after step {step}: try a lower learning rate or --clip-norm")
        self.progress, self._decided_at = self.progress.after(step, total, self.comm.world.size), total.seconds
        self._loss, self._weight = self._loss + total.loss, self._weight + total.weight
        reason = self._did() if step == self._last else self._timed_out() if total.stop else ""
        if reason or total.evaluate or total.checkpoint:
            self._settle()
        self._report(bool(reason or total.evaluate))
        with self._meter.paused(), self._replica.agreed():
            if total.evaluate or (reason and self._evaluate_every.count):
                reason = self._evaluate() or reason
            if self._balancer and not reason:
                self._rebalance(self._balancer)
            self._writer.check()
            if total.checkpoint or reason:
                self._write()
        return reason

    def _settle(self) -> None:
        """Counts what this boundary and its step cost, for what is told and stored; else the next tally does."""
        now = time.perf_counter() - self._begin
        rest = replace(self._tally + self._meter.take(), seconds=now if self.comm.world.is_first else 0.0)
        self.progress = self.progress.after(self.progress.step, rest.summed(self.comm), self.comm.world.size)
        self._tally = Tally()

    def _evaluate(self) -> str:
        """Evaluates on all ranks; a reason to stop, or ""."""
        parts = self.parts
        split = self._split or ""
        self.comm.deadline("an evaluation", parts.config.evaluation_deadline)
        with uncompiled(parts.config.compile):
            found = evaluate(parts.learner, parts.model, parts.dataset, split, parts.config, self.comm)
        metrics = found.metrics
        stopping = self.progress.stopping.after_evaluation(parts.config, metrics)
        baseline = self.progress.baseline or parts.learner.baseline(parts.dataset, split)
        self.progress = replace(self.progress, metrics=metrics, baseline=baseline, stopping=stopping)
        self._add("evaluate", split=split, metrics=metrics, baseline=baseline, arrays=found.arrays)
        if self.comm.world.is_first:
            self._samples.begin(self.progress.step, parts.model)
        return stopping.reason(parts.config, metrics)

    def _new_balancer(self) -> Balancer | None:
        parts, progress = self.parts, self.progress
        if not progress.balance.deals:
            return None
        cadence = Cadence.parse(parts.config.balance)
        return Balancer(cadence, parts.loader, self.comm, parts.strategy.sync_every, progress.balance, progress.step)

    def _rebalance(self, balancer: Balancer) -> None:
        """Deals lanes again if it is time."""
        found = balancer.boundary(self.progress.step)
        if found is not None:
            self.progress = replace(self.progress, balance=balancer.balance)
            self._add("balance", **found.event())

    def _write(self) -> None:
        parts, world = self.parts, self.comm.world
        kept = self._replica.state()
        part = part_of(world, parts.model, parts.optimizer, parts.strategy, kept, self.progress, parts.facts)
        self._writer.write(self.progress.step, part, writing_ranks(world, parts.strategy, kept))
        self._saved = self.progress

    def _committed(self, step: int, path: str, size: int, took: float) -> None:
        epoch, seconds = step / self.parts.loader.steps, time.perf_counter() - self._begin
        self.parts.log.add("checkpoint", step=step, epoch=epoch, seconds=seconds, path=path, bytes=size, took=took)

    def _sampled(self, step: int, path: str, took: float) -> None:
        epoch, seconds = step / self.parts.loader.steps, time.perf_counter() - self._begin
        self.parts.log.add("sample", step=step, epoch=epoch, seconds=seconds, path=path, took=took)

    def _remark(self, step: int, text: str) -> None:
        epoch, seconds = step / self.parts.loader.steps, time.perf_counter() - self._begin
        self.parts.log.add("remark", step=step, epoch=epoch, seconds=seconds, text=text)

    def _report(self, now: bool) -> None:
        """Tells the mean loss and the speed since the last report, if it is time."""
        progress, before = self.progress, self._reported
        span = ((before.step, progress.step), self.parts.loader.steps, (before.seconds, progress.seconds))
        if not now and not self._report_every.due(*span):
            return
        self._add(
            "train",
            loss=self._loss / self._weight if self._weight else None,
            rate=self.parts.optimizer.param_groups[0]["lr"],
            **progress.told(before),
            last_step=self._last,
        )
        self._reported, self._loss, self._weight = progress, 0.0, 0.0

    def _over(self) -> str:
        """Why there is nothing to do from the beginning, or ""."""
        progress, limit = self.progress, self.parts.config.max_seconds
        if progress.step >= self._last:
            return self._did()
        if reason := progress.stopping.reason(self.parts.config, progress.metrics):
            return reason
        return self._timed_out() if limit is not None and progress.seconds >= limit else ""

    def _finished(self, reason: str) -> Progress:
        if not self.comm.world.is_first:
            self._writer.wait()
        # Rank 0 waits here, where it learns at once that another is gone, and not for that one's part of a checkpoint.
        self.comm.deadline("the last checkpoint", COMMIT_SECONDS)
        self.comm.meet()
        self._writer.wait()
        self._samples.finish()
        self._add("stop", reason=reason)
        return replace(self.progress, stopped_by=reason)

    def _did(self) -> str:
        epochs = self.parts.config.epochs
        if self._last < epochs * self.parts.loader.steps:
            return f"did {self._last} steps"
        return f"did {epochs} epoch{'s' if epochs > 1 else ''}"

    def _timed_out(self) -> str:
        return f"trained for {self.parts.config.max_seconds:g} s"

    def _add(self, kind: str, **values: Any) -> None:
        progress = self.progress
        epoch = progress.step / self.parts.loader.steps
        self.parts.log.add(kind, step=progress.step, epoch=epoch, seconds=progress.seconds, **values)
