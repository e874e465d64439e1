"""The learner: its loss and figures, and the datasets that it refuses."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.metrics import confusion_matrix
from small_reviews import LENGTH, VOCABULARY, small_dataset, written

from echelon.data.batch import Batch
from echelon.data.keyed import Draw
from echelon.data.manifest import Dataset
from echelon.data.span import span_batches
from echelon.errors import DataError, EchelonError
from echelon.recipes.reviews import RECIPE
from echelon.recipes.reviews.columns import PAD, UNKNOWN
from echelon.recipes.reviews.learner import ReviewsLearner
from echelon.recipes.reviews.mistakes import worst_mistakes
from echelon.recipes.reviews.settings import TrainOptions, balanced, learner_for
from echelon.recipes.reviews.vocabulary import Vocabulary
from echelon.train.config import RunConfig
from echelon.train.learner import describe, rebuild

SMALL = TrainOptions(embedding=6, hidden=5, dense=4)
CONFIG = RunConfig(epochs=2, batch_size=20).resolved(1)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return small_dataset(tmp_path_factory.mktemp("reviews") / "dataset", {"train": 60, "test": 35})


def learner(dataset: Dataset, **options: object) -> ReviewsLearner:
    return learner_for(dataset, replace(SMALL, **options), CONFIG)


def rows_of(subject: ReviewsLearner, dataset: Dataset, split: str = "test") -> Batch:
    rows = dataset.rows(split)
    (batch,) = span_batches(dataset, split, subject.columns, 0, rows, rows)
    return batch


def test_the_loss_is_a_sum_and_its_weight_the_rows(dataset: Dataset) -> None:
    subject = learner(dataset)
    model, batch = subject.model().eval(), subject.prepare(rows_of(subject, dataset), None)
    total, weight = subject.loss(model, batch)
    parts = [subject.loss(model, batch.slice(a, b)) for a, b in ((0, 9), (9, 35))]
    assert weight == 35 == sum(part for _, part in parts)
    assert total.item() == pytest.approx(sum(part.item() for part, _ in parts), rel=1e-5)
    logits = model(batch["tokens"], batch["length"])
    assert total.item() == pytest.approx(F.cross_entropy(logits, batch["label"]).item() * 35, rel=1e-5)


def test_balanced_weights_let_every_class_count_alike(tmp_path: Path) -> None:
    weights = balanced([10, 0, 30])
    assert weights == [2.0, 0.0, 2 / 3]
    assert weights[0] * 10 + weights[2] * 30 == 40, "all rows together count as before"
    dataset = small_dataset(tmp_path, {"train": 60})
    subject = learner(dataset, class_weights="balanced", dropout=0.0)
    model, batch = subject.model(), subject.prepare(rows_of(subject, dataset, "train"), None)
    losses = F.cross_entropy(model(batch["tokens"], batch["length"]), batch["label"], reduction="none")
    factors = torch.tensor(balanced(subject.counts))[batch["label"]]
    assert subject.loss(model.train(), batch)[0].item() == pytest.approx((losses * factors).sum().item(), rel=1e-4)
    assert subject.loss(model.eval(), batch)[0].item() == pytest.approx(losses.sum().item(), rel=1e-4)
    assert learner(dataset).class_weights == []


def test_words_are_forgotten_by_row_and_epoch_and_in_training_only(dataset: Dataset) -> None:
    subject = learner(dataset, word_dropout=0.4)
    batch = rows_of(subject, dataset, "train")
    tokens = subject.prepare(batch, None)["tokens"]
    assert torch.equal(tokens, batch["tokens"].long())
    forgotten = subject.prepare(batch, Draw(0, 0, batch.rows))["tokens"]
    changed = forgotten != tokens
    assert (forgotten[changed] == UNKNOWN).all()
    assert not changed[tokens == PAD].any()
    known = (tokens != PAD) & (tokens != UNKNOWN)
    assert 0.3 < changed[known].float().mean() < 0.5
    some = batch.slice(7, 31)
    assert torch.equal(subject.prepare(some, Draw(0, 0, some.rows))["tokens"], forgotten[7:31])
    assert not torch.equal(subject.prepare(batch, Draw(0, 1, batch.rows))["tokens"], forgotten)


def test_the_confusion_matrix_counts_every_row(dataset: Dataset) -> None:
    subject = learner(dataset)
    torch.manual_seed(3)
    model, batch = subject.model().eval(), subject.prepare(rows_of(subject, dataset), None)
    metrics = subject.metrics() | subject.arrays()
    with torch.no_grad():
        for start, end in ((0, 20), (20, 35)):
            subject.update(metrics, model, batch.slice(start, end))
        said = model(batch["tokens"], batch["length"]).argmax(1)
    expected = confusion_matrix(batch["label"], said, labels=[0, 1])
    assert metrics["confusion"].compute().tolist() == expected.tolist()
    assert metrics["accuracy"].compute().item() == pytest.approx(np.trace(expected) / 35)
    assert metrics["loss"].compute().item() == pytest.approx(subject.loss(model, batch)[0].item() / 35, rel=1e-5)


def test_the_majority_is_that_of_training_also_for_other_reviews(dataset: Dataset, tmp_path: Path) -> None:
    subject = replace(learner(dataset), counts=[10, 90])
    other = small_dataset(tmp_path, {"test": 50})
    positive = other.info["counts"]["test"]["positive"]
    assert subject.baseline(other, "test")["accuracy"] == positive / 50
    assert replace(subject, counts=[90, 10]).baseline(other, "test")["accuracy"] == (50 - positive) / 50


def test_reviews_without_ratings_are_not_measured(dataset: Dataset, tmp_path: Path) -> None:
    subject = learner(dataset)
    other = small_dataset(tmp_path, {"test": 30})
    other.info["counts"]["test"]["positive"] -= 3
    with pytest.raises(DataError, match="3 of 30 reviews have no rating"):
        subject.baseline(other, "test")
    batch = rows_of(subject, dataset).replace(label=torch.full((35,), -1))
    with pytest.raises(DataError, match="35 of 35 reviews have no rating"):
        subject.update(subject.metrics(), subject.model(), batch)


def test_other_words_and_other_classes_are_refused(dataset: Dataset, tmp_path: Path) -> None:
    subject = learner(dataset)
    subject.check(dataset)
    turned = Vocabulary(VOCABULARY.words[::-1])
    with pytest.raises(DataError, match="another vocabulary"):
        subject.check(small_dataset(tmp_path / "words", {"test": 5}, vocabulary=turned))
    with pytest.raises(DataError, match="the model was trained on negative, positive"):
        subject.check(small_dataset(tmp_path / "stars", {"test": 5}, classes=5))


def test_a_run_keeps_its_words_as_json(dataset: Dataset) -> None:
    subject = learner(dataset)
    again = rebuild(json.loads(json.dumps(describe(subject))))
    assert again == subject
    assert tuple(again.words) == VOCABULARY.words


def test_single_reviews_become_what_prepare_makes_of_them(dataset: Dataset) -> None:
    texts, _ = written(60, 0)
    subject = learner(dataset)
    stored = rows_of(replace(subject), dataset, "train")
    order = [int(key.split(":")[1]) for batch in span_batches(dataset, "train", ["key"], 0, 60, 60)
             for key in batch.strings("key")]  # fmt: skip
    batch = RECIPE.batch_of(subject, [texts[number] for number in order])
    assert torch.equal(batch["tokens"].long(), stored["tokens"].long())
    assert torch.equal(batch["length"], stored["length"])
    assert RECIPE.batch_of(subject, [""])["length"].tolist() == [1]
    assert batch["tokens"].shape == (60, LENGTH)


def test_an_answer_tells_of_how_many_words_it_speaks(dataset: Dataset) -> None:
    """A model is as sure as ever of a text that says nothing to it."""
    subject = learner(dataset)
    texts = ["a good coat", "", "?!", "zxqj", "good " * (LENGTH + 5), "zxqj not"]
    batch = subject.prepare(RECIPE.batch_of(subject, texts), None)
    assert subject.predict(subject.model().eval(), batch)["known"].tolist() == [3, 0, 0, 0, LENGTH, 1]


class FixedReviews(ReviewsLearner):
    changeable: ClassVar[tuple[str, ...]] = ()


def test_a_longer_training_stretches_the_schedule_where_the_learner_allows_it(dataset: Dataset) -> None:
    subject = learner(dataset)
    longer = replace(CONFIG, epochs=3 * CONFIG.epochs)
    assert RECIPE.resumed(subject, dataset, longer) == replace(subject, total_steps=3 * subject.total_steps)
    fixed = FixedReviews(**{field.name: getattr(subject, field.name) for field in fields(subject)})
    assert RECIPE.resumed(fixed, dataset, longer) is fixed


def test_a_model_without_words_reads_no_text(dataset: Dataset) -> None:
    with pytest.raises(EchelonError, match="old HDF5 files have no vocabulary"):
        RECIPE.batch_of(replace(learner(dataset), words=[]), ["good"])


@pytest.mark.parametrize("text", [True, False])
def test_the_worst_mistakes_are_those_that_the_model_was_surest_of(tmp_path: Path, text: bool) -> None:
    dataset = small_dataset(tmp_path, {"train": 60, "test": 200}, text=text)
    subject = learner(dataset, model="ngrams", embedding=8)
    torch.manual_seed(0)
    model = subject.model().eval()
    torch.nn.init.normal_(model.output.weight, std=50)
    exhibit = worst_mistakes(subject, model, dataset, "test")
    batch = subject.prepare(rows_of(subject, dataset), None)
    probability, said = model(batch["tokens"], batch["length"]).softmax(1).max(1)
    wrong = [i for i in probability.argsort(descending=True).tolist() if said[i] != batch["label"][i]]
    (keys,) = span_batches(dataset, "test", ["key"], 0, 200, 200)
    assert {sample.fields["key"] for sample in exhibit.samples} == {keys.strings("key")[i] for i in wrong[:8]}
    texts, labels = written(200, 1)
    for sample in exhibit.samples:
        number = int(sample.fields["key"].split(":")[1])
        assert sample.fields["true"] == ("negative", "positive")[labels[number]]
        assert sample.fields["said"].split()[0] != sample.fields["true"]
        assert sample.text == texts[number] if text else "…" in sample.text or len(texts[number].split()) > LENGTH
    assert "all 200 reviews of 'test'" in exhibit.lead


def test_options_that_make_no_sense_are_refused() -> None:
    for wrong in ({"hidden": 0}, {"buckets": -1}, {"dropout": 1.0}, {"word_dropout": -0.1}, {"lr": -1}):
        with pytest.raises(EchelonError, match=f"--{next(iter(wrong)).replace('_', '-')}"):
            TrainOptions(**wrong)
