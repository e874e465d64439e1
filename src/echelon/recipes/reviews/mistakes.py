"""Where a model was surest of what is wrong, in the words of the reviewers."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import nn

from echelon.data.batch import Batch
from echelon.data.manifest import Dataset
from echelon.data.span import span_batches
from echelon.recipes.reviews.columns import FIRST_WORD, KEY, LABEL, LENGTH, TEXT, TOKENS, UNLABELLED
from echelon.recipes.reviews.learner import ReviewsLearner
from echelon.report.exhibits import Passages, Sample

MOST_ROWS = 5_000
MOST_LETTERS = 900
COUNT = 8
_BATCH = 500
_UNKNOWN = "…"


@dataclass(frozen=True)
class Mistake:
    """A review that was taken for another class. probability: that the model gave to that class."""

    probability: float
    key: str
    text: str
    true: str
    said: str


def worst_mistakes(learner: ReviewsLearner, model: nn.Module, dataset: Dataset, split: str) -> Passages:
    """The mistakes among the first rows of a split that the model was surest of, as an exhibit."""
    rows = min(MOST_ROWS, dataset.rows(split))
    found = heapq.nlargest(
        COUNT, _mistakes(learner, model, dataset, split, rows), key=lambda mistake: mistake.probability
    )
    where = f"all {rows:,}" if rows == dataset.rows(split) else f"the first {rows:,}"
    lead = f"Of {where} reviews of '{split}', those that were taken for the wrong class with the greatest certainty."
    if not found:
        lead = f"The model was right about {where} reviews of '{split}'."
    samples = [
        Sample(
            fields={"said": f"{mistake.said} ({mistake.probability:.1%})", "true": mistake.true, "key": mistake.key},
            correct=False,
            text=_cut(mistake.text),
        )
        for mistake in found
    ]
    return Passages("The worst mistakes", lead, samples)


def _mistakes(learner: ReviewsLearner, model: nn.Module, dataset: Dataset, split: str, rows: int) -> Iterator[Mistake]:
    names = [TOKENS, LENGTH, LABEL, *(name for name in (KEY, TEXT) if name in dataset.schema.names)]
    device = next(model.parameters()).device
    for batch in span_batches(dataset, split, names, 0, rows, _BATCH):
        ready = learner.prepare(batch.to(device), None)
        with torch.inference_mode():
            probability, said = model(ready[TOKENS], ready[LENGTH]).float().softmax(1).max(1)
        for row in ((said != ready[LABEL]) & (ready[LABEL] != UNLABELLED)).nonzero()[:, 0].tolist():
            yield Mistake(
                float(probability[row]),
                batch.strings(KEY)[row] if KEY in batch.columns else str(int(batch.rows[row])),
                _text(learner, batch, row),
                learner.classes[int(batch[LABEL][row])],
                learner.classes[int(said[row])],
            )


def _text(learner: ReviewsLearner, batch: Batch, row: int) -> str:
    """What the reviewer wrote, or where it was not kept the words that the model read."""
    if TEXT in batch.columns:
        return batch.strings(TEXT)[row]
    ids = batch[TOKENS][row, : int(batch[LENGTH][row])].tolist()
    known = len(learner.words)
    return " ".join(learner.words[i - FIRST_WORD] if 0 <= i - FIRST_WORD < known else _UNKNOWN for i in ids)


def _cut(text: str) -> str:
    return text if len(text) <= MOST_LETTERS else text[:MOST_LETTERS].rsplit(" ", 1)[0] + " …"
