"""A training as it is ordered on the command line."""

from __future__ import annotations

from dataclasses import dataclass, replace
from reprlib import repr as brief
from typing import Any

from echelon.api import Run, fit, new_folder
from echelon.cli.choices import StrategyOptions
from echelon.cli.console import ERR, say
from echelon.cli.options import Given
from echelon.data.manifest import Dataset
from echelon.driver import Place
from echelon.errors import EchelonError
from echelon.launch.torchrun import restarted
from echelon.recipes import short_name
from echelon.recipes.recipe import Recipe
from echelon.report.progress import LiveProgress
from echelon.report.summary import strategy_label
from echelon.sync.protocol import Strategy
from echelon.train.config import RunConfig
from echelon.train.learner import Learner, describe
from echelon.train.run import RunFolder
from echelon.train.solved import SolvedLearner, check_heeded


@dataclass(frozen=True)
class Order:
    """What was asked for. name: by which the recipe is found. options: of it. given: which flags were set."""

    name: str
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
    if order.resume and order.run is None:
        raise EchelonError("--resume needs --run: which run shall go on?")
    run = order.run or new_folder(short_name(order.name), order.place)
    learner, strategy, config = _resumed(order, RunFolder(run)) or _new(order)
    if isinstance(learner, SolvedLearner):
        check_heeded(order.given.of(order.config))
    if order.place.is_first:
        if order.resume and not RunFolder(run).exists():
            say(f"there is no run at {run} yet, so a new one begins")
        say(f"{run}: {_way(learner, strategy, config, order.place.size)}")
    with LiveProgress(ERR) as progress:
        finished = fit(
            learner,
            order.recipe.data(order.dataset, order.options),
            config,
            strategy=strategy,
            workers=order.place.workers,
            run=run,
            resume=order.resume,
            master=order.place.master,
            conf=order.place.conf,
            recipe=order.name,
            on_event=progress,
        )
    return finished if order.place.is_first else None


def _way(learner: Learner, strategy: Strategy, config: RunConfig, workers: int) -> str:
    """How a training goes, in words."""
    if isinstance(learner, SolvedLearner):
        return f"solved in the memory of one process, with {config.cpus_per_worker} threads"
    label = strategy_label({"strategy": describe(strategy)})
    many = "s" if workers > 1 else ""
    return f"{label}, {workers} worker{many}, batches of {config.batch_size} rows from {config.lanes} lanes"


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
        EchelonError: other flags were given for what a run keeps for life.
    """
    if not ((order.resume or restarted()) and folder.exists()):
        return None
    given = order.given.of(order.config)
    _refuse_other_batch(given.pop("batch_size_per_worker", None), folder.config, order.place.size)
    config = replace(folder.config, **given).resolved(order.place.size)
    learner, strategy = order.recipe.resumed(folder.learner, order.dataset, config), folder.strategy
    if order.given.of(order.options):
        _refuse_other(learner, order.recipe.learner(order.dataset, order.options, config))
    if order.given.of(order.strategy):
        _refuse_other(strategy, order.strategy.chosen(strategy.sync_every))
    return learner, strategy, config


def _refuse_other_batch(per_worker: int | None, stored: RunConfig, workers: int) -> None:
    """The global batch belongs to the run, however it was given when it was created."""
    if per_worker is not None and per_worker * workers != stored.resolved_batch_size:
        raise EchelonError(
            f"--batch-size-per-worker {per_worker} on {workers} workers is a batch of {per_worker * workers} rows, but "
            f"the run was begun with batches of {stored.resolved_batch_size}: leave it out, or start a new run"
        )


def _refuse_other(kept: Learner | Strategy, wanted: Learner | Strategy) -> None:
    before, now = describe(kept), describe(wanted)
    if before == now:
        return
    if before["type"] != now["type"]:
        other = [f"{type(kept).__name__} (now {type(wanted).__name__})"]
    else:
        asked = now["fields"]
        other = [
            f"{name} {brief(v)} (now {brief(asked[name])})" for name, v in before["fields"].items() if asked[name] != v
        ]
    raise EchelonError(
        f"the run was begun with {', '.join(other)}: leave such flags out when you resume it, or start a new run"
    )
