"""The recurrence of an LSTM (Hochreiter & Schmidhuber 1997, with forget gates) in both directions, on processors.

torch's own takes 3 to 15 times as long there: its backward pass makes gradients of all steps for each step, or repeats
the products of the weights. Here one product of each kind does for all steps, and only what depends on the step before
is computed step by step.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

_GATES = 4


class Recurrence(torch.autograd.Function):
    """The last states of packed sequences: `apply(given, weight, rows, ends)` → [directions, rows, units].

    given: what the inputs add to the gates, [directions, elements, 4 · units], as `pack` orders the elements; the
    gates are input, forget, output and cell. weight: what the state adds, [directions, units, 4 · units].
    rows: sequences. ends: as in `Packing`. A sequence without elements ends in zeros.
    """

    @staticmethod
    def forward(ctx: Any, given: Tensor, weight: Tensor, rows: int, ends: tuple[int, ...]) -> Tensor:
        directions, elements, width = given.shape
        units = width // _GATES
        gates = given.clone()
        states, cells, shown = given.new_empty(3, directions, elements, units)
        state, cell = given.new_zeros(2, directions, rows, units)
        start = 0
        for end in ends:
            at, some = slice(start, end), slice(0, end - start)
            states[:, at], cells[:, at] = state[:, some], cell[:, some]
            now = gates[:, at]
            now.baddbmm_(state[:, some], weight)
            now[..., : 3 * units].sigmoid_()
            now[..., 3 * units :].tanh_()
            entering, kept, leaving, new = now.split(units, dim=2)
            cell[:, some] = torch.addcmul(kept * cell[:, some], entering, new)
            torch.tanh(cell[:, some], out=shown[:, at])
            torch.mul(leaving, shown[:, at], out=state[:, some])
            start = end
        ctx.save_for_backward(gates, states, cells, shown, weight)
        ctx.ends = ends
        return state

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None, None]:
        gates, states, cells, shown, weight = ctx.saved_tensors
        entering, kept, leaving, new = gates.split(gates.shape[2] // _GATES, dim=2)
        # What the gates before their functions get, as factors on the gradients of cell, cell, state and cell.
        factors = torch.stack(
            [
                new * entering * (1 - entering),
                cells * kept * (1 - kept),
                shown * leaving * (1 - leaving),
                entering * (1 - new * new),
            ],
            dim=2,
        )
        to_cell = leaving * (1 - shown * shown)
        back = weight.transpose(1, 2)
        of_state, of_cell = gradient.clone(), torch.zeros_like(gradient)
        for start, end in reversed(list(zip((0, *ctx.ends), ctx.ends, strict=False))):
            at, some = slice(start, end), slice(0, end - start)
            state, cell = of_state[:, some], of_cell[:, some]
            cell.addcmul_(state, to_cell[:, at])
            now = factors[:, at]
            now[:, :, :2].mul_(cell.unsqueeze(2))
            now[:, :, 2].mul_(state)
            now[:, :, 3].mul_(cell)
            cell.mul_(kept[:, at])
            torch.bmm(now.flatten(2), back, out=state)
            start = end
        of_gates = factors.flatten(2)
        return of_gates, states.transpose(1, 2) @ of_gates, None, None
