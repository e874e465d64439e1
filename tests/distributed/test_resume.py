"""Going on from a checkpoint: elsewhere, with something else, or from one that is damaged."""

from __future__ import annotations

import json
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
import torch
from gang import Training, train
from learners import FEATURES, TRAIN_ROWS, Linear, Noisy
from oracle import whole_batches
from rank import BACKWARD, Kill
from strategy_table import assert_close, assert_same

from echelon.data.manifest import Dataset
from echelon.data.write import write_dataset
from echelon.errors import EchelonError
from echelon.sync import AllReduce, Averaging, DiLoCo, Strategy
from echelon.train.checkpoint import committed, strategy_shard
from echelon.train.config import RunConfig
from echelon.train.learner import Learner
from echelon.train.restore import check_resumable, order_facts, restore
from echelon.train.snapshot import OptimizerState, mean_state
from echelon.world import World

CONFIG = RunConfig(
    epochs=2, batch_size=24, lanes=8, seed=5, eval_every="off", checkpoint_every="3steps", keep_checkpoints=3
)
LEARNER = Linear(momentum=0.9, decay=0.1)


def begun(
    folder: Path, dataset: Dataset, steps: int, strategy: Strategy | None = None, learner: Learner = LEARNER
) -> Training:
    """A training of two workers that stopped after some steps, and may now go on."""
    training = Training(folder, dataset, learner, replace(CONFIG, max_steps=steps), strategy)
    training.finish(2)
    training.job = replace(training.job, config=CONFIG)
    return training


@pytest.mark.parametrize("workers", [1, 3])
def test_allreduce_goes_on_with_other_workers(tmp_path: Path, dataset: Dataset, workers: int) -> None:
    """The schedule and the momentum go on, too: the result is that of one process that never stopped."""
    training = begun(tmp_path, dataset, steps=7)
    progress = training.finish(workers)
    assert_close(training.tensors(), whole_batches(LEARNER, dataset, CONFIG))
    assert progress.rows == 2 * TRAIN_ROWS
    assert [step.step for step in training.steps()] == list(range(1, 19))


@pytest.mark.parametrize(
    ("strategy", "said"),
    [
        (Averaging(2), "the mean of their optimizer states"),
        (DiLoCo(2, exchange="int8", overlap=True), "the mean of their optimizer states and of what DiLoCo keeps"),
        (AllReduce(compression="powersgd", powersgd_rank=1), "the mean of what AllReduce keeps"),
    ],
    ids=["averaging", "diloco", "powersgd"],
)
def test_replicas_go_on_with_other_workers(tmp_path: Path, dataset: Dataset, strategy: Strategy, said: str) -> None:
    """Inside an epoch and inside a round: rows are neither lost nor repeated, and what was done is said."""
    training = begun(tmp_path, dataset, steps=5, strategy=strategy, learner=Noisy())
    training.finish(3)
    rows = [row for step in training.steps() if step.epoch == 0 for row in step.rows]
    assert sorted(rows) == list(range(TRAIN_ROWS))
    remark = training.events("start")[-1]["remark"]
    assert f"2 replicas and there are 3 workers now: each begins with {said}" in remark


def test_what_a_strategy_keeps_of_its_own_has_the_same_mean_on_other_workers(tmp_path: Path, dataset: Dataset) -> None:
    """What encoding lost and where replicas went on their own: the sum over the ranks of what they send is the same."""
    strategy = DiLoCo(2, exchange="int8", overlap=True)
    training = Training(
        tmp_path, dataset, Noisy(), replace(CONFIG, checkpoint_every="4steps", eval_every="off"), strategy
    )
    training.start(2, Kill(1, BACKWARD, step=7, after=4))
    checkpoint = training.checkpoint
    assert checkpoint.step == 4
    shards = [checkpoint.strategy(strategy_shard(rank)) for rank in range(2)]
    model, learner = Noisy().model(), Noisy()
    _, kept, _ = restore(checkpoint, World(2, 3), model, learner.optimizer(model), strategy, {"seed": CONFIG.seed})
    assert {name.partition("/")[0] for name in kept.own} == {"lost", "begin"}
    assert {name.partition("/")[0] for name in kept.shared} == {"outer_momentum", "mean"}
    for name, mean in kept.own.items():
        torch.testing.assert_close(mean, (shards[0][name] + shards[1][name]) / 2)
        assert not torch.equal(shards[0][name], shards[1][name])


def test_replicas_begin_with_the_mean_of_the_optimizers() -> None:
    shards = [
        OptimizerState({"w/mean": torch.tensor([1.0, 2.0]), "w/count": torch.tensor(3)}),
        OptimizerState({"w/mean": torch.tensor([3.0, 6.0]), "w/count": torch.tensor(5), "v/n": torch.ones(1)}),
    ]
    merged = mean_state(shards, [0.5, 0.5]).tensors
    assert merged["w/mean"].tolist() == [2.0, 4.0]
    assert int(merged["w/count"]) == 5
    assert merged["v/n"].tolist() == [1.0]  # only one replica ever had it


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory, dataset: Dataset) -> Training:
    return begun(tmp_path_factory.mktemp("stopped"), dataset, steps=4)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"seed": 6}, "seed 5 (now 6)"),
        ({"batch_size": 32}, "batch_size 24 (now 32)"),
        ({"lanes": 6}, "lanes 8 (now 6)"),
    ],
    ids=["seed", "batch", "lanes"],
)
def test_other_settings_are_refused_by_name(stopped: Training, changes: dict[str, int], named: str) -> None:
    [outcome] = stopped.start(1, job=replace(stopped.job, config=replace(CONFIG, **changes)))
    assert outcome.error == "EchelonError"
    assert named in outcome.message
    assert "start a new run" in outcome.message


def test_another_dataset_or_strategy_is_refused_by_name(stopped: Training, tmp_path: Path) -> None:
    rows = {"x": np.zeros((100, FEATURES), np.float32), "y": np.ones(100, np.float32)}
    other = write_dataset(str(tmp_path / "other"), stopped.dataset.schema.select(["x", "y"]), {"train": [rows]})
    [outcome] = stopped.start(1, job=replace(stopped.job, dataset=other.url))
    assert f"dataset '{stopped.dataset.digest}' (now '{other.digest}')" in outcome.message
    [outcome] = stopped.start(1, job=replace(stopped.job, strategy=Averaging(3)))
    assert "AllReduce" in outcome.message
    assert "Averaging" in outcome.message


def test_a_checkpoint_from_before_an_option_was_there_goes_on(stopped: Training) -> None:
    checkpoint, facts = stopped.checkpoint, order_facts(stopped.dataset, CONFIG)
    stored = checkpoint.state
    assert stored["strategy"]["fields"].pop("compression") is None
    content = json.dumps(stored).encode()
    older = replace(checkpoint, files={**checkpoint.files, "state.json": (len(content), sha256(content).hexdigest())})
    before = checkpoint.storage.read("state.json")
    try:
        checkpoint.storage.write("state.json", content)
        check_resumable(older, AllReduce(), facts)
        with pytest.raises(EchelonError, match=r"'compression': None.*now.*'compression': 'bf16'"):
            check_resumable(older, AllReduce(compression="bf16"), facts)
    finally:
        checkpoint.storage.write("state.json", before)


@pytest.mark.parametrize("damage", ["a bit", "a missing file", "no commit"])
def test_the_newest_whole_checkpoint_is_taken(tmp_path: Path, dataset: Dataset, damage: str) -> None:
    training = begun(tmp_path, dataset, steps=7)
    newest = training.checkpoint
    assert [c.step for c in committed(training.run)] == [3, 6, 7]
    folder = Path(newest.storage.url)
    if damage == "a bit":
        content = bytearray((folder / "model.safetensors").read_bytes())
        content[-1] ^= 1
        (folder / "model.safetensors").write_bytes(content)
    else:
        (folder / ("COMMIT.json" if damage == "no commit" else "optimizer.json")).unlink()
    training.finish(1)
    assert training.steps()[7].step == 7, "it goes on from step 6"
    assert ("changed after it was committed" in training.events("start")[-1]["remark"]) == (damage == "a bit")
    assert_close(training.tensors(), whole_batches(LEARNER, dataset, CONFIG))


def test_a_finished_run_is_finished(tmp_path: Path, dataset: Dataset) -> None:
    training = train(tmp_path, dataset, Noisy(), CONFIG, Averaging(4))
    before, steps = training.tensors(), len(training.steps())
    assert training.finish(2).step == 18
    assert len(training.steps()) == steps
    assert_same(training.tensors(), before)
