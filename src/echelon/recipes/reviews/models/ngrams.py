"""A bag of n-grams, as fastText classifies: what a network that reads in order has to beat."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from echelon.recipes.reviews.columns import PAD
from echelon.recipes.reviews.models.padding import inside, trimmed

_FACTOR = 116_049_371
"""Of fastText's own hash of word n-grams (src/dictionary.cc, addWordNgrams)."""


class NGrams(nn.Module):
    """The mean of the vectors of all words and pairs of neighbours, and one linear layer.

    Joulin et al. 2017, "Bag of tricks for efficient text classification". Pairs share a fixed number of vectors by a
    hash, so that there may be any number of them. Order counts only within a pair.
    """

    def __init__(self, vocabulary: int, classes: int, *, embedding: int, buckets: int, dropout: float) -> None:
        """
        Args:
            vocabulary: ids that there are, padding and the unknown word among them. embedding: numbers of a word, and
            of a pair. buckets: vectors that the pairs share; 0 for words alone. dropout: part of the mean that training
            leaves out.
        """
        super().__init__()
        self.vocabulary, self.buckets = vocabulary, buckets
        self.vectors = nn.EmbeddingBag(vocabulary + buckets, embedding, mode="mean", padding_idx=PAD)
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(embedding, classes)
        # As in fastText: vectors within 1/dimension of 0, and no opinion at first.
        nn.init.uniform_(self.vectors.weight, -1 / embedding, 1 / embedding)
        nn.init.zeros_(self.output.weight)
        nn.init.zeros_(self.output.bias)

    def forward(self, tokens: Tensor, lengths: Tensor) -> Tensor:
        """Logits, float [n, classes]. tokens, lengths: as of `LastTokenLSTM.forward`."""
        grams = self.grams(trimmed(tokens, lengths).long(), lengths)
        logits: Tensor = self.output(self.dropout(self.vectors(grams)))
        return logits

    def grams(self, tokens: Tensor, lengths: Tensor) -> Tensor:
        """The ids of the vectors of each text, int64 [n, 2·length - 1], padding where there is none."""
        words = tokens.where(inside(tokens, lengths), PAD)
        if not self.buckets:
            return words
        first, second = words[:, :-1], words[:, 1:]
        pairs = (first * _FACTOR + second) % self.buckets + self.vocabulary
        return torch.cat([words, pairs.where(second != PAD, PAD)], dim=1)
