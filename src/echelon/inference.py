"""What a finished run makes of a dataset, in this process or by tasks of Spark: metrics, predictions, features."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace

from torch import nn

from echelon.data.batch import Batch
from echelon.data.manifest import Dataset
from echelon.data.span import span_batches
from echelon.driver import Place
from echelon.errors import DataError, EchelonError
from echelon.outputs import chosen_splits, write_outputs
from echelon.spans import Share, Work, computing, device_here, over, shares_of
from echelon.train.config import RunConfig, option
from echelon.train.evaluate import evaluate_span, evaluation_split, measured
from echelon.train.features import Features, Layer, layer_of, layers_of
from echelon.train.learner import Learner
from echelon.train.metrics import Arrays
from echelon.train.predict import Columns, Predictions, predicted_columns
from echelon.train.run import RunFolder
from echelon.train.trained import load_trained, newest_of

_ROWS_TO_TRY = 2
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Evaluation:
    """What a run reaches on a split.

    baseline: what the trivial predictor reaches. arrays: what is more than a number, see `Learner.arrays`.
    """

    split: str
    rows: int
    metrics: dict[str, float]
    baseline: dict[str, float]
    arrays: Arrays = field(default_factory=dict)


@dataclass(frozen=True)
class Forward:
    """How rows go through the model.

    None is as in the run.
    """

    batch_size: int | None = option(None, "rows of one forward pass (default: the run's --eval-batch-size)", least=1)
    precision: str | None = option(None, "fp32, or bf16 for automatic mixed precision (default: the run's)")
    cpus_per_worker: int | None = option(None, "threads of each worker (default: the run's)", least=1)

    def of(self, config: RunConfig) -> RunConfig:
        """A run's configuration with these in place of its own.

        Raises:
            EchelonError: one of them is out of range.
        """
        given = {name: value for name, value in asdict(self).items() if value is not None}
        if "batch_size" in given:
            given["eval_batch_size"] = given.pop("batch_size")
        return replace(config, **given)


AS_IN_RUN = Forward()


def evaluate_run(
    folder: RunFolder,
    dataset: Dataset,
    place: Place,
    *,
    split: str | None = None,
    learner: Learner | None = None,
    forward: Forward = AS_IN_RUN,
) -> Evaluation:
    """The metrics over every row of a split, once each.

    Args:
        split: default val, else test, else the only one.

    Raises:
        EchelonError: there is no such split or no checkpoint, or the dataset lacks a column.
    """
    split = evaluation_split(dataset, split) or _only(dataset)
    rows = dataset.rows(split)
    if not rows:
        raise DataError(f"the split '{split}' of {dataset.url} has no rows to evaluate on")
    work = _work(folder, dataset, learner, forward)
    # First, since a learner that cannot measure these rows says so here, before any worker starts.
    baseline = work.learner.baseline(dataset, split)
    states = over(place, work, _evaluate, shares_of(dataset, [split], place))
    found = measured(work.learner, states)
    return Evaluation(split, rows, found.metrics, baseline, found.arrays)


def predict_run(
    folder: RunFolder,
    dataset: Dataset,
    out: str,
    place: Place,
    *,
    split: str | None = None,
    learner: Learner | None = None,
    forward: Forward = AS_IN_RUN,
    overwrite: bool = False,
    before: Callable[[Dataset], None] | None = None,
) -> Dataset:
    """Writes a prediction for every row, in order, as a dataset with the same splits.

    Beside what the learner predicts are the row's number, "row", and those columns by which the predictions are joined
    with what they are about: every number and string that the learner does not read, and "key".

    Args:
        split: default all of them. overwrite: whether a dataset at `out` may be replaced; nothing is deleted before
        the model has predicted something. before: called with the predictions while they still count as half-written.

    Raises:
        EchelonError: the learner predicts nothing, there is no checkpoint, there is a dataset at `out`, or `out` is
        where the rows come from.
    """
    work = _work(folder, dataset, learner, forward)
    return write_outputs(work, Predictions(), out, place, split=split, overwrite=overwrite, info={}, before=before)


def features_run(
    folder: RunFolder,
    dataset: Dataset,
    out: str,
    layer: str,
    place: Place,
    *,
    split: str | None = None,
    learner: Learner | None = None,
    forward: Forward = AS_IN_RUN,
    overwrite: bool = False,
) -> Dataset:
    """Writes the output of a layer for every row, in order, as a dataset with the same splits.

    It has the columns "features" (float32, in the shape in which the layer gives it), the row's number, "row", every
    number and string of the dataset, and "key".

    Args:
        layer: a name as `layers_of_run` gives them. The others are as in `predict_run`.

    Raises:
        EchelonError: there is no such layer, or its output is no column; and as `predict_run`.
    """
    work = _work(folder, dataset, learner, forward)
    # Here already, since every worker would only say the same.
    layer_of(work.learner.model(), layer)
    return write_outputs(work, Features(layer), out, place, split=split, overwrite=overwrite, info={"layer": layer})


def layers_of_run(
    folder: RunFolder, dataset: Dataset, *, split: str | None = None, learner: Learner | None = None
) -> list[Layer]:
    """The layers of a run's model with the shapes of their outputs for rows of a dataset, found in this process."""
    work = _work(folder, dataset, learner, AS_IN_RUN)
    model = load_trained(folder, work.learner, work.checkpoint).model
    some = next(name for name in chosen_splits(dataset, split) if dataset.rows(name))
    (batch,) = span_batches(dataset, some, work.learner.columns, 0, min(_ROWS_TO_TRY, dataset.rows(some)), _ROWS_TO_TRY)
    return layers_of(work.learner, model, batch)


@contextmanager
def predicting(
    folder: RunFolder, *, learner: Learner | None = None, forward: Forward = AS_IN_RUN
) -> Iterator[Callable[[Batch], Columns]]:
    """A function that predicts rows which are in memory, in this process, for the length of the block.

    Raises:
        EchelonError: there is no checkpoint, or the learner cannot be imported.
    """
    config = forward.of(folder.config)
    device = device_here(config)
    with computing(config, device) as remark:
        if remark:
            _log.warning("%s", remark)
        trained = load_trained(folder, learner, device=device)
        yield lambda batch: predicted_columns(trained.learner, trained.model, batch)


def _evaluate(work: Work, model: nn.Module, share: Share) -> bytes:
    (span,) = share
    return evaluate_span(work.learner, model, work.dataset, span.split, (span.start, span.end), work.config)


def _work(folder: RunFolder, dataset: Dataset, learner: Learner | None, forward: Forward) -> Work:
    learner = learner or folder.learner
    learner.check(dataset)
    return Work(folder.url, dataset, learner, newest_of(folder), forward.of(folder.config))


def _only(dataset: Dataset) -> str:
    splits = [split for split in dataset.splits if dataset.rows(split)]
    if len(splits) != 1:
        raise EchelonError(f"{dataset.url} has the splits {', '.join(splits) or 'none with rows'}: choose one")
    return splits[0]
