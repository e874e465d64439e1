"""The options of a training, and the learner for them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from echelon.data.division import TRAIN
from echelon.data.manifest import Dataset
from echelon.data.plan import steps_in_epoch
from echelon.errors import EchelonError
from echelon.recipes.pets.columns import described
from echelon.recipes.pets.division import Divided
from echelon.recipes.pets.learner import InMemorySvmLearner, SvmLearner
from echelon.recipes.pets.problem import EVERY
from echelon.recipes.pets.svm import MOST_STEPS
from echelon.train.config import RunConfig, option
from echelon.train.stopping import last_step
from echelon.world import processors

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
    cost: float = option(
        1.0,
        "C of scikit-learn's LinearSVC: what loss costs beside the norm of the weights; 1/(rows x regParam) of Spark",
    )
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
        for name in ("cost", "lr"):
            if not 0 < getattr(self, name) < math.inf:
                raise EchelonError(f"--{name} must be a number greater than 0, got {getattr(self, name)}")
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
    counts = divided.chosen().counts[TRAIN]
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
        cost=options.cost,
        normalise=options.normalise,
        lr=options.lr,
        schedule=options.schedule,
        iterations=options.iterations,
    )
    return rescaled(learner, config)


def rescaled(learner: SvmLearner, config: RunConfig) -> SvmLearner:
    """The same learner with its schedule stretched over the steps of another configuration."""
    steps = last_step(config, steps_in_epoch(max(learner.rows, 1), config.resolved_batch_size))
    return replace(learner, total_steps=steps)
