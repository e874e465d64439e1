"""Metric states as bytes, so that parts of a split can be evaluated anywhere and merged exactly.

Metrics are never averaged over workers: their states (counts, sums, extremes, lists) are merged as each state
declares, and the metric is computed once from the whole.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import load, save
from torch import Tensor

from echelon.errors import EchelonError

if TYPE_CHECKING:
    # Torchmetrics takes as long to import as torch; only what evaluates has to wait for it.
    from torchmetrics import Metric

# By the names of the functions in torchmetrics.utilities.data that a state's dist_reduce_fx becomes.
_MERGE = {
    "dim_zero_sum": lambda values: torch.stack(values).sum(0),
    "dim_zero_max": lambda values: torch.stack(values).amax(0),
    "dim_zero_min": lambda values: torch.stack(values).amin(0),
    "dim_zero_cat": torch.cat,
}
_UPDATES = "updates"

Arrays = dict[str, Any]
"""By name nested lists of numbers, such as the rows of a confusion matrix."""


def states_to_bytes(metrics: Mapping[str, Metric]) -> bytes:
    """The states of some metrics in the safetensors format, keyed "metric/state"."""
    tensors: dict[str, Tensor] = {}
    for name, metric in metrics.items():
        tensors[f"{name}/{_UPDATES}"] = torch.tensor(metric._update_count)
        for state in metric._defaults:
            value = getattr(metric, state)
            if isinstance(value, list):
                if not value:
                    continue
                tensors[f"{name}/{state}"] = torch.cat([torch.atleast_1d(v) for v in value]).detach().cpu()
                continue
            # A copy: safetensors refuses states that share memory, as the defaults of some metrics do.
            tensors[f"{name}/{state}"] = value.detach().to("cpu", copy=True).contiguous()
    return save(tensors)


def compute_merged(metrics: Mapping[str, Metric], parts: Sequence[bytes]) -> dict[str, float]:
    """The values of metrics that are one number each, over all parts.

    Args:
        metrics: new ones, as `Learner.metrics()` gives them. parts: what `states_to_bytes` gave for each part.

    Raises:
        EchelonError: a metric has a state that cannot be merged exactly, or more than one value.
    """
    return {name: _number(name, value) for name, value in _merged_values(metrics, parts)}


def compute_merged_arrays(metrics: Mapping[str, Metric], parts: Sequence[bytes]) -> Arrays:
    """The same for metrics whose values are tensors, or tuples of them, as nested lists.

    Raises:
        EchelonError: a metric has a state that cannot be merged exactly, or its value is something else.
    """
    return {name: _nested(name, value) for name, value in _merged_values(metrics, parts)}


def _merged_values(metrics: Mapping[str, Metric], parts: Sequence[bytes]) -> Iterator[tuple[str, Any]]:
    loaded = [load(part) for part in parts] if metrics else []
    for name, metric in metrics.items():
        _refuse_nested(name, metric)
        for state in metric._defaults:
            _set_merged(name, metric, state, [part[key] for part in loaded if (key := f"{name}/{state}") in part])
        metric.sync_on_compute = metric._to_sync = False  # else torchmetrics would merge the merged states again
        metric._update_count = sum(int(part[f"{name}/{_UPDATES}"]) for part in loaded)
        metric._computed = None
        yield name, metric.cpu().compute()


def _refuse_nested(name: str, metric: Metric) -> None:
    """A metric made of others keeps its states where `states_to_bytes` does not look."""
    inner = [m for m in metric.modules() if m is not metric and hasattr(m, "_reductions")]
    if inner or not metric._defaults:
        raise EchelonError(
            f"metric '{name}' ({type(metric).__name__}) has no states of its own that could be merged over workers: "
            "give each metric that it is made of a name"
        )


def _set_merged(name: str, metric: Metric, state: str, values: list[Tensor]) -> None:
    how = getattr(metric._reductions[state], "__name__", "nothing")
    merge: Any = _MERGE.get(how)
    if merge is None:
        raise EchelonError(
            f"metric '{name}' ({type(metric).__name__}) cannot be merged over workers: its state '{state}' is reduced "
            f"by {how}; use one whose states are summed or concatenated"
        )
    if isinstance(metric._defaults[state], list):
        setattr(metric, state, values)
    else:
        setattr(metric, state, merge(values))


def _number(name: str, value: Any) -> float:
    if isinstance(value, Tensor) and value.numel() == 1:
        return float(value)
    raise EchelonError(
        f"metric '{name}' must compute one number, not {type(value).__name__}: give one metric a number, or let "
        "Learner.arrays() have it"
    )


def _nested(name: str, value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.tolist()
    if isinstance(value, tuple | list):
        return [_nested(name, part) for part in value]
    raise EchelonError(f"'{name}' of Learner.arrays() must compute tensors, not {type(value).__name__}")
