"""Made reviews in the public formats, with a sentiment that can be learned, for tests, benchmarks and the demo."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

_KIND = "great lovely excellent comfortable perfect charming soft sturdy wonderful pretty"
_UNKIND = "awful ugly terrible scratchy cheap boring flimsy faded horrible crooked"
_THINGS = "dress story fabric actor colour ending sleeve plot zip music collar camera pocket scene cast"
_FRAMES = ("the {} was {}", "I found the {} {}", "its {} is really {}", "what a {}: {}", "{} turned out {}")
_TURNED = ("the {} was not {}", "I don't think the {} is {}", "the {} isn't {} at all")
_SHARES = (0.05, 0.25, 0.5, 0.75, 0.95)
"""How many of the remarks are kind, by stars."""
_SYLLABLES = "ba ce di fo gu la me ni po ru sa te vi zo"
_NAMES = 20_000


@dataclass(frozen=True)
class Made:
    """One review. stars: 1 to 5."""

    text: str
    stars: int
    product: str


def made_reviews(count: int, seed: int = 0, *, remarks: tuple[int, int] = (3, 9), products: int = 50) -> Iterator[Made]:
    """Reviews whose remarks are kinder the more stars they give; a third of the remarks say it by a negation. Names
    that occur the less the later they were made up give them a long tail of rare words.

    remarks: fewest and most of one review. products: how many different ones there are.
    """
    random = np.random.default_rng(seed)
    stars = random.choice(np.arange(1, 6), count, p=[0.15, 0.1, 0.15, 0.2, 0.4])
    sizes = random.integers(remarks[0], remarks[1] + 1, count)
    things = random.integers(0, products, count)
    for number in range(count):
        size, share = int(sizes[number]), _SHARES[stars[number] - 1]
        kind, turned = (random.random(size) < share).tolist(), (random.random(size) < 1 / 3).tolist()
        drawn = random.integers(0, 1 << 30, (size, 3)).tolist()
        names = np.minimum(random.zipf(1.3, size), _NAMES).tolist()
        said = [f"{_remark(of, k, t)} {_name(n)}." for of, k, t, n in zip(drawn, kind, turned, names, strict=True)]
        yield Made(" ".join(said), int(stars[number]), f"B{things[number]:05d}")


def _remark(drawn: list[int], kind: bool, turned: bool) -> str:
    frame, thing, word = drawn
    frames = _TURNED if turned else _FRAMES
    things, words = _THINGS.split(), (_KIND if kind != turned else _UNKIND).split()
    return frames[frame % len(frames)].format(things[thing % len(things)], words[word % len(words)])


def _name(number: int) -> str:
    """A made-up name for each number from 1 on."""
    syllables, name = _SYLLABLES.split(), ""
    while number:
        number, rest = divmod(number, len(syllables))
        name += syllables[rest]
    return name.capitalize()


def amazon(review: Made) -> dict[str, Any]:
    """A line of Amazon's product reviews (McAuley et al. 2015)."""
    return {"reviewerID": "A0", "asin": review.product, "reviewText": review.text, "overall": float(review.stars)}


def yelp(review: Made) -> dict[str, Any]:
    """A line of Yelp's open dataset."""
    return {"review_id": "r0", "business_id": review.product, "stars": float(review.stars), "text": review.text}


def write_lines(path: Path, lines: Iterable[dict[str, Any] | str]) -> None:
    """A file of JSON lines, zipped if its name ends with .gz; texts are written as they are."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with gzip.open(path, "wt", encoding="utf-8") if path.suffix == ".gz" else open(path, "w", encoding="utf-8") as file:
        for line in lines:
            file.write((line if isinstance(line, str) else json.dumps(line, ensure_ascii=False)) + "\n")
