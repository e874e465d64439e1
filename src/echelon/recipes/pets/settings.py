"""The options of a training, and the learner for them."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import torch

from echelon.data.division import TRAIN
from echelon.data.manifest import Dataset
from echelon.data.plan import steps_in_epoch
from echelon.errors import EchelonError
from echelon.recipes.pets.classifier import LinearClassifier
from echelon.recipes.pets.columns import ALL, described
from echelon.recipes.pets.cost import COSTS, cost_option, fixed_cost
from echelon.recipes.pets.division import Chosen, Divided
from echelon.recipes.pets.held import in_memory, with_bias
from echelon.recipes.pets.learner import InMemorySvmLearner, SvmLearner
from echelon.recipes.pets.problem import EVERY
from echelon.recipes.pets.svm import MOST_STEPS
from echelon.recipes.pets.trial import Images, crossed_cost
from echelon.train.config import RunConfig, option
from echelon.train.stopping import last_step
from echelon.world import processors, threads

_log = logging.getLogger(__name__)
_OF_STEPS, _OF_MEMORY = ("lr", "schedule"), ("iterations",)
"""Options of one solver only."""


@dataclass(frozen=True)
class TrainOptions:
    """What is told apart, and how."""

    breed: str | None = option(None, "the breed to tell from --against (default: every breed from all others)")
    against: str = option(EVERY, "another breed, or all")
    all_breeds: bool = option(False, "every breed against all others, all at once; the default without --breed")
    test_fraction: float = option(0.3, "part of the images of each breed to test on")
    split_seed: int = option(0, "seed of that division")
    cost: str = cost_option()
    normalise: bool = option(True, "scale the features of each image to the length 1")
    solver: Literal["memory", "steps"] = option(
        "memory", "memory: solved at once by one process; steps: in steps by any number of workers, whatever its size"
    )
    iterations: int = option(MOST_STEPS, "memory: most steps of the solver")
    lr: float = option(0.05, "steps: learning rate of Adam at its peak")
    schedule: str = option("cosine", "steps: constant, step, poly, cosine or one-cycle")

    def __post_init__(self) -> None:
        if self.all_breeds and (self.breed is not None or self.against != EVERY):
            raise EchelonError("give --all-breeds, or --breed and --against, not both")
        if not 0 <= self.test_fraction < 1:
            raise EchelonError(f"--test-fraction must be at least 0 and below 1, got {self.test_fraction}")
        if not 0 < self.lr < math.inf:
            raise EchelonError(f"--lr must be a number greater than 0, got {self.lr}")
        fixed_cost(self.cost)
        if self.iterations < 1:
            raise EchelonError(f"--iterations must be at least 1, got {self.iterations}")
        for name in _OF_STEPS if self.solver == "memory" else _OF_MEMORY:
            if getattr(self, name) != type(self).__dataclass_fields__[name].default:
                other = "steps" if self.solver == "memory" else "memory"
                raise EchelonError(f"--{name} does nothing with --solver {self.solver}: leave it out, or take {other}")

    def divided(self, dataset: Dataset) -> Divided:
        """The images of a dataset that are trained and tested on."""
        return Divided(dataset, self.breed, self.against, self.test_fraction, self.split_seed)


def defaults_of(options: TrainOptions) -> Mapping[str, Any]:
    """What a run takes where its flags are not given: fields of `RunConfig`, and "sync_every"."""
    if options.solver == "memory":
        return {"cpus_per_worker": processors()}
    return {"epochs": 100, "batch_size": 256, "eval_every": "10epoch", "sync_every": 5}


def learner_for(dataset: Dataset, options: TrainOptions, config: RunConfig) -> SvmLearner:
    """The learner for a dataset that `prepare` wrote.

    config: resolved for a number of workers; it says how many steps the schedule of the learning rate covers.

    Raises:
        DataError: the dataset is not one of features of pets. EchelonError: there is no such breed.
    """
    its, divided = described(dataset), options.divided(dataset)
    chosen = divided.chosen()
    counts = chosen.counts[TRAIN]
    kind = InMemorySvmLearner if options.solver == "memory" else SvmLearner
    learner = kind(
        classes=list(its.classes),
        features=its.features,
        counts=[counts[name] for name in its.classes],
        source=dataset.digest,
        prepared=dataset.url,
        test_fraction=options.test_fraction,
        split_seed=options.split_seed,
        extractor=asdict(its.extractor) if its.extractor is not None else None,
        breed=options.breed,
        against=options.against,
        cost=fixed_cost(options.cost) or _cost_of(dataset, chosen, options, config),
        normalise=options.normalise,
        lr=options.lr,
        schedule=options.schedule,
        iterations=options.iterations,
    )
    return rescaled(learner, config)


def _cost_of(dataset: Dataset, chosen: Chosen, options: TrainOptions, config: RunConfig) -> float:
    """C by cross-validation."""
    features, labels = in_memory(dataset, ALL, config.memory_mb, otherwise="give --cost a number")
    scaled = LinearClassifier(features.shape[1], 1, options.normalise).scaled(torch.from_numpy(features))
    images = Images(with_bias(scaled), labels, chosen.known.keys)
    with threads(config.cpus_per_worker):
        cost = crossed_cost(images, chosen.problem, chosen.masks[TRAIN], options.split_seed)
    _log.info("--cost %g is the best of %s by cross-validation", cost, ", ".join(f"{each:g}" for each in COSTS))
    return cost


def rescaled(learner: SvmLearner, config: RunConfig) -> SvmLearner:
    """The same learner with its schedule stretched over the steps of another configuration."""
    steps = last_step(config, steps_in_epoch(max(learner.rows, 1), config.resolved_batch_size))
    return replace(learner, total_steps=steps)
