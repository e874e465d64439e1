"""What becomes of reviews, in plain Python and one by one: what the recipe must do, told in another way."""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import Any

from echelon.data.division import Division

PAD, UNKNOWN, FIRST_WORD = 1, 2, 3


def is_part(letter: str) -> bool:
    return unicodedata.category(letter)[0] in "LMN"


def words_of(text: str) -> list[str]:
    """Words with apostrophes within; everything else is a space."""
    text = re.sub(r"<br\s*/?>", " ", re.sub("[\u2018\u2019\u02bc\uff07]|&#0?39;|&#x27;|&apos;", "'", text))
    text = re.sub(r"&(nbsp|amp|quot|lt|gt|#\d{1,6}|#x[0-9a-fA-F]{1,5});", " ", text)
    letters = "".join(letter.lower() if is_part(letter) or letter == "'" else " " for letter in text)
    found = []
    for word in letters.split():
        pieces = re.split("''+", word)
        found += [piece.strip("'") for piece in pieces]
    return [word for word in found if word]


def _digest(words: tuple[str, ...]) -> str:
    return hashlib.blake2b(" ".join(words).encode(), digest_size=16).hexdigest()


@dataclass
class Expected:
    """words: the vocabulary. rows: by key of each row its split, ids, length, label, product and text."""

    words: list[str]
    rows: dict[str, tuple[str, list[int], int, int, str, str]]
    empty: int
    duplicates: int


def expected(
    lines: list[tuple[str, str]],
    *,
    classes: int,
    length: int,
    words: int,
    test_fraction: float,
    fields: tuple[str, str, str] = ("reviewText", "overall", "asin"),
) -> Expected:
    """lines: the key of each line and the line, all good, in the order of files and lines."""
    groups: dict[tuple[str, ...], list[tuple[str, Any]]] = defaultdict(list)
    empty = 0
    for key, line in lines:
        value = json.loads(line)
        cleaned = tuple(words_of(value[fields[0]]))
        if cleaned:
            groups[cleaned].append((key, value))
        else:
            empty += 1
    division = Division(test_fraction, 0)
    kept = {}
    counts: Counter[str] = Counter()
    for cleaned, same in groups.items():
        key, first = same[0]
        votes = Counter(int(value[fields[1]]) for _, value in same)
        stars = min(star for star, number in votes.items() if number == max(votes.values()))
        product = str(first.get(fields[2]) or "")
        split = division.split_of(f"product {product}" if product else _digest(cleaned))
        kept[key] = (split, cleaned[:length], stars, product, first[fields[0]])
        if split == "train":
            counts.update(cleaned[:length])
    vocabulary = sorted(counts, key=lambda word: (-counts[word], word.encode()))[:words]
    ids = {word: number for number, word in enumerate(vocabulary, FIRST_WORD)}
    rows = {}
    for key, (split, kept_words, stars, product, text) in kept.items():
        row = [ids.get(word, UNKNOWN) for word in kept_words]
        label = stars - 1 if classes == 5 else int(stars > 3)
        rows[key] = (split, row + [PAD] * (length - len(row)), len(row), label, product, text)
    return Expected(vocabulary, rows, empty, sum(map(len, groups.values())) - len(groups))
