"""Ranks on GPUs: one each over NCCL, and two on one over gloo. Skipped where torch sees too few."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from gang import Training
from learners import Linear, Noisy
from oracle import whole_batches
from rank import BACKWARD, Kill
from strategy_table import CONFIG, assert_close

from echelon.data.manifest import Dataset
from echelon.device import default_device
from echelon.sync import AllReduce, Averaging, DiLoCo, Strategy

GPUS = torch.cuda.device_count()
one_gpu = pytest.mark.skipif(GPUS < 1, reason="torch sees no GPU on this machine")
two_gpus = pytest.mark.skipif(GPUS < 2, reason="torch sees fewer than two GPUs on this machine")
STEP_SECONDS = 5


class OnGpus(Training):
    """Ranks take the GPUs of the host in turn."""

    def device(self, rank: int) -> torch.device:
        return default_device(rank)


class OnOneGpu(Training):
    """All ranks share the first GPU."""

    def device(self, rank: int) -> torch.device:
        return torch.device("cuda", 0)


class OnOneOfTwo(Training):
    """Only rank 0 has a GPU."""

    def device(self, rank: int) -> torch.device:
        return default_device() if rank == 0 else torch.device("cpu")


@one_gpu
@pytest.mark.parametrize(
    "strategy",
    [
        AllReduce(),
        AllReduce(compression="powersgd"),
        Averaging(1),
        DiLoCo(1, outer_lr=1, outer_momentum=0, exchange="bf16"),
    ],
    ids=["allreduce", "powersgd", "averaging", "diloco"],
)
@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (OnOneGpu, "ranks [0, 1] share a GPU"),
        (OnOneOfTwo, "ranks [1] compute on the CPU"),
        pytest.param(OnGpus, "", marks=two_gpus),
    ],
    ids=["one GPU for two", "a GPU and a CPU", "NCCL"],
)
def test_training_comes_to_what_the_cpu_comes_to(
    tmp_path: Path, dataset: Dataset, kind: type[Training], said: str, strategy: Strategy
) -> None:
    training = kind(tmp_path, dataset, Linear(), replace(CONFIG, eval_every="1epoch"), strategy)
    training.finish(2)
    start = training.events("start")[-1]
    assert start["device"] == "cuda:0"
    assert start["remark"].startswith(said)
    assert bool(start["remark"]) == bool(said)
    assert_close(training.tensors(), whole_batches(Linear(), dataset, CONFIG), 1e-3)


@two_gpus
@pytest.mark.parametrize("stop", [False, True], ids=["killed", "stopped"])
@pytest.mark.parametrize("strategy", [AllReduce(), Averaging(2)], ids=["allreduce", "averaging"])
def test_a_peer_that_is_gone_is_noticed_under_nccl(
    tmp_path: Path, dataset: Dataset, strategy: AllReduce | Averaging, stop: bool
) -> None:
    config = replace(CONFIG, step_deadline=STEP_SECONDS, epochs=50)
    training = OnGpus(tmp_path, dataset, Noisy(), config, strategy)
    outcome = training.start(2, Kill(1, BACKWARD, step=5, stop=stop))[0]
    assert outcome.error == "CommunicationError"
    assert outcome.seconds < 30 + 3 * STEP_SECONDS
