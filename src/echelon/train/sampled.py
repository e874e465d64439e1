"""What a model makes by itself, such as a clip of sound, at each evaluation, kept in the run for the report.

    samples/<attempt>-<step>.npz

It is made on a thread of rank 0 from a copy of the model while training goes on. Nobody waits for it but the end of the
training, for a while; what goes wrong with it is told and stops nothing.
"""

from __future__ import annotations

import io
import threading
import time
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from echelon.data.storage import Storage
from echelon.errors import DataError, EchelonError
from echelon.train.learner import Learner
from echelon.train.run import RunFolder
from echelon.train.snapshot import load_model, model_tensors

SAMPLES = "samples"
LAST_SECONDS = 120.0
"""So long the end of a training waits for what is still being made."""
_MOST_WAITING = 4
_LOOK_SECONDS = 0.02

Made = Callable[[int, str, float], None]
Remark = Callable[[int, str], None]
Arrays = Mapping[str, NDArray[np.generic]]


@dataclass(frozen=True)
class Sampled:
    """What was made at a step, which is read when it is asked for."""

    storage: Storage
    path: str
    step: int

    @property
    def arrays(self) -> Arrays:
        """
        Raises:
            DataError: the file is gone, or damaged.
        """
        try:
            with np.load(io.BytesIO(self.storage.read(self.path)), allow_pickle=False) as file:
                return {name: file[name] for name in file.files}
        except (FileNotFoundError, ValueError, EOFError, NotImplementedError, zipfile.BadZipFile) as error:
            raise DataError(f"what was made at step {self.step:,} cannot be read any more: {error}") from None


def makes_samples(learner: Learner) -> bool:
    """Whether a learner has something to make."""
    return type(learner).sample is not Learner.sample


class SampleMaker:
    """Makes the samples of a training, one after another.

    made(step, path, seconds) is called on its thread when one is stored, remark(step, text) when one is not.
    """

    def __init__(self, run: RunFolder, learner: Learner, attempt: int, made: Made, remark: Remark) -> None:
        self._run, self._learner, self._attempt = run, learner, attempt
        self._made, self._remark = made, remark
        self._lock = threading.Lock()
        self._orders: list[tuple[int, nn.Module]] = []
        self._works = False
        self._deadline: float | None = None
        self._is_over = False

    def begin(self, step: int, model: nn.Module | Mapping[str, Tensor]) -> None:
        """Begins to make a sample of a model as it is now, or with parameters and buffers by state-dict name.

        On the thread of the training, whose random numbers it leaves as they are.
        """
        if not makes_samples(self._learner):
            return
        try:
            tensors = model_tensors(model) if isinstance(model, nn.Module) else model
            with torch.random.fork_rng(devices=[]):
                copy = self._learner.model()
            load_model(copy, tensors)
            self._order(step, copy.eval())
        except Exception as error:
            self._remark(step, f"no sample is made: {error}")

    def _order(self, step: int, model: nn.Module) -> None:
        with self._lock:
            if len(self._orders) == _MOST_WAITING:
                raise EchelonError(f"{_MOST_WAITING} earlier ones are still waited for")
            self._orders.append((step, model))
            if not self._works:
                self._works = True
                threading.Thread(target=self._work, name="samples", daemon=True).start()

    def finish(self) -> None:
        """Returns when `finished`."""
        while not self.finished:
            time.sleep(_LOOK_SECONDS)

    @property
    def finished(self) -> bool:
        """Whether all are made, or `LAST_SECONDS` have passed since this was first asked, at the end of the training.

        What is made later is not told any more.
        """
        now = time.monotonic()
        self._deadline = now + LAST_SECONDS if self._deadline is None else self._deadline
        if self._works and now < self._deadline:
            return False
        self._is_over = True
        return True

    def _work(self) -> None:
        """The thread, which ends when there is nothing to do."""
        while True:
            with self._lock:
                if not self._orders:
                    self._works = False
                    return
                step, model = self._orders.pop(0)
            try:
                self._make(step, model)
            except Exception as error:
                self._tell(self._remark, step, f"a sample could not be made: {error}")

    def _make(self, step: int, model: nn.Module) -> None:
        begin, path = time.perf_counter(), f"{SAMPLES}/{self._attempt}-{step}.npz"
        file = io.BytesIO()
        np.savez(file, allow_pickle=False, **self._learner.sample(model))
        self._run.storage.write(path, file.getvalue())
        self._tell(self._made, step, path, time.perf_counter() - begin)

    def _tell(self, tell: Callable[..., None], *said: object) -> None:
        if not self._is_over:
            tell(*said)
