"""Going on from a checkpoint, on the same number of workers or another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn
from torch.optim import Optimizer

from echelon.data.manifest import Dataset
from echelon.data.plan import PLAN_VERSION
from echelon.errors import EchelonError
from echelon.sync.protocol import Strategy
from echelon.train.checkpoint import Checkpoint, Part, replica
from echelon.train.config import RunConfig
from echelon.train.learner import describe
from echelon.train.progress import Progress
from echelon.train.snapshot import load_model, load_optimizer, mean_state, model_tensors, optimizer_state
from echelon.world import World


def part_of(
    world: World,
    model: nn.Module,
    optimizer: Optimizer,
    strategy: Strategy,
    progress: Progress,
    facts: dict[str, Any],
) -> Part:
    """What this rank writes of a checkpoint: copies, so that training can go on."""
    part = Part({}, {})
    if world.is_first:
        state = {"progress": progress.to_json(), "facts": facts, "ranks": world.size, "strategy": describe(strategy)}
        part += Part({"model": model_tensors(model)}, {"state.json": state})
    if not strategy.replicated_optimizer:
        return part + Part.of_optimizer(replica(world.rank), optimizer_state(model, optimizer))
    if world.is_first:
        part += Part.of_optimizer("optimizer", optimizer_state(model, optimizer))
    return part


def order_facts(dataset: Dataset, config: RunConfig) -> dict[str, Any]:
    """What a user can see of all that fixes which rows each step takes. config: resolved."""
    return {
        "dataset": dataset.digest,
        "plan": PLAN_VERSION,
        "lanes": config.resolved_lanes,
        "batch_size": config.resolved_batch_size,
        "seed": config.seed,
    }


def check_resumable(checkpoint: Checkpoint, strategy: Strategy, facts: dict[str, Any]) -> None:
    """
    Raises:
        EchelonError: the checkpoint was made with another strategy, or one of these facts was another.
    """
    state = checkpoint.state
    _refuse_other(state["facts"], facts, checkpoint.storage.url)
    _refuse_other(state["strategy"], describe(strategy), checkpoint.storage.url)


def restore(
    checkpoint: Checkpoint,
    world: World,
    model: nn.Module,
    optimizer: Optimizer,
    strategy: Strategy,
    facts: dict[str, Any],
) -> tuple[Progress, str]:
    """Puts a checkpoint into model and optimizer; the progress, and a remark or "".

    Args:
        facts: all that fixes which rows each step takes.

    Raises:
        EchelonError: the checkpoint was made with other facts or another strategy.
    """
    check_resumable(checkpoint, strategy, facts)
    state = checkpoint.state
    load_model(model, checkpoint.model())
    remark = ""
    if strategy.replicated_optimizer:
        stored = checkpoint.optimizer()
    elif state["ranks"] == world.size:
        stored = checkpoint.optimizer(replica(world.rank))
    else:
        shards = [checkpoint.optimizer(replica(rank)) for rank in range(state["ranks"])]
        stored = mean_state(shards, _equal(shards))
        remark = (
            f"the checkpoint has {state['ranks']} replicas and there are {world.size} workers now: "
            "each begins with the mean of their optimizer states"
        )
    load_optimizer(model, optimizer, stored)
    return Progress.from_json(state["progress"]), remark


def _equal(shards: Sequence[object]) -> list[float]:
    return [1 / len(shards)] * len(shards)


def _refuse_other(stored: dict[str, Any], current: dict[str, Any], url: str) -> None:
    other = [
        f"{key} {stored.get(key)!r} (now {current.get(key)!r})" for key in current if stored.get(key) != current[key]
    ]
    if other:
        raise EchelonError(f"{url} was made with {', '.join(other)}: go on with the same, or start a new run")
