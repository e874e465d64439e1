"""Choices that the commands of all recipes share."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from echelon.driver import Place
from echelon.errors import EchelonError
from echelon.sync.allreduce import POWERSGD_RANK, AllReduce
from echelon.sync.averaging import Averaging
from echelon.sync.diloco import DiLoCo
from echelon.sync.protocol import Strategy
from echelon.sync.server import ParameterServer
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

    strategy: Literal["allreduce", "averaging", "diloco", "server"] = option(
        "allreduce",
        "allreduce: gradients in every step; averaging: parameters every --sync-every steps (SparkNet); "
        "diloco: the same, through an outer optimizer; server: a parameter server, where nobody waits",
    )
    sync_every: int | None = option(
        None, "averaging, diloco, server: local steps of a round (default: the recipe's; 100 for diloco)"
    )
    find_unused_parameters: bool = option(False, "allreduce: for models that leave parameters out in some steps")
    compression: Literal["bf16", "fp16", "powersgd"] | None = option(
        None, "allreduce: send gradients as bf16, fp16, or low-rank products"
    )
    powersgd_rank: int | None = option(None, f"allreduce: rank of the products (default {POWERSGD_RANK})")
    slow_momentum: float | None = option(None, "averaging: momentum from round to round (SlowMo), for example 0.7")
    slow_lr: float | None = option(None, "averaging: learning rate of the slow momentum (default 1)")
    outer_lr: float | None = option(None, f"diloco: learning rate of the outer optimizer (default {DiLoCo.outer_lr})")
    outer_momentum: float | None = option(None, f"diloco: its Nesterov momentum (default {DiLoCo.outer_momentum})")
    exchange: Literal["fp32", "bf16", "int8"] | None = option(
        None, "diloco: send displacements as fp32 (the default), bf16 or int8"
    )
    overlap: bool = option(False, "diloco: send those of a round while the next one computes")
    scale: Literal["mean", "full", "staleness"] | None = option(
        None,
        "server: a change counts one worker's share (mean, the default), in full (as Downpour SGD and Elephas do, for "
        "leases of few steps), or less the staler it is (staleness)",
    )

    def chosen(self, default_sync_every: int) -> Strategy:
        """The strategy.

        Args:
            default_sync_every: the recipe's, of averaging and the server.

        Raises:
            EchelonError: a flag was given that is another strategy's, or a value makes no sense.
        """
        self._refuse_strangers()
        every = default_sync_every if self.sync_every is None else self.sync_every
        if self.strategy == "server":
            return ParameterServer(every, self.scale or ParameterServer.scale)
        if self.strategy == "averaging":
            return Averaging(every, self.slow_momentum, self.slow_lr)
        if self.strategy == "diloco":
            names = ("sync_every", "outer_lr", "outer_momentum", "exchange")
            given = {name: getattr(self, name) for name in names if getattr(self, name) is not None}
            return DiLoCo(**given, overlap=self.overlap)
        return AllReduce(self.find_unused_parameters, self.compression, self.powersgd_rank)

    def _refuse_strangers(self) -> None:
        for name, strategies in _STRATEGIES_OF.items():
            value = getattr(self, name)
            if value is None or value is False or self.strategy in strategies:
                continue
            if (name, value) == ("sync_every", 1):
                continue  # which is what every step means
            said = "" if value is True else f" {value}"
            wanted = " or ".join(f"--strategy {strategy}" for strategy in strategies)
            raise EchelonError(f"--{name.replace('_', '-')}{said} is for {wanted}, not for {self.strategy}")


_STRATEGIES_OF = {
    "sync_every": ("averaging", "diloco", "server"),
    "find_unused_parameters": ("allreduce",), "compression": ("allreduce",), "powersgd_rank": ("allreduce",),
    "slow_momentum": ("averaging",), "slow_lr": ("averaging",),
    "outer_lr": ("diloco",), "outer_momentum": ("diloco",), "exchange": ("diloco",), "overlap": ("diloco",),
    "scale": ("server",),
}  # fmt: skip
"""Which strategies an option is for."""
