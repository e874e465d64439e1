"""The learner: what it learns from, how it is evaluated, and what it forgets to leave to chance."""

import json

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from made_dataset import CLASSES, SIZE, small_dataset
from torch import nn

from echelon.data.batch import Batch
from echelon.data.keyed import Draw
from echelon.errors import DataError, EchelonError
from echelon.recipes.images.learner import WINDOW, ImagesLearner
from echelon.recipes.images.made import made_images
from echelon.recipes.images.options import ImagesOptions
from echelon.recipes.images.samples import samples, thumbnail
from echelon.recipes.images.settings import learner_for
from echelon.train.config import RunConfig
from echelon.train.learner import describe, rebuild
from echelon.train.schedules import rescaled


def learner(**fields) -> ImagesLearner:
    return ImagesLearner(**{"classes": CLASSES, "size": list(SIZE), "total_steps": 10, **fields})


def ready(learner: ImagesLearner) -> nn.Module:
    """A model whose guesses differ: its last layer begins with zeros."""
    torch.manual_seed(0)
    model = learner.model().eval()
    nn.init.normal_(model.net[-1].weight)
    return model


def batch_of(rows: list[int], seed: int = 0) -> Batch:
    images, labels = made_images(max(rows) + 1, len(CLASSES), SIZE, seed)
    return Batch({"image": torch.from_numpy(images[rows]), "label": torch.from_numpy(labels[rows])}, torch.tensor(rows))


def prepared(learner: ImagesLearner, rows: list[int], epoch: int = 0, seed: int = 0) -> torch.Tensor:
    batch = batch_of(rows)
    return learner.prepare(batch, Draw(seed, epoch, batch.rows))[WINDOW]


def test_augmentation_belongs_to_the_row_and_not_to_the_batch():
    together = prepared(learner(), list(range(40)))
    for rows in ([7], [39, 7, 0], list(range(39, -1, -1))):
        torch.testing.assert_close(prepared(learner(), rows), together[rows])
    assert (prepared(learner(), list(range(40)), epoch=1) != together).any()
    assert (prepared(learner(), list(range(40)), seed=1) != together).any()


def test_windows_use_all_places_and_both_sides():
    windows = prepared(learner(crop=8, pad=1), list(range(2000)))
    assert sorted(set(windows[:, 0].tolist())) == list(range(SIZE[0] + 2 - 8 + 1))
    assert sorted(set(windows[:, 1].tolist())) == list(range(SIZE[1] + 2 - 8 + 1))
    assert 0.45 < windows[:, 2].float().mean() < 0.55
    assert not prepared(learner(mirror=False), list(range(200)))[:, 2].any()


def test_nothing_is_left_to_chance_in_evaluation():
    """Trap: random crops at test time."""
    subject, batch = learner(crop=8), batch_of(list(range(30)))
    model = ready(subject)
    assert WINDOW not in subject.prepare(batch, None).columns
    outputs = [subject.predict(model, subject.prepare(batch, None))["probability"] for _ in range(2)]
    assert torch.equal(*outputs)
    centre = batch.replace(image=batch["image"][:, :, 2:10, 1:9].clone())
    alone = learner(size=[8, 8])
    its_model = alone.model().eval()
    its_model.net.load_state_dict(model.net.state_dict())
    torch.testing.assert_close(alone.predict(its_model, centre)["probability"], outputs[0])


def test_training_sees_the_windows():
    subject, batch = learner(pad=4), batch_of(list(range(30)))
    model = ready(subject).train()
    seen, _ = subject.loss(model, subject.prepare(batch, Draw(0, 0, batch.rows)))
    other, _ = subject.loss(model, subject.prepare(batch, Draw(0, 1, batch.rows)))
    assert seen.item() != other.item()


def test_the_loss_is_a_sum_and_its_weight_the_rows():
    subject, batch = learner(), batch_of(list(range(30)))
    model = ready(subject)
    total, weight = subject.loss(model, batch)
    assert weight == 30
    parts = [subject.loss(model, batch.slice(a, b)) for a, b in ((0, 7), (7, 30))]
    assert total.item() == pytest.approx(sum(part.item() for part, _ in parts), rel=1e-5)
    expected = -model(batch["image"]).log_softmax(1)[torch.arange(30), batch["label"]].sum()
    assert total.item() == pytest.approx(expected.item(), rel=1e-5)


def test_heads_count_in_training_only():
    """Main loss + 0.3 · each head's (bvlc_googlenet/train_val.prototxt), and the main loss alone in evaluation."""
    subject = learner(model_name="googlenet", size=[48, 50], init="caffe")
    torch.manual_seed(0)
    model = subject.model()
    images, labels = made_images(3, len(CLASSES), (48, 50), 0)
    batch = Batch({"image": torch.from_numpy(images), "label": torch.from_numpy(labels)}, torch.arange(3))
    torch.manual_seed(1)
    total, weight = subject.loss(model.train(), batch)
    torch.manual_seed(1)
    outputs = model(batch["image"])
    parts = [F.cross_entropy(output, batch["label"], reduction="sum").item() for output in outputs]
    assert (len(parts), weight) == (3, 3)
    assert total.item() == pytest.approx(parts[0] + 0.3 * parts[1] + 0.3 * parts[2], rel=1e-5)
    alone, _ = subject.loss(model.eval(), batch)
    expected = F.cross_entropy(model(batch["image"]), batch["label"], reduction="sum")
    assert alone.item() == pytest.approx(expected.item(), rel=1e-5)
    assert len(subject.predict(model, batch)["label"]) == 3


def test_smoothing_is_for_training_only():
    batch = batch_of(list(range(10)))
    plain, smooth = learner(), learner(label_smoothing=0.2)
    model = ready(plain)
    assert plain.loss(model, batch)[0].item() == smooth.loss(model, batch)[0].item()
    assert plain.loss(model.train(), batch)[0].item() != smooth.loss(model, batch)[0].item()


def test_metrics_are_those_of_a_slow_reference_however_the_rows_are_split():
    subject, batch = learner(), batch_of(list(range(53)))
    model = ready(subject)
    metrics = subject.metrics()
    for start, end in ((0, 20), (20, 21), (21, 53)):
        subject.update(metrics, model, batch.slice(start, end))
    with torch.no_grad():
        logits = model(batch["image"]).numpy()
    labels = batch["label"].numpy()
    ranks = (logits > logits[np.arange(53), labels][:, None]).sum(axis=1)
    assert metrics["accuracy"].compute().item() == pytest.approx((ranks < 1).mean())
    assert metrics["top5"].compute().item() == pytest.approx((ranks < 5).mean())
    reference = F.cross_entropy(torch.from_numpy(logits), batch["label"])
    assert metrics["loss"].compute().item() == pytest.approx(reference.item(), rel=1e-5)


def test_the_baseline_always_gives_the_classes_that_are_most_frequent_in_training(tmp_path):
    dataset = small_dataset(tmp_path, {"train": 70, "test": 10})
    dataset.info["counts"]["train"]["cat"] = 11
    expected = dataset.info["counts"]["test"]["cat"] / 10
    figures = learner().baseline(dataset, "test")
    assert figures["accuracy"] == expected
    assert figures["top5"] > figures["accuracy"]


def test_the_mean_image_is_taken_from_the_dataset_and_kept_with_the_weights(dataset):
    subject = learner()
    model = subject.model()
    subject.initialise(model, dataset)
    np.testing.assert_array_equal(model.state_dict()["mean"].numpy(), dataset.asset("mean"))
    assert not list(model.buffers())
    with pytest.raises(DataError, match="its mean image is"):
        learner(size=[20, 20]).initialise(learner(size=[20, 20]).model(), dataset)


def test_biases_and_norms_have_their_own_rate_and_every_parameter_is_in_one_group():
    for name in ("quick", "resnet"):
        for optimizer in ("sgd", "adamw"):
            subject = learner(model_name=name, optimizer_name=optimizer, lr=0.1, bias_lr=2.0)
            model = subject.model()
            groups = subject.optimizer(model).param_groups
            assert [group["lr"] for group in groups] == [0.1, 0.2]
            held = [id(p) for group in groups for p in group["params"]]
            assert sorted(held) == sorted(id(p) for p in model.net.parameters())
            assert all(p.ndim == 1 for p in groups[1]["params"])


def test_biases_may_be_left_out_of_the_decay():
    """decay_mult 0 of Caffe's ImageNet networks."""
    for factor, expected in ((1.0, 0.01), (0.0, 0.0)):
        subject = learner(weight_decay=0.01, bias_decay=factor)
        assert [group["weight_decay"] for group in subject.optimizer(subject.model()).param_groups] == [0.01, expected]


def test_a_run_of_before_these_fields_is_what_it_was():
    stored = describe(learner(schedule="step", weight_decay=0.01))
    for name in ("bias_decay", "step_every"):
        del stored["fields"][name]
    old = rebuild(stored)
    assert [old.rate(step) for step in (0, 7, 8, 9)] == [1.0, 1.0, 0.1, 0.1]
    assert {group["weight_decay"] for group in old.optimizer(old.model()).param_groups} == {0.01}


def test_the_learner_counts_steps_as_its_solver_says():
    subject = learner(schedule="step", step_every=4, total_steps=10)
    assert [subject.rate(step) for step in (3, 4, 8)] == pytest.approx([1.0, 0.1, 0.01])


def test_a_schedule_longer_than_the_training_is_warned_of(dataset, caplog):
    config = RunConfig(epochs=2, batch_size=10).resolved(1)
    learner_for(dataset, ImagesOptions(solver="quick-caffe"), config)
    assert not caplog.messages
    learner_for(dataset, ImagesOptions(solver="quick-caffe", step_every=20), config)
    assert ["after 20 steps, but the training has 14" in message for message in caplog.messages] == [True]


def test_the_crop_is_the_published_one_where_none_is_given(tmp_path):
    large = small_dataset(tmp_path / "large", {"train": 4}, size=(240, 250))
    config = RunConfig(batch_size=4, lanes=1).resolved(1)
    for options, crop in (({}, 0), ({"model": "caffenet"}, 227), ({"model": "googlenet"}, 224),
                          ({"model": "googlenet", "crop": 0}, 0), ({"model": "alexnet", "crop": 64}, 64)):  # fmt: skip
        assert learner_for(large, ImagesOptions(**options), config).crop == crop
    small = small_dataset(tmp_path / "small", {"train": 4}, size=(64, 64))
    assert learner_for(small, ImagesOptions(model="caffenet"), config).crop == 0


def test_images_that_are_too_small_for_a_network_are_refused_when_the_learner_is_made(dataset):
    with pytest.raises(EchelonError, match="caffenet needs images of at least 39x39 pixels, got 10x12"):
        learner_for(dataset, ImagesOptions(model="caffenet"), RunConfig(batch_size=10).resolved(1))


def test_a_learner_is_stored_as_plain_values_and_comes_back():
    subject = learner(model_name="resnet", lr=0.123)
    stored = json.loads(json.dumps(describe(subject)))
    assert rebuild(stored) == subject


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"schedule": "linear"}, "--schedule linear is unknown; there are: constant, step, poly, cosine, one-cycle"),
        ({"optimizer_name": "lion"}, "--optimizer lion is unknown; there are: sgd, adamw"),
        ({"crop": 11}, "--crop 11 does not fit into images of 10x12"),
        ({"total_steps": 0}, "at least one step"),
    ],
)
def test_fields_that_cannot_be_are_refused_at_once(fields, message):
    with pytest.raises(EchelonError, match=message):
        learner(**fields)


def test_the_schedule_covers_the_steps_of_the_run(dataset):
    options = ImagesOptions(model="resnet", width=8)
    for given, steps in (({"epochs": 3}, 21), ({"epochs": 30}, 210), ({"epochs": 30, "max_steps": 50}, 50)):
        config = RunConfig(batch_size=10, **given).resolved(2)
        subject = learner_for(dataset, options, config)
        assert subject.total_steps == steps
        assert subject.rate(steps - 1) < 0.01
        assert rescaled(learner(), dataset, config).total_steps == steps


def test_a_learner_knows_the_classes_and_the_size_of_the_dataset(dataset):
    subject = learner_for(dataset, ImagesOptions(), RunConfig().resolved(1))
    assert (subject.classes, subject.size) == (CLASSES, list(SIZE))
    subject.check(dataset)


def test_labels_that_mean_something_else_are_refused(dataset, tmp_path):
    """Trap: evaluating on a dataset whose labels mean other classes gives a number and no error."""
    other = small_dataset(tmp_path / "classes", {"test": 14}, classes=[*CLASSES[:-1], "yak"])
    with pytest.raises(DataError, match=r"mean ant.*yak; the model was trained on ant.*gnu"):
        learner().check(other)
    larger = small_dataset(tmp_path / "size", {"test": 14}, size=(20, 30))
    with pytest.raises(DataError, match="are 30x20, the model was trained on 10x12"):
        learner().check(larger)
    with pytest.raises(DataError, match="no rows to train on"):
        learner_for(larger, ImagesOptions(), RunConfig().resolved(1))


def test_samples_show_the_rows_as_they_are_and_what_the_model_said(dataset):
    subject = learner()
    model = subject.model().eval()
    seen = samples(subject, model, dataset, "test", count=8)
    assert len(seen) == 8
    for sample in seen:
        assert sample.image.shape == (3, *SIZE)
        assert sample.correct == (sample.fields["predicted"].split(" (")[0] == sample.fields["true"])
    assert {sample.fields["true"] for sample in seen} <= set(CLASSES)
    assert len(samples(subject, model, dataset, "test", count=1000)) == 35


@pytest.mark.parametrize("size", [(96, 96), (97, 50), (500, 333), (30, 1000)])
def test_thumbnails_are_small_and_of_the_same_brightness(size):
    image, _ = made_images(1, 1, size)
    small = thumbnail(image[0])
    assert small.dtype == np.uint8
    assert max(small.shape[1:]) <= 96
    assert small.mean() == pytest.approx(image.mean(), abs=2)
