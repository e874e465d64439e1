"""What a model makes at evaluations is kept; it changes no parameter, and stops and delays no training."""

from __future__ import annotations

import io
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from gang import train
from sampling_learner import Sampling, Silent

import echelon
from echelon.data.manifest import Dataset
from echelon.errors import DataError
from echelon.report.history import build_history
from echelon.sync import Averaging
from echelon.sync.server import ParameterServer
from echelon.train import sampled
from echelon.train.config import RunConfig
from echelon.train.run import RunFolder
from echelon.train.sampled import Sampled, SampleMaker

CONFIG = RunConfig(batch_size=16, epochs=2, eval_every="5steps", checkpoint_every="5steps", keep_checkpoints=99)


def samples_of(run: RunFolder) -> list[Sampled]:
    made = build_history(run.events()).samples
    return [Sampled(run.storage, path, step) for step, path in sorted(made.items())]


@pytest.mark.parametrize("strategy", [None, Averaging(sync_every=5)])
def test_each_evaluation_has_a_sample_of_the_model_of_that_step(tmp_path, dataset, strategy):
    training = train(tmp_path, dataset, Sampling(), CONFIG, strategy)
    evaluated = [event["step"] for event in training.events("evaluate")]
    made = samples_of(training.run)
    assert [one.step for one in made] == evaluated
    assert len(made) > 2
    wanted = training.tensors()
    for name, value in made[-1].arrays.items():
        np.testing.assert_array_equal(value, wanted[name].numpy())
    assert any((made[0].arrays[name] != value).any() for name, value in made[-1].arrays.items())
    assert all(event["took"] >= 0 for event in training.events("sample"))


def test_samples_change_no_parameter(tmp_path, dataset):
    """For each a model is made, which draws random numbers, as dropout in training does."""
    with_samples = train(tmp_path / "with", dataset, Sampling(), CONFIG, workers=1)
    without = train(tmp_path / "without", dataset, Silent(), CONFIG, workers=1)
    assert samples_of(with_samples.run)
    assert not samples_of(without.run)
    wanted = without.tensors()
    for name, value in with_samples.tensors().items():
        assert torch.equal(value, wanted[name]), name


def test_what_cannot_be_made_is_told_and_stops_nothing(tmp_path, dataset):
    training = train(tmp_path, dataset, Sampling(fails=True), CONFIG)
    assert not samples_of(training.run)
    remarks = [event["text"] for event in training.events("remark")]
    assert len(remarks) == len(training.events("evaluate"))
    assert all("could not be made: the muse is silent" in text for text in remarks)
    assert training.events("stop")


def test_nobody_waits_for_a_sample_but_the_end(tmp_path, dataset):
    """Of more evaluations than can wait, some have no sample, which is told."""
    config = RunConfig(batch_size=8, epochs=1, eval_every="1steps")
    training = train(tmp_path, dataset, Sampling(sample_seconds=0.5), config)
    made, evaluations = samples_of(training.run), training.events("evaluate")
    left_out = [event for event in training.events("remark") if "still waited for" in event["text"]]
    assert len(made) + len(left_out) == len(evaluations)
    assert 2 <= len(made) < len(evaluations)
    assert made[0].step == 1


def test_a_parameter_server_keeps_samples_too(tmp_path, dataset):
    run = echelon.fit(Sampling(), dataset, CONFIG, strategy=ParameterServer(sync_every=5), run=tmp_path / "run")
    folder = RunFolder(run.url)
    made = samples_of(folder)
    assert {one.step for one in made} == {e["step"] for e in folder.events() if e["kind"] == "evaluate"}
    final = run.model().state_dict()
    for name, value in made[-1].arrays.items():
        np.testing.assert_array_equal(value, final[name].numpy())


def test_the_end_waits_only_for_so_long(tmp_path, monkeypatch):
    monkeypatch.setattr(sampled, "LAST_SECONDS", 0.2)
    told: list[object] = []
    learner = Sampling(sample_seconds=1.5)
    maker = SampleMaker(RunFolder(str(tmp_path)), learner, 1, lambda *said: told.append(said), lambda *said: None)
    maker.begin(3, learner.model())
    begin = time.monotonic()
    maker.finish()
    assert 0.1 < time.monotonic() - begin < 1.2
    time.sleep(1.8)
    assert not told


def test_a_sample_that_is_gone_or_damaged_is_named(tmp_path: Path, dataset: Dataset):
    storage = RunFolder(str(tmp_path)).storage
    file = io.BytesIO()
    np.savez(file, one=np.arange(5))
    for content in (b"", b"PK\x03\x04 half", *_damaged(file.getvalue())):
        storage.write("samples/1-7.npz", content)
        try:
            assert list(Sampled(storage, "samples/1-7.npz", 7).arrays) == ["one"]
        except DataError as error:
            assert "made at step 7 cannot be read any more" in str(error)  # noqa: PT017
        else:
            assert len(content) == len(file.getvalue())
    with pytest.raises(DataError, match="made at step 7 cannot be read any more"):
        _ = Sampled(storage, "samples/1-8.npz", 7).arrays


def _damaged(content: bytes) -> Iterator[bytes]:
    """With one byte turned over, which not all of them tell."""
    for place in range(len(content)):
        yield content[:place] + bytes([content[place] ^ 255]) + content[place + 1 :]
