"""WaveNet (van den Oord et al., arXiv:1609.03499): what comes next in a song, from the codes before it.

Its convolutions are causal and dilated, 1, 2, 4 … in each of some stacks, so that every layer doubles how far back it
sees. Where a song begins, each of them sees zeros.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

CLASSES = 256
"""Codes there are, see `mulaw`."""


class Block(nn.Module):
    """A layer: a gated convolution with a dilation, of which one projection goes to the head and one to the next layer.

    gate: of kernel size 2; its weight [2 · residual, residual, 2] has the earlier code first. Tanh of the first half of
    its channels times sigmoid of the second. residual: None in the last layer, after which comes none.
    """

    def __init__(self, residual: int, skip: int, dilation: int, last: bool) -> None:
        super().__init__()
        self.dilation = dilation
        self.gate = nn.Conv1d(residual, 2 * residual, kernel_size=2, dilation=dilation)
        self.skip = nn.Conv1d(residual, skip, kernel_size=1)
        self.residual = None if last else nn.Conv1d(residual, residual, kernel_size=1)

    def forward(self, x: Tensor, out: int) -> tuple[Tensor, Tensor | None]:
        """
        Args:
            x: float32 [n, residual, t], of which only the end is read. out: how many positions are wanted.

        Returns: of the last `out` positions what passed the gate, and what the next layer gets, [n, residual, out].
        """
        missing = out + self.dilation - x.shape[2]
        x = F.pad(x, (missing, 0)) if missing >= 0 else x[:, :, -missing:]
        signal, openness = self.gate(x).chunk(2, dim=1)
        gated = torch.tanh(signal) * torch.sigmoid(openness)
        return gated, None if self.residual is None else x[:, :, self.dilation :] + self.residual(gated)


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
        self.embed = nn.Embedding(classes, residual)
        dilations = [2**layer for _ in range(stacks) for layer in range(layers)]
        last = len(dilations) - 1
        self.blocks = nn.ModuleList(Block(residual, skip, d, last=i == last) for i, d in enumerate(dilations))
        self.mix = nn.Conv1d(skip, skip, kernel_size=1)
        self.out = nn.Conv1d(skip, classes, kernel_size=1)
        self.dilations = dilations

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
        later = sum(self.dilations)
        x: Tensor | None = self.embed(codes.long()).transpose(1, 2)
        skips: Tensor | None = None
        for block in self.blocks:
            assert isinstance(block, Block)
            assert x is not None
            later -= block.dilation
            gated, x = block(x, min(length, keep + later))
            given = block.skip(gated[:, :, -keep:])
            skips = given if skips is None else skips + given
        assert skips is not None
        return self.out(F.relu(self.mix(F.relu(skips))))
