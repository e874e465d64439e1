"""Going on from a checkpoint, on the same number of workers or another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import MISSING, fields
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer

from echelon.data.manifest import Dataset
from echelon.data.plan import PLAN_VERSION
from echelon.errors import EchelonError
from echelon.sync.protocol import ReplicaState, Strategy
from echelon.train.checkpoint import STRATEGY, Checkpoint, Part, replica, strategy_shard
from echelon.train.config import RunConfig
from echelon.train.learner import describe
from echelon.train.progress import Progress
from echelon.train.snapshot import (
    copied,
    load_model,
    load_optimizer,
    mean_state,
    mean_tensors,
    model_tensors,
    optimizer_state,
)
from echelon.world import World


def part_of(
    world: World,
    model: nn.Module,
    optimizer: Optimizer,
    strategy: Strategy,
    kept: ReplicaState,
    progress: Progress,
    facts: dict[str, Any],
) -> Part:
    """What this rank writes of a checkpoint: copies, so that training can go on. kept: by the strategy's replica."""
    part = Part({}, {})
    if world.is_first:
        state = {"progress": progress.to_json(), "facts": facts, "ranks": world.size, "strategy": describe(strategy)}
        part += Part({"model": model_tensors(model)}, {"state.json": state})
        part += Part({STRATEGY: copied(kept.shared)} if kept.shared else {}, {})
    if kept.own:
        part += Part({strategy_shard(world.rank): copied(kept.own)}, {})
    if not strategy.replicated_optimizer:
        return part + Part.of_optimizer(replica(world.rank), optimizer_state(model, optimizer))
    if world.is_first:
        part += Part.of_optimizer("optimizer", optimizer_state(model, optimizer))
    return part


def writing_ranks(world: World, strategy: Strategy, kept: ReplicaState) -> int:
    """How many ranks, from rank 0 on, have a part of a checkpoint to write."""
    return world.size if kept.own or not strategy.replicated_optimizer else 1


def order_facts(dataset: Dataset, config: RunConfig) -> dict[str, Any]:
    """What a user can see of all that fixes which rows each step takes. config: resolved."""
    return {
        "dataset": dataset.digest,
        "plan": PLAN_VERSION,
        "lanes": config.resolved_lanes,
        "batch_size": config.resolved_batch_size,
        "seed": config.seed,
        "bucket_steps": config.bucket_steps or None,
    }


def check_resumable(checkpoint: Checkpoint, strategy: Strategy, facts: dict[str, Any]) -> None:
    """
    Raises:
        EchelonError: the checkpoint was made with another strategy, or one of these facts was another.
    """
    state = checkpoint.state
    _refuse_other(state["facts"], facts, checkpoint.storage.url)
    _refuse_other(_with_defaults(state["strategy"], strategy), describe(strategy), checkpoint.storage.url)


def _with_defaults(stored: dict[str, Any], strategy: Strategy) -> dict[str, Any]:
    """A stored strategy with the options that are newer than it, which it did not have."""
    defaults = {f.name: f.default for f in fields(strategy) if f.default is not MISSING}  # type: ignore[arg-type]
    return {**stored, "fields": {**defaults, **stored["fields"]}}


def restore(
    checkpoint: Checkpoint,
    world: World,
    model: nn.Module,
    optimizer: Optimizer,
    strategy: Strategy,
    facts: dict[str, Any],
) -> tuple[Progress, ReplicaState, str]:
    """Puts a checkpoint into model and optimizer; the progress, what the strategy's replica kept, and a remark or "".

    Args:
        facts: all that fixes which rows each step takes.

    Raises:
        EchelonError: the checkpoint was made with other facts or another strategy.
    """
    check_resumable(checkpoint, strategy, facts)
    state = checkpoint.state
    load_model(model, checkpoint.model())
    ranks = range(state["ranks"])
    same, means = len(ranks) == world.size, []
    if strategy.replicated_optimizer:
        stored = checkpoint.optimizer()
    elif same:
        stored = checkpoint.optimizer(replica(world.rank))
    else:
        shards = [checkpoint.optimizer(replica(rank)) for rank in ranks]
        stored = mean_state(shards, _equal(shards))
        means.append("of their optimizer states")
    load_optimizer(model, optimizer, stored)
    if same:
        own = checkpoint.strategy(strategy_shard(world.rank))
    elif own := _mean_of_strategy(checkpoint, ranks):
        means.append(f"of what {type(strategy).__name__} keeps")
    remark = (
        f"the checkpoint has {len(ranks)} replicas and there are {world.size} workers now: "
        f"each begins with the mean {' and '.join(means)}"
    )
    return Progress.from_json(state["progress"]), ReplicaState(checkpoint.strategy(), own), remark if means else ""


def _mean_of_strategy(checkpoint: Checkpoint, ranks: Sequence[int]) -> dict[str, Tensor]:
    shards = [checkpoint.strategy(strategy_shard(rank)) for rank in ranks]
    return mean_tensors(shards, _equal(shards))


def _equal(shards: Sequence[object]) -> list[float]:
    return [1 / len(shards)] * len(shards)


def _refuse_other(stored: dict[str, Any], current: dict[str, Any], url: str) -> None:
    other = [
        f"{key} {stored.get(key)!r} (now {current.get(key)!r})" for key in current if stored.get(key) != current[key]
    ]
    if other:
        raise EchelonError(f"{url} was made with {', '.join(other)}: go on with the same, or start a new run")
