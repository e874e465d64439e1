"""The networks: what they read, and what they never read."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor, nn

from echelon.errors import EchelonError
from echelon.recipes.reviews.columns import PAD
from echelon.recipes.reviews.models import NGrams
from echelon.recipes.reviews.models.choice import MODELS, Sizes, network

VOCABULARY, CLASSES, LONGEST = 30, 3, 9
SIZES = Sizes(embedding=6, hidden=5, layers=2, dense=4, buckets=50, dropout=0.3)
LENGTHS = torch.tensor([1, 4, LONGEST, 2, 7])


def model_of(name: str) -> nn.Module:
    """One whose outputs differ: ngrams begins without an opinion."""
    torch.manual_seed(0)
    model = network(name, VOCABULARY, CLASSES, SIZES).eval()
    nn.init.normal_(model.output.weight)
    return model


def texts(seed: int = 1) -> Tensor:
    random = torch.Generator().manual_seed(seed)
    tokens = torch.randint(2, VOCABULARY, (len(LENGTHS), LONGEST), generator=random)
    return tokens.masked_fill(torch.arange(LONGEST) >= LENGTHS[:, None], PAD)


def with_behind(tokens: Tensor, value: int | Tensor, more: int = 0) -> Tensor:
    """The same texts with something else where the padding was, and more of it."""
    padded = nn.functional.pad(tokens, (0, more), value=PAD)
    return torch.where(torch.arange(padded.shape[1]) >= LENGTHS[:, None], value, padded)


@pytest.mark.parametrize("name", MODELS)
def test_padding_never_changes_an_output(name: str) -> None:
    """Trap: the padding is read as the last token. Nothing behind a text counts: not what, nor how much there is."""
    model, tokens = model_of(name), texts()
    expected = model(tokens, LENGTHS)
    torch.testing.assert_close(model(with_behind(tokens, PAD, more=20), LENGTHS), expected)
    torch.testing.assert_close(model(with_behind(tokens, 17, more=3), LENGTHS), expected)
    alone = [model(tokens[i : i + 1, : LENGTHS[i]], LENGTHS[i : i + 1]) for i in range(len(LENGTHS))]
    torch.testing.assert_close(torch.cat(alone), expected)


@pytest.mark.parametrize("name", MODELS)
def test_no_gradient_flows_into_padding_and_some_into_every_token(name: str) -> None:
    model, tokens = model_of(name), texts()
    table = model.vectors if isinstance(model, NGrams) else model.embedding
    for row, length in enumerate(LENGTHS.tolist()):
        model.zero_grad()
        # Each place has an id of its own, so that the gradient tells the places apart.
        own = torch.where(torch.arange(LONGEST) < length, torch.arange(2, 2 + LONGEST), PAD)
        model(torch.where(torch.arange(len(LENGTHS))[:, None] == row, own, tokens), LENGTHS)[row].sum().backward()
        touched = table.weight.grad[:VOCABULARY].abs().sum(1) > 0
        assert touched[2 : 2 + length].all()
        assert not touched[PAD]
        assert not touched[2 + length :].any()


@pytest.mark.parametrize("name", ["lstm", "gru"])
def test_the_order_of_words_counts(name: str) -> None:
    model, tokens = model_of(name), texts()
    turned = tokens.clone()
    turned[2] = tokens[2].flip(0)
    assert (model(turned, LENGTHS) - model(tokens, LENGTHS)).abs()[2].max() > 1e-3


def test_ngrams_are_the_mean_of_words_and_hashed_pairs() -> None:
    """Against a loop; the hash is fastText's."""
    model, tokens = model_of("ngrams"), texts()
    weight = model.vectors.weight.detach()
    means = []
    for row, length in zip(tokens.tolist(), LENGTHS.tolist(), strict=True):
        words = row[:length]
        pairs = [(a * 116_049_371 + b) % 50 + VOCABULARY for a, b in itertools.pairwise(words)]
        means.append(weight[[*words, *pairs]].mean(0))
    torch.testing.assert_close(model.output(torch.stack(means)), model(tokens, LENGTHS))


def test_ngrams_without_buckets_are_words_alone() -> None:
    model = NGrams(VOCABULARY, CLASSES, embedding=4, buckets=0, dropout=0.0)
    nn.init.normal_(model.output.weight)
    tokens = texts()
    order = torch.randperm(LONGEST, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(model(tokens[2:3, order], LENGTHS[2:3]), model(tokens[2:3], LENGTHS[2:3]))


def test_an_unknown_network_is_answered_with_those_that_exist() -> None:
    with pytest.raises(EchelonError, match="there are: lstm, gru, ngrams"):
        network("bert", VOCABULARY, CLASSES, SIZES)
