"""The learner of the video recipe: what it makes of stored features and labels, its loss, and what it refuses."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from made_video_dataset import video_dataset

from echelon.data.batch import Batch
from echelon.data.manifest import Dataset
from echelon.data.span import span_batches
from echelon.errors import DataError, EchelonError
from echelon.recipes.video.columns import AUDIO, LABEL_COUNTS, RGB
from echelon.recipes.video.learner import CONFIDENCES, IDS, TARGETS, VideosLearner
from echelon.recipes.video.made import Means, Video, made_means, made_videos
from echelon.recipes.video.settings import TrainOptions, learner_for, most_frequent
from echelon.train.config import RunConfig
from echelon.train.evaluate import evaluate_span, measured
from echelon.train.learner import describe, rebuild

CONFIG = RunConfig(epochs=2, batch_size=10).resolved(1)


@pytest.fixture(scope="module")
def frames(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    videos = made_videos(60, 8, frames=(0, 9))
    strange = [Video("_empty", [], *(np.empty((0, width), np.uint8) for width in (1024, 128)))]
    return video_dataset(
        tmp_path_factory.mktemp("frames") / "dataset", {"train": [*videos[:40], *strange], "test": videos[40:]}
    )


@pytest.fixture(scope="module")
def means(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    videos = made_means(60, 8)
    return video_dataset(tmp_path_factory.mktemp("means") / "dataset", {"train": videos[:40], "test": videos[40:]})


def learner_of(dataset: Dataset, **options: Any) -> VideosLearner:
    return learner_for(dataset, TrainOptions(units=4, hidden="8", **options), CONFIG)


def rows_of(dataset: Dataset, learner: VideosLearner, split: str = "train", count: int | None = None) -> Batch:
    names = [*learner.columns, "key"]
    (batch,) = span_batches(dataset, split, names, 0, count or dataset.rows(split), 10_000)
    return batch


def test_frames_are_dequantised_and_their_padding_is_zero(frames: Dataset) -> None:
    learner = learner_of(frames)
    stored = rows_of(frames, learner)
    lengths = stored.lengths[RGB].tolist()
    assert min(lengths) == 0
    noisy = stored.replace(**{name: _with_noise(stored, name) for name in (RGB, AUDIO)})
    for batch in (stored, noisy):
        prepared = learner.prepare(batch, None)
        for name in (RGB, AUDIO):
            for row, length in enumerate(lengths):
                expected = stored[name][row, :length].numpy().astype(np.float64) * 4 / 255 + 4 / 512 - 2
                assert np.allclose(prepared[name][row, :length], expected, atol=1e-6)
                assert not prepared[name][row, length:].any()
    assert prepared[RGB].min() < -0.5 < 0.5 < prepared[RGB].max()


def _with_noise(batch: Batch, name: str) -> torch.Tensor:
    """The frames, with anything instead of zeros behind their ends."""
    frames = batch[name]
    behind = torch.arange(frames.shape[1]) >= batch.lengths[name][:, None]
    return torch.where(behind[:, :, None], torch.randint_like(frames, 1, 255), frames)


@pytest.mark.parametrize("model", ["lstm", "logistic", "mlp", "moe"])
def test_a_video_has_the_same_labels_in_any_batch(frames: Dataset, model: str) -> None:
    torch.manual_seed(0)
    learner = learner_of(frames, model=model)
    net = learner.model().eval()
    together = learner.predict(net, learner.prepare(rows_of(frames, learner), None))
    assert isinstance(together[CONFIDENCES], torch.Tensor)
    for batch in span_batches(frames, "train", learner.columns, 0, frames.rows("train"), 3):
        some = learner.predict(net, learner.prepare(batch, None))
        assert torch.allclose(some[CONFIDENCES], together[CONFIDENCES][batch.rows], atol=1e-6)
    assert together[CONFIDENCES].std(0).max() > 1e-4


def test_labels_are_the_most_frequent_ones_and_not_the_smallest(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert most_frequent(np.array([5, 0, 9, 1, 9, 5]), 3) == [2, 4, 0]
    assert most_frequent(np.array([5, 0, 9, 1, 9, 5]), None) == [2, 4, 0, 5, 3]
    videos = [replace(video, labels=[3000 + label for label in video.labels] + [7][: n % 2]) for n, video in
              enumerate(made_means(30, 4))]  # fmt: skip
    dataset = video_dataset(tmp_path / "dataset", {"train": videos})
    with caplog.at_level("WARNING"):
        assert len(learner_of(dataset, labels=50).labels) == 5
    assert "--labels 50: only 5 labels occur" in caplog.text
    learner = learner_of(dataset, labels=3)
    counts = dataset.asset(LABEL_COUNTS)
    assert learner.frequencies == sorted(counts.tolist(), reverse=True)[:3]
    assert counts[learner.labels].tolist() == learner.frequencies
    batch = rows_of(dataset, learner)
    expected = [[float(label in stored) for label in learner.labels] for stored in _stored(batch)]
    assert learner.prepare(batch, None)[TARGETS].tolist() == expected


def _stored(batch: Batch) -> list[list[int]]:
    return [row[:n] for row, n in zip(batch["labels"].tolist(), batch.lengths["labels"].tolist(), strict=True)]


@pytest.mark.parametrize("keep", [False, True])
def test_the_loss_is_binary_for_each_label_and_of_the_videos_that_count(means: Dataset, keep: bool) -> None:
    torch.manual_seed(0)
    learner = learner_of(means, labels=2, keep_unlabelled=keep)
    net = learner.model()
    batch = learner.prepare(rows_of(means, learner), None)
    targets, logits = batch[TARGETS].double(), net(batch["mean_rgb"], batch["mean_audio"]).double()
    counted = torch.ones(len(batch), dtype=torch.bool) if keep else targets.any(1)
    assert 0 < int(targets.any(1).sum()) < len(batch)
    each = -(targets * logits.sigmoid().log() + (1 - targets) * (1 - logits.sigmoid()).log()).sum(1)
    total, weight = learner.loss(net, batch)
    assert (float(total.detach()), weight) == (pytest.approx(float(each[counted].sum())), int(counted.sum()))


def test_without_map_nothing_holds_the_scores_of_all_videos(means: Dataset) -> None:
    learner = learner_of(means, mean_precision=False)
    torch.manual_seed(0)
    state = evaluate_span(learner, learner.model(), means, "test", (0, means.rows("test")), CONFIG)
    found = measured(learner, [state])
    assert set(found.metrics) == {"gap@20", "hit@1", "perr", "loss"}
    assert not found.arrays, "the table of labels needs the same scores"
    assert set(learner.baseline(means, "test")) == {"gap@20", "hit@1", "perr"}


def test_two_true_labels_are_both_pushed_up(means: Dataset) -> None:
    """A categorical loss would let one of them win."""
    learner = learner_of(means)
    net = learner.model()
    batch = learner.prepare(rows_of(means, learner), None)
    row = int(batch[TARGETS].sum(1).argmax())
    optimizer = torch.optim.SGD(net.parameters(), lr=5.0)
    for _ in range(200):
        loss, _ = learner.loss(net, batch.slice(row, row + 1))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    said = learner.predict(net, batch.slice(row, row + 1))
    true = int(batch[TARGETS][row].sum())
    assert true > 1
    assert said[CONFIDENCES][0, :true].min() > 0.95
    assert said[CONFIDENCES][0, true:].max() < 0.05


def test_a_step_without_a_video_that_counts_teaches_nothing(means: Dataset) -> None:
    learner = learner_of(means, labels=1)
    net = learner.model()
    batch = learner.prepare(rows_of(means, learner), None)
    without = int(batch[TARGETS].sum(1).argmin())
    loss, weight = learner.loss(net, batch.slice(without, without + 1))
    loss.backward()
    assert (float(loss.detach()), weight) == (0.0, 0.0)
    assert all(parameter.grad is not None and not parameter.grad.any() for parameter in net.parameters())


def test_rows_without_labels_are_no_hits(means: Dataset) -> None:
    """An accuracy that takes the first class of all-zero rows would count them as right."""
    kept, dropped = (learner_of(means, labels=2, keep_unlabelled=keep) for keep in (True, False))
    torch.manual_seed(0)
    net = kept.model()
    counted = int((kept.prepare(rows_of(means, kept, "test"), None)[TARGETS].any(1)).sum())
    hits = [
        measured(one, [evaluate_span(one, net, means, "test", (0, 20), CONFIG)]).metrics["hit@1"]
        for one in (kept, dropped)
    ]
    assert 0 < counted < 20
    assert hits[0] * 20 == pytest.approx(hits[1] * counted)


@pytest.mark.parametrize("options", [{}, {"labels": 2}, {"labels": 2, "keep_unlabelled": True}], ids=str)
def test_the_baseline_is_the_prior_of_the_training_labels(means: Dataset, options: dict[str, Any]) -> None:
    """The metrics of a network that knows nothing but how frequent each label is say the same."""
    learner = learner_of(means, model="logistic", **options)
    net = learner.model()
    with torch.no_grad():
        net.head.weight.zero_()
        net.head.bias.copy_(torch.tensor(learner.frequencies) / 40 - 3)
    found = measured(learner, [evaluate_span(learner, net, means, "test", (0, 20), CONFIG)]).metrics
    baseline = learner.baseline(means, "test")
    assert {name: value for name, value in found.items() if name != "loss"} == pytest.approx(baseline)


def test_predictions_are_ids_with_the_highest_confidence_first(means: Dataset) -> None:
    torch.manual_seed(0)
    learner = learner_of(means, labels=5)
    net = learner.model()
    batch = learner.prepare(rows_of(means, learner), None)
    said = learner.predict(net, batch)
    expected = net(batch["mean_rgb"], batch["mean_audio"]).sigmoid()
    assert said[IDS].shape == (40, 5)
    assert said[IDS].dtype == torch.int32
    for row in range(40):
        by_id = dict(zip(said[IDS][row].tolist(), said[CONFIDENCES][row].tolist(), strict=True))
        assert by_id == pytest.approx(dict(zip(learner.labels, expected[row].tolist(), strict=True)))
        assert said[CONFIDENCES][row].tolist() == sorted(by_id.values(), reverse=True)


def test_a_learner_is_stored_by_its_fields(frames: Dataset) -> None:
    learner = learner_of(frames)
    _ = learner.prepare(rows_of(frames, learner), None)
    again = rebuild(describe(learner))
    assert again == learner
    assert again.columns == ("rgb", "audio", "labels")


def test_what_does_not_fit_is_refused(frames: Dataset, means: Dataset, tmp_path: Path) -> None:
    with pytest.raises(EchelonError, match="needs the frames"):
        learner_of(means, model="lstm")
    with pytest.raises(DataError, match="is of video level, the model was trained on frame"):
        learner_of(frames).check(means)
    silent = video_dataset(tmp_path / "silent", {"train": made_videos(20, 3)}, audio=False)
    assert learner_of(silent).audio is False
    learner_of(frames, audio=False).check(silent)
    with pytest.raises(DataError, match="has no 'audio'"):
        learner_of(frames).check(silent)
    with pytest.raises(DataError, match="has no 'audio'"):
        learner_of(silent, audio=True)
    unlabelled = [replace(video, labels=[]) for video in made_means(10, 3)]
    with pytest.raises(EchelonError, match="at least one label"):
        learner_of(video_dataset(tmp_path / "none", {"train": unlabelled}))
    test = video_dataset(tmp_path / "test", {"test": unlabelled})
    with pytest.raises(DataError, match="not one of 10 videos"):
        learner_of(means).baseline(test, "test")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model": "gru"}, "--model must be one of lstm"),
        ({"labels": 0}, "--labels must be at least 1"),
        ({"hidden": "50,x"}, "--hidden must be sizes"),
        ({"dropout": 1.0}, "--dropout must be at least 0 and below 1"),
        ({"schedule": "linear"}, "--schedule must be one of constant"),
    ],
    ids=str,
)
def test_options_out_of_range_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(EchelonError, match=message):
        TrainOptions(**options)


def test_a_loss_of_float_logits_needs_no_sigmoid() -> None:
    """The stable form is what is trained on: a plain logarithm of a saturated sigmoid is infinite."""
    learner = VideosLearner("video", [0], [], [1], 10, model_name="logistic")
    net = learner.model()
    with torch.no_grad():
        net.head.weight.zero_()
        net.head.bias.fill_(200.0)
    video = Means("a", [1], np.zeros(1024, np.float32), np.zeros(128, np.float32))
    batch = Batch(
        {"mean_rgb": torch.from_numpy(video.mean_rgb)[None], "mean_audio": torch.from_numpy(video.mean_audio)[None],
         TARGETS: torch.zeros(1, 1)}, torch.zeros(1, dtype=torch.int64),
    )  # fmt: skip
    learner.keep_unlabelled = True
    assert float(learner.loss(net, batch)[0]) == pytest.approx(float(F.softplus(torch.tensor(200.0))))
