"""A bidirectional LSTM over sequences of different lengths."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import linear
from torch.nn.utils.rnn import pack_padded_sequence

from echelon.recipes.video.models.packing import pack
from echelon.recipes.video.models.recurrence import Recurrence


class BiLstm(nn.Module):
    """The last states of an LSTM that goes forwards and of one that goes backwards, side by side.

    Only the true elements of a sequence are seen: its padding neither changes its result nor takes time. The weights
    are those of `nn.LSTM`, which is also what runs on GPUs, with cuDNN.
    """

    def __init__(self, inputs: int, units: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(inputs, units, bidirectional=True, batch_first=True)

    def forward(self, sequences: Tensor, lengths: Tensor) -> Tensor:
        """[n, 2 · units]; zeros for a sequence of length 0.

        Args:
            sequences: float [n, longest, inputs]. lengths: int64 [n].
        """
        if not sequences.shape[1]:
            return sequences.new_zeros(len(sequences), 2 * self.lstm.hidden_size) + 0 * self._weights("_l0")[2].sum()
        if sequences.is_cuda:
            packed = pack_padded_sequence(sequences, lengths.clamp(min=1).cpu(), batch_first=True, enforce_sorted=False)
            states = self.lstm(packed)[1][0] * (lengths > 0)[:, None]
        else:
            states = self._on_processor(sequences, lengths)
        return torch.cat([states[0], states[1]], dim=1)

    @torch.compiler.disable
    def _on_processor(self, sequences: Tensor, lengths: Tensor) -> Tensor:
        """The last states, [2, n, units]."""
        packing = pack(lengths, sequences.shape[1])
        forwards, backwards = self._weights("_l0"), self._weights("_l0_reverse")
        with torch.autocast(sequences.device.type, enabled=False):
            elements = sequences.float().flatten(0, 1)[packing.places]
            given = torch.stack(
                [
                    linear(elements, forwards[0], forwards[2]),
                    linear(elements, backwards[0], backwards[2])[packing.reversal],
                ]
            )
            weight = torch.stack([forwards[1].t(), backwards[1].t()])
            last = Recurrence.apply(given, weight, len(sequences), packing.ends)
        return last[:, packing.order.argsort()]

    def _weights(self, suffix: str) -> tuple[Tensor, Tensor, Tensor]:
        """Of one direction: of the inputs, of the state, and the bias, with the gates as `Recurrence` wants them."""
        units = self.lstm.hidden_size
        of_inputs, of_state, *biases = (
            getattr(self.lstm, f"{name}{suffix}") for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        )

        def reordered(values: Tensor) -> Tensor:
            entering, kept, new, leaving = values.split(units)
            return torch.cat([entering, kept, leaving, new])

        return reordered(of_inputs), reordered(of_state), reordered(biases[0] + biases[1])
