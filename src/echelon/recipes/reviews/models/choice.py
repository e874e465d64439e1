"""A network by its name."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from echelon.errors import EchelonError
from echelon.recipes.reviews.models.gru import AttentiveGRU
from echelon.recipes.reviews.models.lstm import LastTokenLSTM
from echelon.recipes.reviews.models.ngrams import NGrams

MODELS = ("lstm", "gru", "ngrams")


@dataclass(frozen=True)
class Sizes:
    """Of a network; what a network does not have is not looked at. See the networks for what they mean."""

    embedding: int
    hidden: int
    layers: int
    dense: int
    buckets: int
    dropout: float


def network(name: str, vocabulary: int, classes: int, sizes: Sizes) -> nn.Module:
    """A new network. vocabulary: ids that there are, padding and the unknown word among them.

    Raises:
        EchelonError: there is none of this name.
    """
    if name == "ngrams":
        return NGrams(vocabulary, classes, embedding=sizes.embedding, buckets=sizes.buckets, dropout=sizes.dropout)
    recurrent = {"lstm": LastTokenLSTM, "gru": AttentiveGRU}.get(name)
    if recurrent is None:
        raise EchelonError(f"--model {name} is unknown; there are: {', '.join(MODELS)}")
    return recurrent(
        vocabulary,
        classes,
        embedding=sizes.embedding,
        hidden=sizes.hidden,
        layers=sizes.layers,
        dense=sizes.dense,
        dropout=sizes.dropout,
    )
