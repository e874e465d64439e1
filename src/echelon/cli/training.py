"""A training as it is ordered on the command line."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

from echelon.api import Run, fit, new_folder
from echelon.cli.choices import StrategyOptions
from echelon.cli.console import ERR, say
from echelon.cli.options import Given
from echelon.data.manifest import Dataset
from echelon.driver import Place
from echelon.errors import EchelonError
from echelon.launch.torchrun import started_by_torchrun
from echelon.recipes.recipe import Recipe
from echelon.report.progress import LiveProgress
from echelon.sync.protocol import Strategy
from echelon.train.config import RunConfig
from echelon.train.learner import Learner
from echelon.train.run import RunFolder
from echelon.world import torchrun_world


@dataclass(frozen=True)
class Order:
    """What was asked for. options: of the recipe. given: which flags were set."""

    recipe: Recipe
    dataset: Dataset
    options: Any
    strategy: StrategyOptions
    config: RunConfig
    place: Place
    given: Given
    run: str | None
    resume: bool


def train(order: Order) -> Run | None:
    """Trains until the end; None in those processes of torchrun that have nothing to tell."""
    run = order.run or new_folder(order.recipe.name, order.place)
    learner, strategy, config = _resumed(order, RunFolder(run)) or _new(order)
    first = not started_by_torchrun() or torchrun_world().is_first
    if first:
        say(
            f"{run}: {strategy}, {order.place.size} worker{'s' if order.place.size > 1 else ''}, "
            f"batches of {config.batch_size} rows from {config.lanes} lanes"
        )
    with LiveProgress(ERR) as progress:
        finished = fit(
            learner,
            order.dataset,
            config,
            strategy=strategy,
            workers=order.place.workers,
            run=run,
            resume=order.resume,
            master=order.place.master,
            conf=order.place.conf,
            recipe=order.recipe.name,
            on_event=progress,
        )
    return finished if first else None


def _new(order: Order) -> tuple[Learner, Strategy, RunConfig]:
    """As the recipe advises wherever no flag was given."""
    defaults = dict(order.recipe.defaults(order.options))
    if {"batch_size", "batch_size_per_worker"} & order.given.names:
        defaults = {k: v for k, v in defaults.items() if k not in ("batch_size", "batch_size_per_worker")}
    strategy = order.strategy.chosen(defaults.pop("sync_every", 10))
    advised = {name: value for name, value in defaults.items() if name not in order.given}
    config = replace(order.config, **advised).resolved(order.place.size)
    return order.recipe.learner(order.dataset, order.options, config), strategy, config


def _resumed(order: Order, folder: RunFolder) -> tuple[Learner, Strategy, RunConfig] | None:
    """As stored, with the flags of the configuration that were given now; None for a new run.

    Raises:
        EchelonError: flags were given that a run keeps for life.
    """
    if not (order.resume and folder.exists()):
        return None
    fixed = [f.name for part in (order.options, order.strategy) for f in fields(part) if f.name in order.given]
    if fixed:
        flags = ", ".join(f"--{name.replace('_', '-')}" for name in fixed)
        raise EchelonError(f"{flags} cannot be changed when a run is resumed: leave it out, or start a new run")
    config = replace(folder.config, **order.given.of(order.config)).resolved(order.place.size)
    return order.recipe.resumed(folder.learner, order.dataset, config), folder.strategy, config
