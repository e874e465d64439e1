"""The recurrent network of the recipe."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from echelon.recipes.reviews.columns import PAD
from echelon.recipes.reviews.models.padding import trimmed


class LastTokenLSTM(nn.Module):
    """Embedding → LSTM → dense layer → logits, of what the LSTM knows after the last true token.

    Tokens stand on the left, and an LSTM that reads from there has not seen the padding when it is at the last of them.
    So neither the padding nor its length changes an output, and no row has to be packed.
    """

    def __init__(
        self, vocabulary: int, classes: int, *, embedding: int, hidden: int, layers: int, dense: int, dropout: float
    ) -> None:
        """
        Args:
            vocabulary: ids that there are, padding and the unknown word among them. embedding, hidden, layers: numbers
            of a word, units of the LSTM and how many of them are stacked. dense: units of the layer after it. dropout:
            part of the values that training leaves out between the LSTMs and after the dense layer.
        """
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, embedding, padding_idx=PAD)
        self.lstm = nn.LSTM(embedding, hidden, layers, batch_first=True, dropout=dropout if layers > 1 else 0.0)
        self.dropout = nn.Dropout(dropout)
        self.dense = nn.Linear(hidden, dense)
        self.output = nn.Linear(dense, classes)
        for name, parameter in self.lstm.named_parameters():
            if "bias_ih" in name:
                # A gate that forgets nothing at first lets the gradient reach the beginning of long texts
                # (Jozefowicz et al. 2015).
                with torch.no_grad():
                    parameter[hidden : 2 * hidden].fill_(1.0)

    def forward(self, tokens: Tensor, lengths: Tensor) -> Tensor:
        """Logits, float [n, classes].

        Args:
            tokens: ids, right-padded, int [n, length]. lengths: true ones, at least 1, int64 [n].
        """
        states, _ = self.lstm(self.embedding(trimmed(tokens, lengths)))
        last = states[torch.arange(len(lengths), device=lengths.device), lengths - 1]
        logits: Tensor = self.output(self.dropout(torch.relu(self.dense(last))))
        return logits
