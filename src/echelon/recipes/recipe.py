"""What a recipe is: a ready application, from raw files to predictions."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from torch import nn

from echelon.data.manifest import Dataset
from echelon.train.config import RunConfig
from echelon.train.learner import Learner

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from echelon.report.page import Sample


class Recipe(ABC):
    """A ready application.

    Its two dataclasses of options become flags of the command line; each field has a help text (see
    `echelon.train.config.option`).
    """

    name: ClassVar[str]
    about: ClassVar[str]
    """One line for --help."""
    sources: ClassVar[str]
    """What raw files it understands, for --help."""
    prepare_options: ClassVar[type]
    train_options: ClassVar[type]
    demo_prepare_options: ClassVar[Any]
    demo_train_options: ClassVar[Any]
    demo_config: ClassVar[Mapping[str, Any]]
    """Fields of `RunConfig` for the demo."""

    @abstractmethod
    def prepare(
        self, session: SparkSession, source: str, url: str, options: Any, *, fitting: Learner | None, overwrite: bool
    ) -> Dataset:
        """Writes raw files as a dataset at a URL.

        Args:
            options: of the type `prepare_options`. fitting: make it fit what this learner was trained on (its
                classes, its vocabulary), whatever the options say; None for a new one.
        """

    @abstractmethod
    def defaults(self, options: Any) -> Mapping[str, Any]:
        """What a training takes where its flags are not given: fields of `RunConfig`, and "sync_every"."""

    @abstractmethod
    def learner(self, dataset: Dataset, options: Any, config: RunConfig) -> Learner:
        """The learner for a dataset. options: of the type `train_options`. config: resolved."""

    def resumed(self, learner: Learner, dataset: Dataset, config: RunConfig) -> Learner:
        """The stored learner of a run that goes on with a configuration, which may have more epochs."""
        return learner

    def samples(self, learner: Learner, model: nn.Module, dataset: Dataset, split: str, count: int) -> list[Sample]:
        """Some rows of a split with what the model makes of them, for the report."""
        return []

    @abstractmethod
    def write_demo(self, folder: Path) -> str:
        """Writes a small set of raw files, and says what it is."""
