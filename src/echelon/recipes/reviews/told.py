"""What a dataset of reviews says of its rows, and of the lines that it was made of."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from echelon.errors import DataError
from echelon.recipes.reviews.cleaning import Cleaning
from echelon.recipes.reviews.columns import UNLABELLED
from echelon.recipes.reviews.gathering import DAMAGED, EMPTY, LINES, MALFORMED
from echelon.recipes.reviews.lines import Fields
from echelon.spark.merged import MERGED
from echelon.spark.prepare import Summary


def counts_of(splits: NDArray[np.object_], labels: NDArray[np.int64]) -> Counter[str]:
    """How many rows there are of each split and label, as "train/0"."""
    pairs = Counter(zip(splits.tolist(), labels.tolist(), strict=True))
    return Counter({f"{split}/{label}": count for (split, label), count in pairs.items()})


def require_good(summary: Summary, most: float, source: str, remedy: str) -> None:
    """remedy: what can be done about malformed lines.

    Raises:
        DataError: more than this part of the lines are malformed; names the first of them.
    """
    lines, malformed = summary.counts.get(LINES, 0), summary.counts.get(MALFORMED, 0)
    if malformed > most * lines:
        first = "; ".join(map(str, summary.reported[:3]))
        raise DataError(
            f"{malformed} of {lines} lines of {source} are malformed, more than {most:.3g} of them ({remedy}): {first}"
        )


def described(
    classes: tuple[str, ...],
    rows: Mapping[str, int],
    counts: Mapping[str, int],
    summary: Summary,
    fields: Fields,
    cleaning: Cleaning,
    ids: int,
) -> dict[str, Any]:
    """The info of a dataset of reviews. rows, counts: of each split, and as `counts_of`. ids: see `Vocabulary`."""
    return {
        "recipe": "reviews",
        "classes": list(classes),
        "counts": {
            split: {name: counts.get(f"{split}/{label}", 0) for label, name in enumerate(classes)} for split in rows
        },
        "unlabelled": sum(counts.get(f"{split}/{UNLABELLED}", 0) for split in rows),
        "lines": summary.counts.get(LINES, 0),
        "malformed": summary.counts.get(MALFORMED, 0),
        "empty": summary.counts.get(EMPTY, 0),
        "duplicates": summary.counts.get(MERGED, 0),
        "damaged": sorted(name.removeprefix(DAMAGED) for name in summary.counts if name.startswith(DAMAGED)),
        "fields": {"text": fields.text, "rating": fields.rating, "product": fields.product},
        "cleaning": asdict(cleaning),
        "ids": ids,
        **summary.info,
    }
