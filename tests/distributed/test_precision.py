"""What is computed in bf16, and what never is."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
from gang import Training
from learners import CLASSES, FEATURES, Linear, Noisy
from torch import nn

from echelon.comm import Comm
from echelon.data.batch import Batch
from echelon.data.manifest import Dataset
from echelon.device import default_device
from echelon.errors import EchelonError
from echelon.train.config import RunConfig
from echelon.train.evaluate import evaluate
from echelon.train.learner import Loss
from echelon.train.trained import load_trained
from echelon.train.worker import train_worker
from echelon.world import World

BF16 = RunConfig(batch_size=24, lanes=8, max_steps=9, precision="bf16", checkpoint_every="off").resolved(1)
DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU"))]


@dataclass(frozen=True)
class Rounding(Noisy):
    """Adds its losses up as the model gives them."""

    def loss(self, model: nn.Module, batch: Batch) -> Loss:
        return model(batch["x"]).sum(), len(batch)


@dataclass(frozen=True)
class Fixed(Linear):
    """Begins with the same weights always."""

    def model(self) -> nn.Module:
        model = nn.Linear(FEATURES, 1)
        nn.init.constant_(model.weight, 1 / CLASSES)
        nn.init.zeros_(model.bias)
        return model


def trained(folder: Path, dataset: Dataset, learner: Noisy | Linear, config: RunConfig) -> Training:
    training = Training(folder, dataset, learner, config)
    training.run.create(learner, training.job.strategy, config, dataset, 1)
    training.run.start_attempt()
    train_worker(World(device=default_device()), None, training.job)
    return training


@pytest.mark.parametrize("device", DEVICES)
def test_weights_and_optimizer_stay_single_and_evaluation_is_that_of_later(
    tmp_path: Path, dataset: Dataset, device: str
) -> None:
    config = replace(BF16, device=device)
    training = trained(tmp_path, dataset, Linear(momentum=0.9), config)
    stored = training.checkpoint
    tensors = {**stored.model(), **stored.optimizer().tensors}
    assert {tensor.dtype for tensor in tensors.values()} == {torch.float32}
    assert {name.rpartition("/")[2] for name in stored.optimizer().tensors} == {"momentum_buffer"}
    told = training.events("evaluate")[-1]["metrics"]
    loaded = load_trained(training.run, device=torch.device(device))
    later = {
        precision: evaluate(
            loaded.learner, loaded.model, dataset, "test", replace(config, precision=precision), Comm(World())
        ).metrics
        for precision in ("bf16", "fp32")
    }
    assert told == pytest.approx(later["bf16"], rel=1e-6)
    assert told["mse"] != pytest.approx(later["fp32"]["mse"], rel=1e-6), "it was evaluated in bf16"


@pytest.mark.parametrize("device", DEVICES)
def test_the_model_computes_in_bf16(dataset: Dataset, tmp_path: Path, device: str) -> None:
    """Whose products have eight bits: those of a step differ from single precision by some thousandths."""
    steps = {}
    for precision in ("bf16", "fp32"):
        config = replace(BF16, precision=precision, device=device, eval_every="off")
        torch.manual_seed(0)
        steps[precision] = trained(tmp_path / precision, dataset, Fixed(), config).tensors()["weight"]
    difference = (steps["bf16"] - steps["fp32"]).abs().max() / steps["fp32"].abs().max()
    assert 1e-5 < difference < 0.05


def test_a_loss_in_bf16_is_refused(tmp_path: Path, dataset: Dataset) -> None:
    with pytest.raises(EchelonError, match=r"loss is torch\.bfloat16, .*\.float\(\)"):
        trained(tmp_path, dataset, Rounding(), BF16)
    assert trained(tmp_path / "single", dataset, Rounding(), replace(BF16, precision="fp32")).checkpoint.step == 9
