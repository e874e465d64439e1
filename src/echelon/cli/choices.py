"""Choices that the commands of all recipes share."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from echelon.driver import Place
from echelon.errors import EchelonError
from echelon.sync.allreduce import AllReduce
from echelon.sync.averaging import Averaging
from echelon.sync.protocol import Strategy
from echelon.train.config import option


@dataclass(frozen=True)
class PlaceOptions:
    """Where the workers run."""

    workers: int = option(1, "workers that share the work; to train or use a model, one needs no Spark")
    master: str | None = option(None, "Spark master, as local[4], spark://host:7077, yarn or k8s://… (default: here)")
    conf: list[str] = field(
        default_factory=list, metadata={"help": "Spark setting name=value; may be given several times"}
    )

    @property
    def place(self) -> Place:
        """The same as a value.

        Raises:
            EchelonError: a setting is not name=value.
        """
        settings = {}
        for setting in self.conf:
            name, equals, value = setting.partition("=")
            if not equals or not name.strip():
                raise EchelonError(f"--conf {setting}: write name=value, for example spark.executor.memory=4g")
            settings[name.strip()] = value
        return Place(self.workers, self.master, settings)


@dataclass(frozen=True)
class StrategyOptions:
    """How the workers agree."""

    strategy: Literal["allreduce", "averaging"] = option(
        "allreduce", "allreduce: gradients in every step; averaging: parameters every --sync-every steps (SparkNet)"
    )
    sync_every: int | None = option(None, "averaging: local steps between two averages (default: the recipe's)")
    find_unused_parameters: bool = option(False, "allreduce: for models that leave parameters out in some steps")

    def chosen(self, default_sync_every: int) -> Strategy:
        """The strategy.

        Raises:
            EchelonError: --sync-every was given for a strategy that synchronises in every step.
        """
        if self.strategy == "averaging":
            if self.find_unused_parameters:
                raise EchelonError("--find-unused-parameters is for --strategy allreduce")
            return Averaging(default_sync_every if self.sync_every is None else self.sync_every)
        if self.sync_every not in (None, 1):
            raise EchelonError(f"--sync-every {self.sync_every} needs --strategy averaging")
        return AllReduce(self.find_unused_parameters)
