"""A learning curve as files: numbers, a picture, and a page to print.

Raises on import:
    EchelonError: matplotlib is not installed.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from statistics import fmean
from typing import TYPE_CHECKING, Any

from echelon.data.storage import Storage
from echelon.recipes.pets.curve import Point
from echelon.report.palette import SERIES
from echelon.report.plots import Line, Look, Reference, figure_file, line_figure
from echelon.train.classification import ACCURACY, BALANCED_ACCURACY

if TYPE_CHECKING:
    from matplotlib.figure import Figure

AXIS = "training images of each breed"
NAMES = {ACCURACY: "accuracy", BALANCED_ACCURACY: "balanced accuracy"}
PAGE = (8.27, 11.69)
"""A4, in inches."""


def spread(points: Sequence[Point], name: str) -> list[tuple[int, float, float, float]]:
    """Of each size, in order: size, mean, lowest and highest value of a metric over the seeds."""
    of_size: dict[int, list[float]] = {}
    for point in points:
        of_size.setdefault(point.size, []).append(point.metrics[name])
    return [(size, fmean(values), min(values), max(values)) for size, values in sorted(of_size.items())]


def write_curve(storage: Storage, title: str, points: Sequence[Point], asked: Mapping[str, Any]) -> list[str]:
    """Writes curve.json, curve.csv, curve.png and curve.pdf; their URLs. asked: what the curve was asked for."""
    summary = {name: [dict(zip(("size", "mean", "lowest", "highest"), row)) for row in spread(points, name)]
               for name in NAMES}  # fmt: skip
    storage.write_json(
        "curve.json", {"title": title, **asked, "curves": summary, "points": [asdict(point) for point in points]}
    )
    storage.write("curve.csv", _table(points).encode())
    figure = _drawn(points)
    storage.write("curve.png", figure_file(figure, "png"))
    storage.write("curve.pdf", figure_file(_page(figure, title, points), "pdf"))
    return [storage.url_of(f"curve.{ending}") for ending in ("json", "csv", "png", "pdf")]


def _table(points: Sequence[Point]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["size", "seed", *NAMES, *(f"trivial_{name}" for name in NAMES)])
    for point in points:
        writer.writerow([point.size, point.seed, *(point.metrics[name] for name in NAMES),
                         *(point.baseline[name] for name in NAMES)])  # fmt: skip
    return text.getvalue()


def _drawn(points: Sequence[Point]) -> Figure:
    """A line for each metric with a band from the lowest to the highest seed, and the trivial predictor's values."""
    lines, references = [], []
    for (name, label), colour in zip(NAMES.items(), SERIES):
        rows = spread(points, name)
        size, mean, low, high = zip(*rows, strict=True)
        # Dashed, since of two breeds with as many images both are the same.
        lines.append(Line(label, size, mean, colour, low, high, dashed=name == BALANCED_ACCURACY))
        trivial = fmean(point.baseline[name] for point in points)
        references.append(Reference(f"trivial {label} {trivial:.3f}", trivial))
    if abs(references[0].value - references[1].value) < 0.02:
        references = references[:1]
    return line_figure(lines, AXIS, references=references, look=Look(from_zero=True))


def _page(figure: Figure, title: str, points: Sequence[Point]) -> Figure:
    """The same drawing on a page, with a title above and its numbers below."""
    figure.set_size_inches(*PAGE)
    figure.subplots_adjust(left=0.12, right=0.92, top=0.84, bottom=0.5)
    seeds = len({point.seed for point in points})
    figure.text(0.12, 0.93, title, fontsize=17, weight="bold")
    figure.text(0.12, 0.905, f"Lines are means over {seeds} seeded divisions, bands go from the lowest to the highest.")
    accuracy, balanced = (spread(points, name) for name in NAMES)
    head = f"{'images':>7}  {'accuracy':>8}  {'lowest to highest':>17}  {'balanced':>8}  {'lowest to highest':>17}"
    lines = [head] + [
        f"{size:>7}  {mean:8.3f}  {f'{low:.3f} to {high:.3f}':>17}  {other:8.3f}  {f'{least:.3f} to {most:.3f}':>17}"
        for (size, mean, low, high), (_, other, least, most) in zip(accuracy, balanced, strict=True)
    ]
    figure.text(0.12, 0.44, "\n".join(lines), family="monospace", fontsize=9, va="top", linespacing=1.7)
    return figure
