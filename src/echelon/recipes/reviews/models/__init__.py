"""Networks that read tokens, one a file."""

from echelon.recipes.reviews.models.gru import AttentiveGRU
from echelon.recipes.reviews.models.lstm import LastTokenLSTM
from echelon.recipes.reviews.models.ngrams import NGrams

__all__ = ["AttentiveGRU", "LastTokenLSTM", "NGrams"]
