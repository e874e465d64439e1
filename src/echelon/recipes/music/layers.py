"""The layers of a WaveNet as one function with its own backward pass, for processors.

torch's dilated convolutions copy their input for each tap, and leave a dozen tensors a layer to be written and read
again. Here a tap is a product with a view of the input, a layer keeps its input and its gates, and all else is done in
place. The arithmetic is that of `wavenet.Block`, to rounding.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


class Layer(NamedTuple):
    """The weights of a layer, or their gradients.

    before, now: of the two taps of the gates, [2 · residual, residual], and their bias. skip: [skip, residual], and its
    bias. residual: [residual, residual], and its bias; None in the last layer.
    """

    before: Tensor
    now: Tensor
    gate_bias: Tensor
    skip: Tensor
    skip_bias: Tensor
    residual: Tensor | None
    residual_bias: Tensor | None


@dataclass(frozen=True)
class Span:
    """The positions of a layer, of whose input only the end is there.

    length: of the input. out: of the output, which ends where the input does.
    """

    length: int
    out: int
    dilation: int

    @property
    def now(self) -> slice:
        """The positions of the input that are those of the output."""
        return slice(self.length - self.out, self.length)

    @property
    def before(self) -> slice:
        """Those a dilation before these; there are none before the beginning, where a song has zeros."""
        end = max(self.length - self.dilation, 0)
        return slice(max(end - self.out, 0), end)

    @property
    def seeing(self) -> slice:
        """The positions of the output that have one before them."""
        return slice(self.out - (self.before.stop - self.before.start), self.out)


def spans_of(length: int, keep: int, dilations: Sequence[int]) -> list[Span]:
    """What each layer must compute so that the last `keep` of `length` positions can be told, and no more."""
    later, spans = sum(dilations), []
    for dilation in dilations:
        later -= dilation
        out = min(length, keep + later)
        spans.append(Span(min(length, out + dilation), out, dilation))
    return spans


def layers(x: Tensor, weights: Sequence[Layer], spans: Sequence[Span]) -> Tensor:
    """The sum of what all layers give to the head, [n, skip, keep].

    x: what the first layer gets, [n, residual, length of its span].
    """
    found: Tensor = _Layers.apply(x, spans, *(each for layer in weights for each in layer))
    return found


class _Layers(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, spans: Sequence[Span], *flat: Tensor | None) -> Tensor:
        bias = torch.stack([layer.skip_bias for layer in _layers_of(flat)]).sum(0)
        sums = bias[:, None].repeat(len(x), 1, spans[-1].out)
        kept = []
        # Row by row: what a layer leaves is still in the processor's cache when the next one wants it.
        for given, sum_of_row in zip(x, sums, strict=True):
            for layer, span in zip(_layers_of(flat), spans, strict=True):
                gates, following = _forward(layer, span, given, sum_of_row)
                kept += [given, gates]
                given = following
        ctx.save_for_backward(*flat, *kept)
        ctx.spans = spans
        return sums

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        spans, count = ctx.spans, len(ctx.spans)
        flat, kept = ctx.saved_tensors[: count * len(Layer._fields)], ctx.saved_tensors[count * len(Layer._fields) :]
        weights = list(_layers_of(flat))
        found = list(_layers_of([None if each is None else torch.zeros_like(each) for each in flat]))
        for layer in found:
            layer.skip_bias.copy_(gradient.sum((0, 2)))
        of_x: list[Tensor] = []
        for row, of_sum in enumerate(gradient):
            of_following: Tensor | None = None
            for number in reversed(range(count)):
                given, gates = kept[2 * (row * count + number) : 2 * (row * count + number + 1)]
                with_respect = (of_sum, of_following)
                of_following = _backward(weights[number], spans[number], given, gates, with_respect, found[number])
            assert of_following is not None
            of_x.append(of_following)
        return (torch.stack(of_x), None, *(each for layer in found for each in layer))


def _layers_of(flat: Sequence[Tensor | None]) -> Iterator[Layer]:
    width = len(Layer._fields)
    for start in range(0, len(flat), width):
        yield Layer(*flat[start : start + width])  # type: ignore[arg-type]


def _forward(layer: Layer, span: Span, given: Tensor, sums: Tensor) -> tuple[Tensor, Tensor]:
    """Adds what a layer gives to the head; its gates, [2 · residual, out], and what the next layer gets."""
    gates = torch.addmm(layer.gate_bias[:, None], layer.now, given[:, span.now])
    gates[:, span.seeing].addmm_(layer.before, given[:, span.before])
    signal, openness = gates.chunk(2)
    gated = signal.tanh_() * openness.sigmoid_()
    sums.addmm_(layer.skip, gated[:, -sums.shape[1] :])
    if layer.residual is None or layer.residual_bias is None:
        return gates, gated
    return gates, (given[:, span.now] + layer.residual_bias[:, None]).addmm_(layer.residual, gated)


def _backward(
    layer: Layer, span: Span, given: Tensor, gates: Tensor, gradients: tuple[Tensor, Tensor | None], found: Layer
) -> Tensor:
    """Adds the gradients of a layer's weights to `found`; the gradient of its input.

    gradients: of what it adds for the head, and of what the next layer gets from it.
    """
    of_sum, of_following = gradients
    keep = of_sum.shape[1]
    signal, openness = gates.chunk(2)
    gated = signal * openness
    found.skip.addmm_(of_sum, gated[:, -keep:].t())
    of_given = given.new_zeros(given.shape)
    if of_following is None or layer.residual is None:
        of_gated = layer.skip.t() @ of_sum
    else:
        assert found.residual is not None
        assert found.residual_bias is not None
        of_gated = layer.residual.t() @ of_following
        of_gated[:, -keep:].addmm_(layer.skip.t(), of_sum)
        found.residual.addmm_(of_following, gated.t())
        found.residual_bias.add_(of_following.sum(1))
        of_given[:, span.now] = of_following
    of_gates = torch.empty_like(gates)
    of_signal, of_openness = of_gates.chunk(2)
    torch.ops.aten.tanh_backward.grad_input(of_gated * openness, signal, grad_input=of_signal)
    torch.ops.aten.sigmoid_backward.grad_input(of_gated * signal, openness, grad_input=of_openness)
    found.gate_bias.add_(of_gates.sum(1))
    found.now.addmm_(of_gates, given[:, span.now].t())
    found.before.addmm_(of_gates[:, span.seeing], given[:, span.before].t())
    of_given[:, span.now].addmm_(layer.now.t(), of_gates)
    of_given[:, span.before].addmm_(layer.before.t(), of_gates[:, span.seeing])
    return of_given
