"""A learner that makes something at each evaluation."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from learners import CLASSES, FEATURES, Noisy
from torch import nn


@dataclass(frozen=True)
class Silent(Noisy):
    """Makes nothing. Its initial weights are drawn by torch, so that the run's seed decides them; it has dropout."""

    def model(self) -> nn.Module:
        return nn.Sequential(nn.Linear(FEATURES, 12), nn.ReLU(), nn.Dropout(self.dropout), nn.Linear(12, CLASSES))


@dataclass(frozen=True)
class Sampling(Silent):
    """Makes a copy of its weights. sample_seconds: how long it takes for that. fails: whether it raises instead."""

    sample_seconds: float = 0.0
    fails: bool = False

    def sample(self, model: nn.Module) -> Mapping[str, np.ndarray]:
        time.sleep(self.sample_seconds)
        if self.fails:
            raise RuntimeError("the muse is silent")
        assert not model.training
        return {name: value.numpy() for name, value in model.state_dict().items()}
