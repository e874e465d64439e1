"""The loop of an asynchronous worker: take parameters, some local steps, give back what came of them."""

from __future__ import annotations

import math
import time
import uuid
from contextlib import suppress
from dataclasses import dataclass, replace

import torch
from torch import nn

from echelon.allocation import kept_memory
from echelon.comm import Comm, is_communication_failure
from echelon.data.batch import Batch
from echelon.data.manifest import open_dataset
from echelon.denormals import flushed_denormals
from echelon.device import chosen_device, computing_on
from echelon.errors import CommunicationError, EchelonError, StorageError
from echelon.server.exchanged import Exchanged
from echelon.server.orders import Evaluate, Joining, Order, Server, Stop, Train, Wait
from echelon.server.reading import StreamReader
from echelon.server.streams import global_step
from echelon.sync.protocol import Tally
from echelon.train.compiled import compile_model, require_compiler, uncompiled
from echelon.train.evaluate import evaluate_span
from echelon.train.failure import describe
from echelon.train.faults import Rehearsal, parse_faults
from echelon.train.gradient import add_gradients
from echelon.train.learner import Objective
from echelon.train.precision import check_precision
from echelon.train.profiling import Profile
from echelon.train.run import RunFolder
from echelon.train.snapshot import load_model
from echelon.train.worker import Job
from echelon.world import World, threads

RENEWALS = 10
"""How often a lease is renewed in its time, so that a few lost messages do not end it."""


def work_for(server: Server, job: Job, world: World) -> None:
    """Works as one worker until the server says that it is over. What is wrong here is told, and ends the training.

    Args:
        world: rank and size: the worker's number, and how many there are; they know nothing of each other. attempt:
            counts all starts of this worker.

    Raises:
        CommunicationError: the server cannot be reached, or another process has this worker's number.
        EchelonError, Exception: what was told to the server.
    """
    world = replace(world, device=chosen_device(job.config.device, world.device))
    with threads(job.config.cpus_per_worker), kept_memory(), flushed_denormals(), computing_on(world.device):
        try:
            worker = _Worker(server, job, world)
            try:
                worker.run()
            finally:
                worker.close()
        except Exception as error:
            if not is_communication_failure(error) and not isinstance(error, StorageError):
                with suppress(CommunicationError):  # then the server is gone, and the error is raised all the same
                    server.fail(describe(error, world.rank, world.host, 0))
            raise


class _Worker:
    """model and optimizer: of this worker. Its optimizer's state stays here, and begins anew with its process."""

    def __init__(self, server: Server, job: Job, world: World) -> None:
        self._server, self._job, self._world = server, job, world
        self._process = uuid.uuid4().hex
        server.join(Joining(world.rank, self._process, world.host, str(world.device)))
        config, learner = job.config, job.learner
        check_precision(config.precision, world.device)
        if config.compile:
            require_compiler(world.device)
        self._dataset = open_dataset(job.dataset)
        torch.manual_seed(config.seed)
        self._model = learner.model().to(world.device)
        self._exchanged = Exchanged(self._model)
        self._optimizer = learner.optimizer(self._model)
        for group in self._optimizer.param_groups:
            group.setdefault("initial_lr", group["lr"])
        objective = Objective(self._model, learner.loss)
        self._replica = job.strategy.start(objective, Comm(World(device=world.device)), self._optimizer)
        self._faults = Rehearsal(parse_faults(config.fault), world)
        self._profile = Profile(RunFolder(job.run), config.profile if world.is_first else 0)
        self._reader: StreamReader | None = None
        self._talking = self._renewed = 0.0
        self._warm = False
        if config.compile:
            compile_model(self._model)

    def run(self) -> None:
        """Until the server says that it is over."""
        order = self._ask()
        while not isinstance(order, Stop):
            if isinstance(order, Train):
                order = self._train(order) or self._ask()
                continue
            if isinstance(order, Wait):
                time.sleep(order.seconds)
                self._talking += order.seconds
            else:
                self._evaluate(order)
            order = self._ask()

    def _ask(self) -> Order:
        begin = time.perf_counter()
        order = self._server.ask(self._world.rank, self._process)
        self._talking += time.perf_counter() - begin
        return order

    def close(self) -> None:
        """Ends its threads, and writes its profile."""
        if self._reader is not None:
            self._reader.close()
        self._profile.close()

    def _evaluate(self, order: Evaluate) -> None:
        load_model(self._model, order.tensors)
        span = (order.first, order.last)
        with uncompiled(self._job.config.compile):
            states = evaluate_span(self._job.learner, self._model, self._dataset, order.split, span, self._job.config)
        self._server.give(order.number, order.token, states)

    def _train(self, order: Train) -> Order | None:
        """The steps of a lease, and what to do next; None if it was lost meanwhile, so that nothing is given back."""
        if self._reader is None:
            self._reader = StreamReader(self._job, self._dataset, order.streams, order.lease.stream)
        reader, lease = self._reader, order.lease
        self._exchanged.take(order.tensors)
        self._model.train()
        begin, waited, tally = time.perf_counter(), reader.seconds_waiting, Tally()
        self._renewed = time.monotonic()
        for done, (position, batch) in enumerate(reader.batches(lease)):
            step = position.epoch * reader.steps + position.step + 1
            at = global_step(lease.serial + done, order.streams)
            tally += self._step(_Place(step, at, lease.stream, position.epoch), batch)
            if done + 1 < lease.steps and not self._still_held(order):
                return None
        reading = reader.seconds_waiting - waited
        computing = max(time.perf_counter() - begin - reading, 0.0)
        change = self._exchanged.change(order.tensors)
        tally += Tally(reading=reading, computing=computing, synchronising=self._talking)
        begin = time.perf_counter()
        rate = float(self._optimizer.param_groups[0]["lr"])
        who = self._world.rank, self._process
        following = self._server.exchange(*who, lease.token, order.version, change, tally, rate)
        self._talking = time.perf_counter() - begin
        return following

    def _step(self, at: _Place, batch: Batch | None) -> Tally:
        """One local step. Without rows there is nothing to learn."""
        config, learner = self._job.config, self._job.learner
        begin = time.perf_counter()
        if self._faults:
            self._faults.before(at.step)
        for group in self._optimizer.param_groups:
            group["lr"] = group["initial_lr"] * learner.rate(at.global_step)
        if batch is None:
            return Tally()
        self._optimizer.zero_grad()
        key = (config.seed, at.step, at.stream)
        loss, weight = add_gradients(self._replica, learner, config, batch, at.epoch, key, self._world.device)
        if not math.isfinite(loss):
            raise EchelonError(f"the loss is {loss} in step {at.step}: try a lower learning rate or --clip-norm")
        self._replica.before_step()
        if config.clip_norm is not None:
            nn.utils.clip_grad_norm_(self._model.parameters(), config.clip_norm)
        self._optimizer.step()
        self._profile.step()
        if self._faults:
            self._faults.after(time.perf_counter() - begin)
        return Tally(weight=weight, loss=loss, rows=len(batch))

    def _still_held(self, order: Train) -> bool:
        """Whether to go on with a lease; renews it when a part of its time has passed, and after a first step."""
        now = time.monotonic()
        if self._warm and now - self._renewed < order.seconds / RENEWALS:
            return True
        self._warm, self._renewed = True, now
        return self._server.renew(order.lease.token)


@dataclass(frozen=True)
class _Place:
    """step: of the stream, over the epochs from 1. global_step: from 0; the learning rate is a function of it."""

    step: int
    global_step: int
    stream: int
    epoch: int
