"""From texts to words and ids."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from review_oracle import FIRST_WORD, PAD, UNKNOWN, words_of

from echelon.recipes.reviews.cleaning import Cleaning, joined, tokens_of
from echelon.recipes.reviews.columns import labels_of
from echelon.recipes.reviews.stop_words import NEGATIONS, STOP_WORDS
from echelon.recipes.reviews.vocabulary import Vocabulary

# Letters whose lower case depends on the neighbours, or is two letters, are lower-cased in more than one way.
LETTERS = st.one_of(
    st.sampled_from("ab'’ \n\t.,-&;<>/Zé"),
    st.characters(codec="latin-1"),
    st.characters(min_codepoint=0x370, max_codepoint=0x52F, exclude_characters="Σς", categories=["L", "M", "N", "P"]),
    st.sampled_from("你好。，…“”—😀👍\u00a0\u200b"),
)
PIECES = st.one_of(LETTERS, st.sampled_from(["<br />", "<br>", "&#34;", "&amp;", "don&#39;t", "isn't", "not "]))
TEXTS = st.lists(st.lists(PIECES, max_size=20).map("".join), max_size=8)


@settings(max_examples=300, deadline=None)
@given(TEXTS, st.integers(0, 3))
def test_words_are_those_of_a_slow_reference_for_any_slice_of_texts(texts: list[str], skipped: int) -> None:
    array = pa.array(["x y", *texts, "z"], pa.string()).slice(skipped % (len(texts) + 1))
    assert tokens_of(array, Cleaning()).to_pylist() == [words_of(text) for text in array.to_pylist()]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("great!fast,shipping", ["great", "fast", "shipping"]),
        ("good...but/not\u2014cheap", ["good", "but", "not", "cheap"]),
        ("bad<br /><br />Worse", ["bad", "worse"]),
        ("It isn\u2019t \u201cfine\u201d", ["it", "isn't", "fine"]),
        ("NOT na\u00efve&#34;caf\u00e9&#34;", ["not", "na\u00efve", "caf\u00e9"]),
        ("a\x00b", ["a", "b"]),
    ],
)
def test_where_a_character_is_removed_a_space_stays(text: str, words: list[str]) -> None:
    """Trap: words that are joined."""
    assert tokens_of(pa.array([text]), Cleaning()).to_pylist() == [words]


def test_stop_words_are_left_out_and_negations_stay_unless_asked() -> None:
    """Trap: negations dropped as stop words."""
    text = pa.array(["The dress is not what I wanted, and it doesn't fit", "the", ""])
    assert tokens_of(text, Cleaning(stop_words=True)).to_pylist() == [
        ["dress", "not", "wanted", "doesn't", "fit"], [], []]  # fmt: skip
    assert tokens_of(text, Cleaning(stop_words=True, negations=True)).to_pylist()[0] == ["dress", "wanted", "fit"]
    assert Cleaning().left_out == frozenset()
    said = "no not never nor don't isn't won't can't cannot"
    assert tokens_of(pa.array([said]), Cleaning(stop_words=True)).to_pylist() == [said.split()]
    assert NEGATIONS < STOP_WORDS
    assert all(words_of(word) == [word] for word in STOP_WORDS)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.lists(st.sampled_from("abcdefgh"), max_size=7), max_size=6),
    st.permutations("abcde"),
    st.integers(1, 5),
    st.integers(0, 2),
)
def test_ids_are_those_of_a_slow_reference(texts: list[list[str]], words: str, length: int, skipped: int) -> None:
    tokens = pa.array([["b"], *texts, ["a"]], pa.list_(pa.string())).slice(min(skipped, len(texts)))
    ids, lengths = Vocabulary.of(words).encode(tokens, length)
    known = {word: number for number, word in enumerate(words, FIRST_WORD)}
    for row, size, text in zip(ids.tolist(), lengths.tolist(), tokens.to_pylist(), strict=True):
        wanted = [known.get(word, UNKNOWN) for word in text][:length] or [UNKNOWN]
        assert row == wanted + [PAD] * (length - len(wanted))
        assert size == len(wanted)
    assert ids.dtype == np.uint16
    assert lengths.dtype == np.int64


def test_a_vocabulary_is_stored_whole_and_a_large_one_has_ids_that_fit() -> None:
    words = [f"w{number}" for number in range((1 << 16) - FIRST_WORD + 1)]
    large = Vocabulary.of(words)
    assert Vocabulary.from_asset(large.to_asset()) == large
    assert Vocabulary.from_asset(Vocabulary(()).to_asset()) == Vocabulary(())
    ids, _ = large.encode(pa.array([[words[-1]]]), 1)
    assert ids.tolist() == [[1 << 16]]
    assert Vocabulary.of(words[:-1]).encode(pa.array([[words[-2]]]), 1)[0].dtype == np.uint16


def test_joined_words_are_split_into_the_same_again() -> None:
    tokens = tokens_of(pa.array(["One, two", "", "three"]), Cleaning())
    assert joined(tokens).to_pylist() == ["one two", "", "three"]


def test_labels_of_stars() -> None:
    stars = np.array([1, 2, 3, 4, 5, -1])
    assert labels_of(stars, 2).tolist() == [0, 0, 0, 1, 1, -1]
    assert labels_of(stars, 5).tolist() == [0, 1, 2, 3, 4, -1]
