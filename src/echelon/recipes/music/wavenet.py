"""WaveNet (van den Oord et al., arXiv:1609.03499): what comes next in a song, from the codes before it.

Its convolutions are causal and dilated, 1, 2, 4 … in each of some stacks, so that every layer doubles how far back it
sees. Where a song begins, each of them sees zeros.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from echelon.recipes.music.layers import Layer, Span, layers, spans_of

CLASSES = 256
"""Codes there are, see `mulaw`."""


class Pointwise(nn.Conv1d):
    """A convolution of kernel size 1, which on processors is a product of matrices and nothing else."""

    def __init__(self, channels: int, out: int) -> None:
        super().__init__(channels, out, kernel_size=1)

    def forward(self, x: Tensor) -> Tensor:
        if self.bias is None or not _on_processor(x):
            return super().forward(x)
        return torch.baddbmm(self.bias[:, None], self.weight[:, :, 0].expand(len(x), -1, -1), x)


class Block(nn.Module):
    """A layer: a gated convolution with a dilation, of which one projection goes to the head and one to the next layer.

    gate: of kernel size 2; its weight [2 · residual, residual, 2] has the earlier code first. Tanh of the first half of
    its channels times sigmoid of the second. residual: None in the last layer, after which comes none.
    """

    def __init__(self, residual: int, skip: int, dilation: int, last: bool) -> None:
        super().__init__()
        self.dilation = dilation
        self.gate = nn.Conv1d(residual, 2 * residual, kernel_size=2, dilation=dilation)
        self.skip = Pointwise(residual, skip)
        self.residual = None if last else Pointwise(residual, residual)

    def forward(self, x: Tensor, span: Span, keep: int) -> tuple[Tensor, Tensor]:
        """
        Args:
            x: [n, residual, span.length].

        Returns: what the head gets, [n, skip, keep], and the next layer, [n, residual, span.out].
        """
        x = F.pad(x, (span.out + self.dilation - span.length, 0))
        signal, openness = self.gate(x).chunk(2, dim=1)
        gated = torch.tanh(signal) * torch.sigmoid(openness)
        given = self.skip(gated[:, :, -keep:])
        return given, gated if self.residual is None else x[:, :, self.dilation :] + self.residual(gated)

    @property
    def weights(self) -> Layer:
        """Its weights as matrices."""
        residual, bias = (None, None) if self.residual is None else (self.residual.weight[:, :, 0], self.residual.bias)
        before, now = self.gate.weight.unbind(2)
        assert self.gate.bias is not None
        assert self.skip.bias is not None
        return Layer(before, now, self.gate.bias, self.skip.weight[:, :, 0], self.skip.bias, residual, bias)


class WaveNet(nn.Module):
    """Gives each code the probability to come next, after the codes so far.

    Layer i of stacks · layers has the dilation 2 ** (i % layers).
    """

    def __init__(
        self, classes: int = CLASSES, residual: int = 64, skip: int = 128, stacks: int = 2, layers: int = 10
    ) -> None:
        """
        Args:
            residual: channels from layer to layer. skip: channels from the layers to the head. layers: of a stack.
        """
        super().__init__()
        self.dilations = [2**layer for _ in range(stacks) for layer in range(layers)]
        last = len(self.dilations) - 1
        self.embed = nn.Embedding(classes, residual)
        # Neighbouring codes sound alike, and begin alike: drawn vectors took more than twice as many steps.
        self.embed.weight = nn.Parameter(_cosines(classes, residual))
        self.blocks = nn.ModuleList(Block(residual, skip, d, last=i == last) for i, d in enumerate(self.dilations))
        self.mix = Pointwise(skip, skip)
        self.out = Pointwise(skip, classes)

    @property
    def receptive_field(self) -> int:
        """Codes on which a prediction depends: 1 + stacks · (2 ** layers - 1)."""
        return 1 + sum(self.dilations)

    def forward(self, codes: Tensor, keep: int | None = None) -> Tensor:
        """The logits of what follows each code.

        Args:
            codes: integers [n, t]; a song begins with a code of silence. keep: of the last so many positions only, at
                most t; None for all. What these do not depend on is not computed.

        Returns: float [n, classes, keep]; `logits[:, :, i]` are of the code after `codes[:, i]`, if all are kept.
        """
        length = codes.shape[1]
        keep = length if keep is None else keep
        if not 1 <= keep <= length:
            raise ValueError(f"keep must be between 1 and the {length} codes that are given, got {keep}")
        spans = spans_of(length, keep, self.dilations)
        x = self.embed(codes[:, length - spans[0].length :].long()).transpose(1, 2)
        skips = self._by_products(x, spans) if _on_processor(x) else self._by_convolutions(x, spans, keep)
        return self.out(F.relu(self.mix(F.relu(skips))))

    def _by_convolutions(self, x: Tensor, spans: list[Span], keep: int) -> Tensor:
        """The sum of what all layers give to the head, by torch's own modules."""
        given, x = self.blocks[0](x, spans[0], keep)
        for block, span in zip(self.blocks[1:], spans[1:], strict=True):
            more, x = block(x, span, keep)
            given = given + more
        return given

    def _by_products(self, x: Tensor, spans: list[Span]) -> Tensor:
        """The same on processors, 1.6 times as fast (benchmarks/music_train.py)."""
        blocks = [block for block in self.blocks if isinstance(block, Block)]
        return layers(x.contiguous(), [block.weights for block in blocks], spans)


def _cosines(classes: int, channels: int) -> Tensor:
    """The first cosines over the codes, of variance 1: float32 [classes, channels]."""
    middle = (torch.arange(classes) + 0.5) / classes
    return math.sqrt(2) * torch.cos(math.pi * middle[:, None] * torch.arange(1, channels + 1))


def _on_processor(x: Tensor) -> bool:
    """Whether the products of `layers` are the fastest: elsewhere torch's own convolutions are, and a compiler wants
    to see them.
    """
    return x.device.type == "cpu" and not torch.is_autocast_enabled("cpu") and not torch.compiler.is_compiling()
