"""What a run has learned: its learner, and its model with the weights of the newest checkpoint."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from echelon.errors import EchelonError
from echelon.train.blank import blank_parameters
from echelon.train.checkpoint import Checkpoint, newest_whole
from echelon.train.config import RunConfig
from echelon.train.learner import Learner
from echelon.train.run import RunFolder
from echelon.train.snapshot import load_model
from echelon.world import CPU


@dataclass(frozen=True)
class Trained:
    """A model in evaluation mode, with what is needed to use it."""

    learner: Learner
    model: nn.Module
    config: RunConfig


def newest_of(folder: RunFolder) -> Checkpoint:
    """The newest checkpoint of a run that is not damaged.

    Raises:
        EchelonError: there is no such run, or it has no checkpoint yet.
    """
    checkpoint, damage = newest_whole(folder)
    if checkpoint is None:
        folder.asked  # noqa: B018 (says so if there is no run at all)
        state = damage or folder.results.get("state", "not started")
        raise EchelonError(f"the run {folder.url} has no checkpoint to load; its state is: {state}")
    return checkpoint


def load_trained(
    folder: RunFolder, learner: Learner | None = None, checkpoint: Checkpoint | None = None, device: torch.device = CPU
) -> Trained:
    """Loads a run.

    Args:
        learner: in place of the stored one, for a class that cannot be imported here. checkpoint: default the newest.

    Raises:
        EchelonError: there is nothing to load, the learner cannot be imported, or its model has other weights.
    """
    checkpoint = checkpoint or newest_of(folder)
    learner = learner or folder.learner
    with blank_parameters():
        model = learner.model()
    load_model(model, checkpoint.model())
    return Trained(learner, model.to(device).eval(), folder.config)
