"""What a training on pets came to: figures beside those of the trivial predictor, with intervals, as text and JSON."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from echelon.recipes.pets.division import FEW
from echelon.recipes.pets.learner import CONFUSION, ONE_AGAINST_ALL, SvmLearner
from echelon.recipes.pets.measures import SURE, Interval, intervals_of, wilson
from echelon.train.run import RESULTS, RunFolder

TEXT = "results.txt"


@dataclass(frozen=True)
class Answer:
    """How well one answer is told from the others.

    rows: that are of it. said: that were taken for it. right: of those, the ones that are of it.
    """

    name: str
    rows: int
    said: int
    right: int
    rest: int

    @property
    def accuracy(self) -> float:
        """Of the question whether a row is of it."""
        return 1 - (self.rows + self.said - 2 * self.right) / max(self.rest + self.rows, 1)

    @property
    def balanced_accuracy(self) -> float:
        parts = [self.right / self.rows] if self.rows else []
        parts += [1 - (self.said - self.right) / self.rest] if self.rest else []
        return math.fsum(parts) / len(parts) if parts else math.nan

    @property
    def f1(self) -> float:
        return 2 * self.right / (self.rows + self.said) if self.rows + self.said else 0.0

    @property
    def recall(self) -> Interval:
        return wilson(self.right, self.rows)

    @property
    def always_no(self) -> float:
        """The accuracy of never saying it."""
        return self.rest / max(self.rest + self.rows, 1)

    def to_json(self) -> dict[str, Any]:
        low, high = self.recall
        return {"rows": self.rows, "said": self.said, "right": self.right, "accuracy": self.accuracy,
                "balanced_accuracy": self.balanced_accuracy, "f1": self.f1, "always_negative": self.always_no,
                "recall": self.right / self.rows if self.rows else None, "recall_interval": [low, high]}  # fmt: skip


def answers_of(learner: SvmLearner, arrays: Mapping[str, Any]) -> list[Answer]:
    """Each answer beside all others: as each breed's own classifier decided, where there is one for each; else as was
    said.
    """
    names = learner.problem.answers
    if ONE_AGAINST_ALL in arrays:
        counts = [tuple(map(int, row)) for row in arrays[ONE_AGAINST_ALL]]
        return [Answer(name, tp + fn, tp + fp, tp, tn + fp) for name, (tp, fp, tn, fn, _) in zip(names, counts)]
    matrix = [list(map(int, row)) for row in arrays[CONFUSION]]
    total = sum(map(sum, matrix))
    return [
        Answer(name, sum(matrix[at]), sum(row[at] for row in matrix), matrix[at][at], total - sum(matrix[at]))
        for at, name in enumerate(names)
    ]


def write_results(run: RunFolder, learner: SvmLearner, arrays: Mapping[str, Any]) -> str:
    """Adds intervals, the confusion matrix and the figures of each answer to results.json, and writes results.txt.

    Returns where the text is; "" for a run that was not evaluated.
    """
    if CONFUSION not in arrays:
        return ""
    answers, intervals = answers_of(learner, arrays), intervals_of(arrays[CONFUSION])
    results = {
        **run.results,
        "problem": learner.problem.title,
        "intervals": {name: list(limits) for name, limits in intervals.items()},
        "answers": list(learner.problem.answers),
        "confusion": arrays[CONFUSION],
        "each": {answer.name: answer.to_json() for answer in answers},
    }
    run.storage.write_json(RESULTS, results)
    run.storage.write(TEXT, "".join(f"{line}\n" for line in _lines(learner, results, answers)).encode())
    return f"results: {run.storage.url_of(TEXT)}"


def _lines(learner: SvmLearner, results: Mapping[str, Any], answers: Sequence[Answer]) -> Iterator[str]:
    tested = sum(answer.rows for answer in answers)
    yield f"{learner.problem.title}: {learner.rows:,} images to train on, {tested:,} to test on"
    if few := [answer.name for answer in answers if answer.rows < FEW]:
        yield f"warning: fewer than {FEW} test images of {len(few)} of {len(answers)}, so figures say little"
    yield ""
    yield f"{'':20}{'':>8}{f'{SURE:.0%} interval':>19}{'trivial':>10}"
    for name, value in results["metrics"].items():
        limits, baseline = results["intervals"].get(name), results["baseline"].get(name)
        between = f"{limits[0]:.3f} to {limits[1]:.3f}" if limits else ""
        told = f"{value:8.3f}" if value is not None else f"{'–':>8}"
        yield f"{name:20}{told}{between:>19}{'' if baseline is None else f'{baseline:10.3f}'}".rstrip()
    trivial = "the breed that is most frequent in training" if learner.breed is None else "no"
    yield ""
    yield f"The trivial predictor always says {trivial}."
    yield ""
    yield from _table(answers)
    yield ""
    yield from _matrix(learner.problem.answers, results["confusion"])


def _table(answers: Sequence[Answer]) -> Iterator[str]:
    width = max(len(answer.name) for answer in answers)
    yield "each against all others; always no: the accuracy of never saying it"
    yield (
        f"{'':{width}}{'images':>8}{'accuracy':>10}{'always no':>11}{'balanced':>10}{'F1':>7}{'recall':>8}  "
        f"{SURE:.0%} interval"
    )
    for answer in answers:
        recall = f"{answer.right / answer.rows:8.3f}" if answer.rows else f"{'–':>8}"
        low, high = answer.recall
        yield (
            f"{answer.name:{width}}{answer.rows:8,}{answer.accuracy:10.3f}{answer.always_no:11.3f}"
            f"{answer.balanced_accuracy:10.3f}{answer.f1:7.3f}{recall}  {low:.3f} to {high:.3f}"
        )


def _matrix(names: Sequence[str], counts: Sequence[Sequence[int]]) -> Iterator[str]:
    width, cell = max(map(len, names)), max(4, *(len(str(value)) + 1 for row in counts for value in row))
    yield "confusion matrix: true in rows, said in columns, in the same order"
    for name, row in zip(names, counts, strict=True):
        yield f"{name:{width}}" + "".join(f"{value:{cell}}" for value in row)
