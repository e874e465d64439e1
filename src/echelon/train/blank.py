"""Models whose weights will be loaded are made without drawing random ones, which takes longer than to load them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

_FILLS = frozenset({Tensor.uniform_, Tensor.normal_}) | {
    fill for name, fill in vars(nn.init).items() if name.endswith("_") and not name.startswith("_")
}
"""What fills a tensor: the initialisations that are asked for as a whole, and what the others draw with."""


@contextmanager
def blank_parameters() -> Iterator[None]:
    """Within the block, what `torch.nn.init` would fill a parameter with is left out, so that it holds anything.

    Truncated normals, which are drawn until they are within their bounds, are drawn all the same.

    Only parameters, all of which are in a state dict: a buffer may be random, fixed, and stored nowhere. The state of
    the generators is as it was behind the block.
    """
    with torch.random.fork_rng(devices=[]), _Blank():
        yield


class _Blank(TorchFunctionMode):
    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if func in _FILLS and isinstance(filled := args[0] if args else kwargs.get("tensor"), nn.Parameter):
            return filled
        return func(*args, **kwargs)
