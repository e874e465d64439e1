"""The library's face: train with `fit`, go on with the `Run` that it returns, load a model with `load`."""

from __future__ import annotations

import json
import logging
import math
import os
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from itertools import chain, count
from pathlib import Path
from reprlib import repr as brief
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from echelon.data.manifest import Dataset
from echelon.driver import OnEvent, Place, drive
from echelon.errors import EchelonError
from echelon.inference import Evaluation, Forward, evaluate_run, features_run, layers_of_run, predict_run
from echelon.launch.torchrun import restarted
from echelon.sources import borrowed, dataset_of, url_of
from echelon.sync.allreduce import AllReduce
from echelon.sync.protocol import Strategy
from echelon.train.checkpoint import newest_whole
from echelon.train.config import RunConfig
from echelon.train.features import Layer
from echelon.train.learner import Learner, describe
from echelon.train.restore import check_resumable, order_facts
from echelon.train.run import Event, RunFolder
from echelon.train.trained import load_trained
from echelon.train.unbegun import clear_unbegun, is_unbegun
from echelon.train.worker import Job, check_trainable

if TYPE_CHECKING:
    from echelon.sources import Data

NO_CONF: Mapping[str, str] = {}
_log = logging.getLogger(__name__)


def fit(
    learner: Learner,
    data: Data,
    config: RunConfig | None = None,
    *,
    strategy: Strategy | None = None,
    workers: int = 1,
    run: str | Path | None = None,
    resume: bool = False,
    master: str | None = None,
    conf: Mapping[str, str] = NO_CONF,
    weights: Sequence[float] | None = None,
    recipe: str | None = None,
    on_event: OnEvent | None = None,
) -> Run:
    """Trains a model until the end.

    One worker trains in this process, several as tasks of Spark: the active session, a new one with this master, or
    one inside this process. Under torchrun its processes are the workers.

    Args:
        learner: model, loss, optimizer and metrics.
        data: URL of a dataset, or of Parquet files (read in place), or a DataFrame or what is derived of a dataset
            (written once into the run).
        config: epochs, batch size and the like; when resuming, None is what the run was created with.
        strategy: how the workers agree; None is AllReduce, or when resuming the stored one.
        run: URL of a new folder for all that comes out, or of one whose run failed before its first step; None is
            `runs/<learner>-<date and time>`.
        resume: go on from the newest checkpoint if there is such a run.
        weights: speeds of the workers, by which rows are dealt; None for equal ones.
        on_event: gets each event as it happens.

    Raises:
        EchelonError: what the user can mend: the root cause, not its echo on another worker.
    """
    place = Place(workers, master, conf)
    _check_weights(weights, place.size)
    folder = RunFolder(str(run) if run is not None else new_folder(type(learner).__name__, place))
    old = (resume or restarted()) and folder.exists()
    if old:
        config, strategy = config or folder.config, strategy or folder.strategy
    elif place.is_first and folder.exists() and not is_unbegun(folder):
        raise EchelonError(f"there is a run at {folder.url} already: resume it, or choose another folder")
    resolved, agreed = (config or RunConfig()).resolved(place.size), strategy or AllReduce()
    home = folder.storage.url_of("dataset")

    def begin() -> None:
        dataset = dataset_of(data, home, reuse=old)
        # Before the run's folder is made, which would be in the way of the same command with another dataset.
        check_trainable(dataset)
        if old:
            _check_resumable(folder, learner, agreed, resolved, dataset)
            folder.change(learner, resolved, place.size)
        else:
            if folder.exists() and is_unbegun(folder):
                _log.warning("%s failed before its first step and is replaced: %s", folder.url, clear_unbegun(folder))
            folder.create(learner, agreed, resolved, dataset, place.size, recipe)

    job = Job(folder.url, url_of(data, home), learner, agreed, resolved, tuple(weights) if weights else None)
    drive(job, place, begin, on_event or _ignore)
    return Run(folder.url, learner)


def _check_weights(weights: Sequence[float] | None, workers: int) -> None:
    if weights is not None and (len(weights) != workers or not all(0 < weight < math.inf for weight in weights)):
        raise EchelonError(f"weights must be a positive number for each of {workers} workers, got {list(weights)}")


def _check_resumable(
    folder: RunFolder, learner: Learner, strategy: Strategy, config: RunConfig, dataset: Dataset
) -> None:
    """Refuses to go on with what would not be the same training, before anything is changed.

    Raises:
        EchelonError: says what was another.
    """
    # Through JSON, in which the stored one has lists for tuples.
    stored, now = folder.asked["learner"], json.loads(json.dumps(describe(learner)))
    if stored["type"].partition(":")[2] != now["type"].partition(":")[2]:
        raise EchelonError(f"the run {folder.url} trains {stored['type']}, not {now['type']}: start a new run")
    other = [
        f"{name} {brief(stored['fields'].get(name))} (now {brief(value)})"
        for name, value in now["fields"].items()
        if stored["fields"].get(name) != value and name not in learner.changeable
    ]
    if other:
        raise EchelonError(f"the learner of the run {folder.url} has {', '.join(other)}: keep it, or start a new run")
    checkpoint, _ = newest_whole(folder)
    if checkpoint is not None:
        check_resumable(checkpoint, strategy, order_facts(dataset, config))


def load(run: str | Path, *, device: torch.device | str = "cpu") -> nn.Module:
    """The model of a run with its newest weights, in evaluation mode.

    Raises:
        EchelonError: there is no such run, it has no checkpoint, or its learner cannot be imported.
    """
    return Run(run).model(device=device)


class Run:
    """A training that is done, or under way: the folder at a URL."""

    def __init__(self, url: str | Path, learner: Learner | None = None) -> None:
        """learner: in place of the stored one, for a class that cannot be imported here."""
        self._folder = RunFolder(str(url))
        self._learner = learner
        self.asked: dict[str, Any] = self._folder.asked
        """What was asked: learner, strategy, configuration, dataset, workers."""

    def __repr__(self) -> str:
        return f"Run({self.url!r})"

    @property
    def url(self) -> str:
        return self._folder.url

    @property
    def results(self) -> dict[str, Any]:
        """State, steps, seconds, rows, bytes, metrics and trivial baselines, as in results.json."""
        return self._folder.results

    @property
    def metrics(self) -> dict[str, float]:
        """Of the last evaluation."""
        return dict(self.results.get("metrics", {}))

    def events(self) -> list[Event]:
        """All that happened, in order."""
        return self._folder.events()

    @property
    def learner(self) -> Learner:
        return self._learner or self._folder.learner

    def model(self, *, device: torch.device | str = "cpu") -> nn.Module:
        """The model with the newest weights, in evaluation mode."""
        return load_trained(self._folder, self._learner, device=torch.device(device)).model

    def evaluate(
        self,
        data: Data,
        *,
        split: str | None = None,
        workers: int = 1,
        master: str | None = None,
        conf: Mapping[str, str] = NO_CONF,
        batch_size: int | None = None,
        precision: str | None = None,
        cpus_per_worker: int | None = None,
    ) -> Evaluation:
        """The metrics over every row of a split, once each.

        Args:
            split: default val, else test, else the only one. batch_size, precision, cpus_per_worker: rows of a forward
            pass, "fp32" or "bf16", and threads of a worker, in place of those of the run.
        """
        place, forward = Place(workers, master, conf), Forward(batch_size, precision, cpus_per_worker)
        with borrowed(data, self._folder) as dataset:
            return evaluate_run(self._folder, dataset, place, split=split, learner=self._learner, forward=forward)

    def predict(
        self,
        data: Data,
        out: str | Path,
        *,
        split: str | None = None,
        workers: int = 1,
        master: str | None = None,
        conf: Mapping[str, str] = NO_CONF,
        batch_size: int | None = None,
        precision: str | None = None,
        cpus_per_worker: int | None = None,
        overwrite: bool = False,
    ) -> Dataset:
        """Writes a prediction for every row, in order, as a dataset at `out`.

        Beside what the learner predicts are the row's number, "row", and what joins predictions with what they are
        about: "key", and every number and string of the data that the learner does not read.

        Args:
            split: default all of them. overwrite: whether a dataset at `out` may be replaced. The others are as in
            `evaluate`.
        """
        place, forward = _alone(workers, master, conf), Forward(batch_size, precision, cpus_per_worker)
        with borrowed(data, self._folder) as dataset:
            return predict_run(self._folder, dataset, str(out), place, split=split, learner=self._learner,
                               forward=forward, overwrite=overwrite)  # fmt: skip

    def features(
        self,
        data: Data,
        out: str | Path,
        *,
        layer: str,
        split: str | None = None,
        workers: int = 1,
        master: str | None = None,
        conf: Mapping[str, str] = NO_CONF,
        batch_size: int | None = None,
        precision: str | None = None,
        cpus_per_worker: int | None = None,
        overwrite: bool = False,
    ) -> Dataset:
        """Writes the output of a layer for every row, in order, as a dataset at `out`.

        It has the columns "features" (float32, in the shape in which the layer gives it), "row", the row's number,
        "key", and every number and string of the data, labels among them.

        Args:
            layer: its name, see `layers`; it must be called once in a prediction and give one tensor, an entry a row.
            The others are as in `predict`.
        """
        place, forward = _alone(workers, master, conf), Forward(batch_size, precision, cpus_per_worker)
        with borrowed(data, self._folder) as dataset:
            return features_run(self._folder, dataset, str(out), layer, place, split=split, learner=self._learner,
                                forward=forward, overwrite=overwrite)  # fmt: skip

    def layers(self, data: Data) -> list[Layer]:
        """The layers of the model with the shapes of their outputs for the data's rows, found by predicting two."""
        with borrowed(data, self._folder) as dataset:
            return layers_of_run(self._folder, dataset, learner=self._learner)


def _alone(workers: int, master: str | None, conf: Mapping[str, str]) -> Place:
    """Where something is written.

    Raises:
        EchelonError: this is one of torchrun's processes, and another one speaks for all.
    """
    place = Place(workers, master, conf)
    if not place.is_first:
        raise EchelonError("under torchrun let rank 0 alone predict: the others would write over its files")
    return place


def new_folder(name: str, place: Place) -> str:
    """A folder in runs/ that does not exist yet."""
    if place.size > 1 and not place.on_spark:
        raise EchelonError("under torchrun the workers must know where to meet: name the run's folder (run=… or --run)")
    folder = os.path.join("runs", f"{name.lower()}-{datetime.now(UTC):%Y%m%d-%H%M%S}")
    names = chain([folder], (f"{folder}-{number}" for number in count(2)))
    return next(path for path in names if not os.path.exists(path))


def _ignore(event: Event) -> None:
    """Nobody is watching."""
