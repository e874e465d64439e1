"""What workers are given time for, and what must not happen while others wait."""

from __future__ import annotations

import json
import pstats
import time
from dataclasses import dataclass, replace
from pathlib import Path

import torch
import torch.distributed as dist
from gang import Training
from learners import Linear
from rank import BACKWARD, Kill
from torch import nn

from echelon.data.batch import Batch
from echelon.data.manifest import Dataset
from echelon.sync import Averaging
from echelon.train.config import RunConfig
from echelon.train.learner import Loss
from echelon.train.profiling import WARM_UP_STEPS, Profile
from echelon.train.run import RunFolder

CONFIG = RunConfig(epochs=2, batch_size=24, lanes=8, eval_every="off", checkpoint_every="off", step_deadline=1)


@dataclass(frozen=True)
class Uneven(Linear):
    """Rank 1 takes longer for a step."""

    def loss(self, model: nn.Module, batch: Batch) -> Loss:
        time.sleep(0.3 if dist.get_rank() else 0.1)
        return super().loss(model, batch)


def test_the_end_of_a_long_round_waits_for_the_slower(tmp_path: Path, dataset: Dataset) -> None:
    """Rounds of 7 steps, after which one worker is 1.4 s behind, with a deadline of 1 s a step; the first one, too."""
    config = replace(CONFIG, first_step_deadline=1, max_steps=14)
    assert Training(tmp_path, dataset, Uneven(), config, Averaging(7)).finish(2).step == 14


def test_but_not_for_ever(tmp_path: Path, dataset: Dataset) -> None:
    training = Training(tmp_path, dataset, Linear(), CONFIG, Averaging(2))
    outcome = training.start(2, Kill(1, BACKWARD, step=5, stop=True))[0]
    assert outcome.error == "CommunicationError"
    assert "'the end of a round' (deadline 1 s)" in outcome.message
    assert outcome.seconds < 10


def test_a_profile_is_written_after_the_last_step(tmp_path: Path) -> None:
    run, folder = RunFolder(str(tmp_path)), tmp_path / "profile"
    profile = Profile(run, steps=2)
    for _ in range(WARM_UP_STEPS + 4):
        torch.ones(2, 2).mm(torch.ones(2, 2))
        profile.step()
    assert not folder.exists(), "nobody waits for it"
    profile.close()
    events = json.loads((folder / "trace.json").read_text())["traceEvents"]
    assert sum(event.get("name") == "aten::mm" for event in events) == 2
    assert pstats.Stats(str(folder / "steps.prof")).total_calls
    profile.close()
