"""A recurrent network that looks back at all that it has read."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from echelon.recipes.reviews.columns import PAD
from echelon.recipes.reviews.models.padding import inside, trimmed


class AttentiveGRU(nn.Module):
    """Embedding → GRU → a mean over all tokens, weighted by attention → dense layer → logits.

    Attention as in Yang et al. 2016, "Hierarchical attention networks for document classification", for words: a token
    weighs as much as its state, seen through one layer, resembles a trained vector. Padding weighs nothing.
    """

    def __init__(
        self, vocabulary: int, classes: int, *, embedding: int, hidden: int, layers: int, dense: int, dropout: float
    ) -> None:
        """Arguments: as of `LastTokenLSTM`."""
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, embedding, padding_idx=PAD)
        self.gru = nn.GRU(embedding, hidden, layers, batch_first=True, dropout=dropout if layers > 1 else 0.0)
        self.seen = nn.Linear(hidden, hidden)
        self.sought = nn.Linear(hidden, 1, bias=False)
        self.dropout = nn.Dropout(dropout)
        self.dense = nn.Linear(hidden, dense)
        self.output = nn.Linear(dense, classes)

    def forward(self, tokens: Tensor, lengths: Tensor) -> Tensor:
        """Logits, float [n, classes]. tokens, lengths: as of `LastTokenLSTM.forward`."""
        tokens = trimmed(tokens, lengths)
        states, _ = self.gru(self.embedding(tokens))
        scores = self.sought(torch.tanh(self.seen(states))).squeeze(2)
        weights = scores.masked_fill(~inside(tokens, lengths), -torch.inf).softmax(1)
        pooled = (weights[:, :, None] * states).sum(1)
        logits: Tensor = self.output(self.dropout(torch.relu(self.dense(pooled))))
        return logits
