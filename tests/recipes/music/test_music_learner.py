"""The learner of the music recipe: what it asks of the model, its loss and figures, and what it refuses."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from made_windows import music_dataset, noise, pairs_by_hand, tones
from torch import Tensor

from echelon.data.batch import Batch
from echelon.data.manifest import Dataset
from echelon.data.span import span_batches
from echelon.errors import DataError, EchelonError
from echelon.recipes.music.baselines import ACCURACY, BITS, baseline_of
from echelon.recipes.music.columns import CONTEXT, SAMPLES
from echelon.recipes.music.examples import NONE, examples
from echelon.recipes.music.learner import TARGETS, MusicLearner
from echelon.recipes.music.metrics import CodeMean
from echelon.recipes.music.mulaw import SILENCE
from echelon.recipes.music.settings import SIZES, TrainOptions, learner_for
from echelon.recipes.music.wavenet import WaveNet
from echelon.train.config import RunConfig
from echelon.train.evaluate import evaluate_span, measured
from echelon.train.learner import describe, rebuild

CONFIG = RunConfig(epochs=2, batch_size=4).resolved(1)
SMALL = TrainOptions(residual=4, skip=6, stacks=2, layers=3)
SONGS = [tones(1, 730)[0], noise(1, 250)[0], noise(1, 64)[0]]


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Nothing here is large enough to be shared out."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return music_dataset(tmp_path_factory.mktemp("music") / "dataset", {"train": SONGS, "test": SONGS[:2]})


def learner_of(dataset: Dataset, options: TrainOptions = SMALL, **changed: Any) -> MusicLearner:
    return replace(learner_for(dataset, options, CONFIG), **changed)


def rows_of(dataset: Dataset, split: str = "train") -> Batch:
    (batch,) = span_batches(dataset, split, None, 0, dataset.rows(split), 1000)
    return batch


def model_of(learner: MusicLearner) -> WaveNet:
    torch.manual_seed(0)
    return learner.model().eval()


def bits_by_hand(model: WaveNet, song: np.ndarray) -> Tensor:
    """Of each code of a whole song, which silence precedes, in one pass."""
    given = torch.cat([torch.tensor([SILENCE]), torch.from_numpy(song[:-1]).long()])
    with torch.no_grad():
        logits = model(given[None])
    return F.cross_entropy(logits, torch.from_numpy(song).long()[None], reduction="none")[0] / math.log(2)


def test_what_is_predicted_was_never_given() -> None:
    """Trap 9: the target is one code behind, and the first of a song is predicted from silence."""
    samples = torch.tensor([[10, 11, 12, 13, 14, 15], [20, 21, 22, 23, 0, 0], [30, 31, 32, 33, 34, 0]]).byte()
    lengths, context = torch.tensor([6, 4, 5]), torch.tensor([2, 0, 2], dtype=torch.int32)
    first, second = examples(samples, lengths, context)
    assert first.rows.tolist() == [1]
    assert first.inputs.tolist() == [[SILENCE, 20, 21, 22]]
    assert first.targets.tolist() == [[20, 21, 22, 23]]
    assert second.rows.tolist() == [0, 2]
    assert second.inputs.tolist() == [[SILENCE, 10, 11, 12, 13, 14], [SILENCE, 30, 31, 32, 33, 34]]
    assert second.targets.tolist() == [[12, 13, 14, 15], [32, 33, 34, NONE]]
    assert (first.codes, second.codes) == (4, 7)


def test_windows_are_given_a_few_at_a_time_and_each_once(dataset: Dataset) -> None:
    batch = rows_of(dataset)
    for at_once in (1, 300, None):
        given = list(examples(batch[SAMPLES], batch.lengths[SAMPLES], batch[CONTEXT], at_once))
        assert sorted(torch.cat([some.rows for some in given]).tolist()) == list(range(len(batch)))
        assert sum(some.codes for some in given) == sum(map(len, SONGS))
        if at_once:
            assert all(some.inputs.numel() <= at_once or len(some.rows) == 1 for some in given)


def test_figures_of_windows_are_those_of_whole_songs(dataset: Dataset) -> None:
    """However rows lie in batches; the windows bring along what the model looks back on."""
    learner = learner_of(dataset)
    model = model_of(learner)
    expected = torch.cat([bits_by_hand(model, song) for song in SONGS])
    rows = dataset.rows("train")
    for at_once in (1, 3, 500):
        config = replace(CONFIG, eval_batch_size=at_once)
        parts = [evaluate_span(learner, model, dataset, "train", span, config) for span in ((0, 4), (4, rows))]
        found = measured(learner, parts).metrics
        assert found[BITS] == pytest.approx(float(expected.double().mean()), abs=1e-6)
    with torch.no_grad():
        loss, weight = learner.loss(model, rows_of(dataset))
    assert weight == len(expected)
    assert float(loss) / weight / math.log(2) == pytest.approx(found[BITS], abs=1e-5)


def test_a_context_as_long_as_the_receptive_field_is_enough_and_no_shorter_one(tmp_path: Path) -> None:
    """The first code of a window is predicted from all that the model can see."""
    exact = {}
    for context in (14, 15):
        dataset = music_dataset(tmp_path / str(context), {"train": SONGS}, context=context)
        learner = learner_of(dataset)
        model = model_of(learner)
        assert model.receptive_field == 15
        with torch.no_grad():
            for parameter in model.parameters():
                parameter *= 3  # so that what lies far back counts
        batch = rows_of(dataset)
        with torch.no_grad():
            loss = float(learner.loss(model, batch)[0]) / math.log(2)
        exact[context] = loss == pytest.approx(float(torch.cat([bits_by_hand(model, song) for song in SONGS]).sum()))
    assert exact == {14: False, 15: True}


def test_accuracy_is_how_often_the_most_probable_code_comes(dataset: Dataset) -> None:
    learner = learner_of(dataset)
    model = model_of(learner)
    right = 0
    for song in SONGS:
        given = torch.cat([torch.tensor([SILENCE]), torch.from_numpy(song[:-1]).long()])
        with torch.no_grad():
            right += int((model(given[None])[0].argmax(0).numpy() == song).sum())
    part = evaluate_span(learner, model, dataset, "train", (0, dataset.rows("train")), CONFIG)
    assert measured(learner, [part]).metrics[ACCURACY] == pytest.approx(right / sum(map(len, SONGS)))


def test_no_prediction_depends_on_its_own_code_or_on_padding(dataset: Dataset) -> None:
    """Trap 9 again, through the whole learner: the loss of the first codes of a window ignores all later ones."""
    learner = learner_of(dataset)
    model = model_of(learner)
    batch = rows_of(dataset).slice(0, 5)
    lengths = batch.lengths[SAMPLES]
    behind = torch.arange(batch[SAMPLES].shape[1]) >= lengths[:, None]
    noisy = batch.replace(**{SAMPLES: torch.where(behind, torch.tensor(77, dtype=torch.uint8), batch[SAMPLES])})
    with torch.no_grad():
        assert torch.equal(learner.loss(model, noisy)[0], learner.loss(model, batch)[0])
    place = 60
    other = batch[SAMPLES].clone()
    other[:, place] += 100
    cut = {SAMPLES: torch.full_like(lengths, place)}
    with torch.no_grad():
        before = learner.loss(model, replace(batch, lengths=cut))[0]
        after = learner.loss(model, replace(batch.replace(**{SAMPLES: other}), lengths=cut))[0]
        longer = {SAMPLES: torch.full_like(lengths, place + 1)}
        own = learner.loss(model, replace(batch.replace(**{SAMPLES: other}), lengths=longer))[0]
    assert torch.equal(before, after)
    assert own != learner.loss(model, replace(batch, lengths=longer))[0]


def test_a_dozen_windows_have_the_gradient_of_their_codes(dataset: Dataset) -> None:
    """In whatever parts they come: a short window counts for as little as it is long."""
    learner, batch = learner_of(dataset), rows_of(dataset)
    model = model_of(learner).double()
    gradients = []
    for size in (1, 5, len(batch)):
        model.zero_grad()
        for start in range(0, len(batch), size):
            learner.loss(model, batch.slice(start, start + size))[0].backward()
        gradients.append(torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None]))
    for other in gradients[1:]:
        assert (other - gradients[0]).norm() < 1e-5 * gradients[0].norm()


def test_predictions_say_how_much_a_window_is_like_training(dataset: Dataset) -> None:
    learner = learner_of(dataset)
    model, batch = model_of(learner), rows_of(dataset)
    with torch.no_grad():
        predicted = learner.predict(model, batch)
    bits = {f"train{number}.wav": bits_by_hand(model, song) for number, song in enumerate(SONGS)}
    for song, offset, mean, codes in zip(
        batch.strings("song"), batch["offset"].tolist(), predicted[BITS], predicted[TARGETS], strict=True
    ):
        own = bits[song][offset : offset + 100]
        assert int(codes) == len(own)
        assert float(mean) == pytest.approx(float(own.mean()), abs=1e-4)


def test_means_over_codes_keep_their_digits() -> None:
    metric = CodeMean()
    for _ in range(2000):
        metric.update(torch.tensor(3.3e4), 8192)
    assert float(metric.compute()) == pytest.approx(float(torch.tensor(3.3e4)) / 8192, rel=1e-14)


def test_the_baseline_has_counted_in_training_alone(dataset: Dataset) -> None:
    learner = learner_of(dataset)
    expected = baseline_of(pairs_by_hand(SONGS), pairs_by_hand(SONGS[:2]))
    assert learner.baseline(dataset, "test") == pytest.approx(expected)


def test_a_run_keeps_the_learner(dataset: Dataset) -> None:
    learner = learner_of(dataset)
    assert rebuild(describe(learner)) == learner
    assert len(learner.pairs) < 60_000


def test_the_sizes_are_those_of_the_options(dataset: Dataset) -> None:
    for name, sizes in SIZES.items():
        model = learner_of(dataset, TrainOptions(model=name)).model()  # type: ignore[arg-type]
        assert model.embed.weight.shape == (256, sizes.residual)
        assert model.mix.in_channels == sizes.skip
        assert len(model.blocks) == sizes.stacks * sizes.layers
    assert learner_of(dataset, TrainOptions(model="full", layers=4)).model().receptive_field == 31
    with pytest.raises(EchelonError, match=r"--layers must be at least 1, got 0"):
        TrainOptions(layers=0)
    with pytest.raises(EchelonError, match=r"--lr must be more than 0, got -1"):
        TrainOptions(lr=-1)
    with pytest.raises(EchelonError, match="--schedule must be one of"):
        TrainOptions(schedule="none")


def test_windows_that_bring_along_too_little_are_told(dataset: Dataset, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        learner_of(dataset, replace(SMALL, layers=4))
        assert not caplog.text
        learner_of(dataset, replace(SMALL, layers=5))
    assert "looks back on 63 codes" in caplog.text
    assert "prepare with --context 63" in caplog.text


def test_other_songs_are_refused(dataset: Dataset, tmp_path: Path) -> None:
    learner = learner_of(dataset)
    learner.check(dataset)
    learner.check(music_dataset(tmp_path / "more", {"test": SONGS}, window=50, context=100))
    learner.check(music_dataset(tmp_path / "enough", {"test": SONGS}, context=15))
    for name, given, message in (
        ("rate", {"rate": 16000}, "16000 samples a second, the model was trained on 8000"),
        ("loud", {"normalised": False}, "as loud as they are, those that the model was trained on scaled to a peak"),
        ("short", {"context": 14}, "bring along 14 codes, those that the model was trained on 32"),
    ):
        with pytest.raises(DataError, match=message):
            learner.check(music_dataset(tmp_path / name, {"test": SONGS}, **given))  # type: ignore[arg-type]
    # As little as in training is what it was trained on.
    wide = learner_of(dataset, replace(SMALL, layers=5))
    wide.check(dataset)
