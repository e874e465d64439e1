"""The state of a model and of its optimizer as named tensors and plain values, free of the memory it was taken from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from echelon.errors import EchelonError

_PLAIN = (int, float, bool, str, type(None))


def model_tensors(model: nn.Module) -> dict[str, Tensor]:
    """Copies of parameters and buffers in the CPU's memory, by state-dict name."""
    return copied(model.state_dict())


def load_model(model: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Puts stored parameters and buffers into a model.

    Raises:
        EchelonError: names or shapes are not those of the model.
    """
    try:
        model.load_state_dict(dict(tensors))
    except RuntimeError as error:
        raise EchelonError(f"the checkpoint does not fit this model: {error}") from None


@dataclass(frozen=True)
class OptimizerState:
    """tensors: "parameter name/key" → tensor. values: likewise plain numbers. groups: plain settings of each group."""

    tensors: dict[str, Tensor] = field(default_factory=dict)
    values: dict[str, Any] = field(default_factory=dict)
    groups: list[dict[str, Any]] = field(default_factory=list)


def optimizer_state(model: nn.Module, optimizer: Optimizer) -> OptimizerState:
    """A copy of an optimizer's state, by the names of the parameters.

    Raises:
        EchelonError: the optimizer keeps something that is neither a tensor nor a plain number.
    """
    names = _names(model, optimizer)
    stored = optimizer.state_dict()
    tensors: dict[str, Tensor] = {}
    values: dict[str, Any] = {}
    for index, state in stored["state"].items():
        for key, value in state.items():
            if isinstance(value, Tensor):
                tensors[f"{names[index]}/{key}"] = _copy(value)
            elif isinstance(value, _PLAIN):
                values[f"{names[index]}/{key}"] = value
            else:
                raise EchelonError(
                    f"{type(optimizer).__name__} keeps a {type(value).__name__} in its state '{key}', which a "
                    "checkpoint cannot hold: only tensors and plain numbers are stored"
                )
    groups = [{"params": [names[i] for i in group["params"]], **_plain(group)} for group in stored["param_groups"]]
    return OptimizerState(tensors, values, groups)


def load_optimizer(model: nn.Module, optimizer: Optimizer, state: OptimizerState) -> None:
    """Puts a stored state into an optimizer of the same parameters.

    Raises:
        EchelonError: the groups hold other parameters than the stored ones.
    """
    names = _names(model, optimizer)
    current = optimizer.state_dict()
    held = [[names[i] for i in group["params"]] for group in current["param_groups"]]
    if held != [group["params"] for group in state.groups]:
        raise EchelonError("the checkpoint's optimizer has other parameters or groups than the learner's optimizer now")
    index = {name: i for i, name in enumerate(names)}
    for group, stored in zip(current["param_groups"], state.groups, strict=True):
        group |= {
            key: tuple(v) if isinstance(group.get(key), tuple) else v for key, v in stored.items() if key != "params"
        }
    for path, value in [*state.tensors.items(), *state.values.items()]:
        name, _, key = path.rpartition("/")
        current["state"].setdefault(index[name], {})[key] = value
    optimizer.load_state_dict(current)


def mean_state(states: Sequence[OptimizerState], weights: Sequence[float]) -> OptimizerState:
    """The weighted mean of replicas' optimizer states: floats by weights, integers by the maximum.

    A state that only some replicas have, since others never saw its parameter, is the mean over those.
    """
    values = {key: value for state in reversed(states) for key, value in state.values.items()}
    return OptimizerState(mean_tensors([state.tensors for state in states], weights), values, states[0].groups)


def mean_tensors(replicas: Sequence[Mapping[str, Tensor]], weights: Sequence[float]) -> dict[str, Tensor]:
    """The weighted mean of replicas' tensors by name; integers, and names that only some have, as `mean_state` says."""
    keys = dict.fromkeys(key for tensors in replicas for key in tensors)
    held = {key: [(t[key], w) for t, w in zip(replicas, weights, strict=True) if key in t] for key in keys}
    return {key: _mean(pairs) for key, pairs in held.items()}


def _mean(pairs: Sequence[tuple[Tensor, float]]) -> Tensor:
    first = pairs[0][0]
    if not first.is_floating_point():
        return torch.stack([tensor for tensor, _ in pairs]).amax(0)
    total = torch.stack([tensor.double() * weight for tensor, weight in pairs]).sum(0)
    return (total / sum(weight for _, weight in pairs)).to(first.dtype)


def _names(model: nn.Module, optimizer: Optimizer) -> list[str]:
    """Names of the optimizer's parameters in the order of its state dict."""
    by_id = {id(p): name for name, p in model.named_parameters()}
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    strangers = [tuple(p.shape) for p in parameters if id(p) not in by_id]
    if strangers:
        raise EchelonError(f"the optimizer holds tensors of shape {strangers} that are not parameters of the model")
    return [by_id[id(p)] for p in parameters]


def _plain(group: Mapping[str, Any]) -> dict[str, Any]:
    def storable(value: Any) -> bool:
        return isinstance(value, _PLAIN) or (isinstance(value, (tuple, list)) and all(map(storable, value)))

    return {key: value for key, value in group.items() if key != "params" and storable(value)}


def copied(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Copies in the CPU's memory."""
    return {name: _copy(tensor) for name, tensor in tensors.items()}


def _copy(tensor: Tensor) -> Tensor:
    return tensor.detach().to("cpu", copy=True).contiguous()
