"""What a recipe is: a ready application, from raw files to predictions."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from torch import nn

from echelon.data.batch import Batch
from echelon.data.manifest import Dataset
from echelon.errors import EchelonError
from echelon.train.config import RunConfig
from echelon.train.learner import Learner
from echelon.train.run import RunFolder
from echelon.train.sampled import Sampled
from echelon.train.schedules import rescaled

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from echelon.report.exhibits import Exhibit
    from echelon.sources import Data

Command = Callable[..., str | None]


@dataclass(frozen=True)
class NoOptions:
    """There is nothing to choose."""


@dataclass(frozen=True)
class Demo:
    """A small trial of a recipe.

    write: writes raw files into a new folder, and says what they are. prepare, train: options of the recipe. config:
    fields of `RunConfig`.
    """

    write: Callable[[Path], str]
    prepare: Any
    train: Any
    config: Mapping[str, Any]


@dataclass(frozen=True)
class Shown:
    """What a report may show: a model, and the split of a dataset on which it was evaluated."""

    model: nn.Module
    dataset: Dataset
    split: str


class Recipe(ABC):
    """A ready application; `echelon package.module:NAME` runs an instance of a subclass.

    The docstring of the subclass is its help. Options are dataclasses, whose fields become flags of the command line;
    each field has a default and a help text (see `echelon.train.config.option`).
    """

    sources: ClassVar[str] = "raw files (path or URL)"
    """What raw files it understands, for --help."""
    prepare_options: ClassVar[type] = NoOptions
    train_options: ClassVar[type] = NoOptions
    demo: ClassVar[Demo | None] = None
    item: ClassVar[str | None] = None
    """What each line of the standard input is to `predict RUN -`, such as "a review"; None if it takes none."""

    item_endings: ClassVar[tuple[str, ...]] = ()
    """How files end that are single items to `predict RUN FILE…`, such as ".jpg"; items are then paths."""

    @abstractmethod
    def prepare(
        self, session: SparkSession, source: str, url: str, options: Any, *, fitting: Learner | None, overwrite: bool
    ) -> Dataset:
        """Writes raw files as a dataset at a URL.

        Args:
            options: of the type `prepare_options`. fitting: make it fit what this learner was trained on (its classes,
                its vocabulary), whatever the options say, to evaluate or to predict; None for a new dataset.
        """

    @abstractmethod
    def learner(self, dataset: Dataset, options: Any, config: RunConfig) -> Learner:
        """The learner for a dataset. options: of the type `train_options`. config: resolved."""

    def defaults(self, options: Any) -> Mapping[str, Any]:
        """What a training takes where its flags are not given: fields of `RunConfig`, and "sync_every"."""
        return {}

    def data(self, dataset: Dataset, options: Any) -> Data:
        """What is trained on of a dataset: all of it, or for example some rows, as an `echelon.sources.Derived`, which
        is written into the run. options: of the type `train_options`; a run that is resumed keeps what it has.
        """
        return dataset

    def resumed(self, learner: Learner, dataset: Dataset, config: RunConfig) -> Learner:
        """The stored learner of a run that goes on with a configuration, which may have more epochs.

        Without another one, `total_steps` of a learner that has it among its changeable fields is made to fit.
        """
        return rescaled(learner, dataset, config)

    def batch_of(self, learner: Learner, items: Sequence[str]) -> Batch:
        """Single items, such as texts or paths, as rows of a dataset that fits a learner, to be predicted at once.

        For a recipe that says what an `item` is. Without Spark. The rows of the batch are the positions of their
        items; it may leave out what is broken, for which the recipe logs a warning.
        """
        raise EchelonError(f"{type(self).__name__} predicts no single items: give a dataset or raw files")

    def answer(self, learner: Learner, row: Mapping[str, Any]) -> Mapping[str, Any]:
        """What is printed of a single item, from the columns of its prediction as plain values."""
        return row

    def trained(self, run: RunFolder, learner: Learner, arrays: Mapping[str, Any]) -> str:
        """Called when a training is over: writes its results in the other forms that are wanted of a recipe.

        Files lie in the folder of the run; arrays are as in `exhibits`. What it returns is shown.
        """
        return ""

    def predicted(self, learner: Learner, predictions: Dataset) -> str:
        """Called when `predict` has written predictions: writes them in the other forms that are wanted of a recipe.

        Files may lie beside those of the dataset, which counts as half-written until this is done. What it returns is
        shown.
        """
        return ""

    def exhibits(self, learner: Learner, arrays: Mapping[str, Any], shown: Shown | None) -> Iterable[Exhibit]:
        """What the report shows beside curves and figures, such as a confusion matrix or some predictions.

        Args:
            arrays: what the newest evaluation of the run measured that is more than a number, see `Learner.arrays`;
                empty if it had none. shown: None if the model or the dataset cannot be had any more.
        """
        return ()

    def samples(self, learner: Learner, samples: Sequence[Sampled]) -> Iterable[Exhibit]:
        """What the report shows of what the model made at the evaluations of the run (see `Learner.sample`), in the
        order of the steps.
        """
        return ()

    def commands(self) -> Sequence[Command]:
        """Commands of its own, beside prepare, train, evaluate, predict and features.

        Each is a function with types: its name, docstring and parameters become those of a command, as in typer. A
        parameter that is a dataclass of options stands for the flags of its fields, and one of the type
        `echelon.driver.Place` for --workers, --master and --conf; Spark starts when the function makes a session of it.
        What the function returns is printed.
        """
        return ()
