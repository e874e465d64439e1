"""The learners of pets: the same classifier, trained in steps by many workers, or solved in memory by one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn

from echelon.data.batch import Batch
from echelon.data.division import TRAIN
from echelon.data.manifest import Dataset
from echelon.errors import DataError, EchelonError
from echelon.recipes.pets.classifier import LinearClassifier
from echelon.recipes.pets.columns import FEATURES, LABEL, described
from echelon.recipes.pets.held import in_memory, with_bias
from echelon.recipes.pets.networks.extractor import Extractor
from echelon.recipes.pets.options import Fitting
from echelon.recipes.pets.problem import EVERY, Problem
from echelon.recipes.pets.seen import Training, count_seen
from echelon.recipes.pets.svm import MOST_STEPS, solve, useful_threads
from echelon.train.config import RunConfig
from echelon.train.learner import Learner
from echelon.train.schedules import SCHEDULES, rate
from echelon.train.solved import OnStep, SolvedLearner
from echelon.world import threads

if TYPE_CHECKING:
    from torchmetrics import Metric

CONFUSION, ONE_AGAINST_ALL = "confusion", "one_against_all"
"""Arrays: rows of an answer taken for another; of each breed the rows rightly and wrongly said to be of it, rightly and
wrongly said not to be, and those that are.
"""


@dataclass
class SvmLearner(Learner):
    """Tells breeds apart by the features of their images, with linear support vector machines, in steps.

    The loss of a row is the sum over the scores of max(0, 1 - y·score)², plus ½‖w‖² / (C · rows); over all rows that is
    1/(C · rows) times the objective of scikit-learn's LinearSVC, so both have the same minimum, see `svm`.

    classes: all breeds in the order of the labels. features: numbers of each image. breed, against: see `Problem`.
    counts: images of each breed in training. source, prepared: digest and URL of the dataset that was divided.
    extractor: fields of `Extractor`; None if nobody knows what made the features. total_steps: of the whole training,
    for the schedule. The other fields are explained at `TrainOptions`.
    """

    columns: ClassVar[tuple[str, ...] | None] = (FEATURES, LABEL)
    changeable: ClassVar[tuple[str, ...]] = ("total_steps",)

    classes: list[str]
    features: int
    counts: list[int]
    source: str
    extractor: dict[str, Any] | None = None
    breed: str | None = None
    against: str = EVERY
    cost: float = 1.0
    normalise: bool = True
    prepared: str = ""
    test_fraction: float = 0.0
    split_seed: int = 0
    total_steps: int = 1
    lr: float = 0.05
    schedule: str = "cosine"
    iterations: int = MOST_STEPS

    def __post_init__(self) -> None:
        if self.schedule not in SCHEDULES:
            raise EchelonError(f"--schedule {self.schedule} is unknown; there are: {', '.join(SCHEDULES)}")
        self.problem  # noqa: B018 (says what is wrong with it)

    @property
    def problem(self) -> Problem:
        return Problem(tuple(self.classes), self.breed, self.against)

    @property
    def rows(self) -> int:
        """Images that are trained on."""
        return sum(self.problem.counts(self.counts))

    @property
    def fitting(self) -> Fitting:
        """What images must become for this learner."""
        extractor = Extractor(**self.extractor) if self.extractor is not None else None
        return Fitting(tuple(self.classes), self.features, extractor)

    @property
    def training(self) -> Training:
        """The images that are trained on."""
        return Training(self.prepared, self.source, self.breed, self.against, self.test_fraction, self.split_seed)

    def model(self) -> nn.Module:
        return LinearClassifier(self.features, len(self.problem.outputs), self.normalise)

    def check(self, dataset: Dataset) -> None:
        """Its labels must mean the same breeds, and its features be of the same network."""
        its = described(dataset)
        if list(its.classes) != self.classes:
            raise DataError(
                f"the labels of {dataset.url} mean {', '.join(its.classes)}; the model was trained on "
                f"{', '.join(self.classes)}, in this order: give the images, which are labelled anew"
            )
        made_by, known = dataset.info.get("weights"), self.fitting.extractor
        other = made_by and known and (made_by, bool(dataset.info.get("mirrored"))) != (known.digest, known.mirrored)
        if its.features != self.features or other:
            raise DataError(
                f"the features of {dataset.url} were made by another network than those that the model was trained on: "
                "give the images, or prepare them with the same --model, --weights and --mirror"
            )

    def loss(self, model: nn.Module, batch: Batch) -> tuple[Tensor, float]:
        assert isinstance(model, LinearClassifier)
        total = self._hinge(model(batch[FEATURES]).float(), batch[LABEL]).sum()
        if model.training:
            norm = model.linear.weight.square().sum() + model.linear.bias.square().sum()
            total = total + norm * (0.5 * len(batch) / (self.cost * self.rows))
        return total, float(len(batch))

    def _hinge(self, scores: Tensor, labels: Tensor) -> Tensor:
        """The squared hinge loss of each row, summed over the scores: float32 [n]."""
        return (1 - self.problem.signs(labels) * scores).clamp_min(0).square().sum(1)

    def optimizer(self, model: nn.Module) -> torch.optim.Optimizer:
        return torch.optim.Adam(model.parameters(), lr=self.lr)

    def rate(self, step: int) -> float:
        return rate(self.schedule, step, self.total_steps, 0.0)

    def metrics(self) -> dict[str, Metric]:
        from echelon.recipes.pets.measures import metrics_of

        return metrics_of(len(self.problem.answers), self.breed is not None)

    def arrays(self) -> dict[str, Metric]:
        from torchmetrics.classification import MulticlassConfusionMatrix, MultilabelStatScores

        answers = len(self.problem.answers)
        arrays: dict[str, Metric] = {CONFUSION: MulticlassConfusionMatrix(answers)}
        if self.breed is None:
            arrays[ONE_AGAINST_ALL] = MultilabelStatScores(answers, average=None)
        return arrays

    def update(self, metrics: dict[str, Metric], model: nn.Module, batch: Batch) -> None:
        from echelon.recipes.pets.measures import AUC, LOSS, ranked

        problem, labels = self.problem, batch[LABEL]
        scores = model(batch[FEATURES]).float()
        said, targets, signs = problem.said(scores), problem.targets(labels), problem.signs(labels)
        places = ranked(scores)
        for name, metric in metrics.items():
            if name == LOSS:
                metric.update(self._hinge(scores, labels))
            elif name == AUC:
                metric.update(places if self.breed is None else places[:, 0], targets)
            elif name == ONE_AGAINST_ALL:
                metric.update(places, (signs > 0).long())
            else:
                metric.update(said, targets)

    def baseline(self, dataset: Dataset, split: str) -> dict[str, float]:
        """Of always saying no, or for all breeds of always saying the one that is most frequent in training.

        Raises:
            DataError: some of its images were trained on, or are of no breed that the problem is about.
        """
        from echelon.recipes.pets.measures import baseline_of

        if seen := count_seen(dataset, split, self.training):
            raise DataError(
                f"{dataset.info.get('files') or dataset.url} holds images of the training, {seen} of "
                f"{dataset.rows(split)}: evaluate the model on "
                "the split 'test' of the dataset in its run, or on images that it has not seen"
            )
        there = [int(dataset.info["counts"][split].get(name, 0)) for name in self.classes]
        measured = self.problem.counts(there)
        if strange := dataset.rows(split) - sum(measured):
            raise DataError(
                f"{strange} of {dataset.rows(split)} images of {dataset.url} are of no breed that is told apart here "
                f"({self.problem.title}), so nothing can be measured on them: use predict, or leave them out"
            )
        return baseline_of(self.problem.counts(self.counts), measured, self.breed is not None)

    def predict(self, model: nn.Module, batch: Batch) -> dict[str, Tensor | list[str]]:
        """ "breed": what is said, "score": how surely, float32 [n], the score of that answer, and "scores": of all
        outputs in their order, float32 [n, outputs].
        """
        problem = self.problem
        scores = model(batch[FEATURES]).float()
        said = problem.said(scores)
        score = scores.gather(1, said[:, None])[:, 0] if self.breed is None else scores[:, 0].abs()
        return {"breed": [problem.answers[at] for at in said.tolist()], "score": score, "scores": scores}


@dataclass
class InMemorySvmLearner(SvmLearner, SolvedLearner):
    """The same, solved exactly in the memory of one process, see `svm`. iterations: most steps of Newton's method."""

    def solve(self, model: nn.Module, dataset: Dataset, config: RunConfig, on_step: OnStep) -> str:
        assert isinstance(model, LinearClassifier)
        device = model.linear.weight.device
        otherwise = "take --solver steps, which reads them in batches"
        features, labels = in_memory(dataset, TRAIN, config.memory_mb, otherwise=otherwise)
        wide = with_bias(model.scaled(torch.from_numpy(features).to(device)))
        signs = self.problem.signs(torch.from_numpy(labels).to(device))
        scale = 1 / (self.cost * len(labels))
        with threads(useful_threads(wide, signs, config.cpus_per_worker)):
            found = solve(
                wide,
                signs,
                self.cost,
                most_steps=self.iterations,
                on_step=lambda step, objective: on_step(step, objective * scale),
            )
        with torch.no_grad():
            model.linear.weight.copy_(found.weights[:-1].T)
            model.linear.bias.copy_(found.weights[-1])
        return f"solved to {float(found.gap.max()):.1g} of the objective"
