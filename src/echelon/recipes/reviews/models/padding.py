"""Padding is never read: texts are right-padded, and their true lengths are known."""

from __future__ import annotations

import torch
from torch import Tensor


def trimmed(tokens: Tensor, lengths: Tensor) -> Tensor:
    """The tokens up to the end of the longest text, [n, longest]: what comes after is padding in every row."""
    return tokens[:, : int(lengths.max())]


def inside(tokens: Tensor, lengths: Tensor) -> Tensor:
    """Where there is text and no padding: bool, in the shape of the tokens, [n, length]."""
    return torch.arange(tokens.shape[1], device=tokens.device) < lengths[:, None]
