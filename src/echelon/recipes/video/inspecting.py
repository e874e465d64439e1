"""The command that prints what is in TFRecord files, without Spark."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Annotated

import typer
from rich.console import Console

from echelon.errors import DataError
from echelon.recipes.video.options import PrepareOptions
from echelon.recipes.video.sources import find_shards
from echelon.recipes.video.survey import Survey, surveyed, total
from echelon.recipes.video.vocabulary import read_vocabulary
from echelon.report import format
from echelon.report.exhibits import Figures
from echelon.report.tables import exhibit_table

Cell = str | float


def inspect(
    sources: Annotated[list[str], typer.Argument(help="TFRecord files, or folders of them", metavar="SRC...")],
    files: Annotated[str | None, typer.Option(help="only files that match, for example 'train00*'")] = None,
    vocabulary: Annotated[
        str | None, typer.Option(help="vocabulary.csv of the public set, for the names of the labels")
    ] = None,
    labels: Annotated[int, typer.Option(help="how many of the most frequent labels to show", min=0)] = 20,
    audio: Annotated[bool, typer.Option(help="whether a record needs sound features")] = True,
) -> str | None:
    """Prints what is in TFRecord files: videos, lengths, labels, and what is wrong with them.

    Reads them in this process; every record is checked.
    """
    names = read_vocabulary(vocabulary) if vocabulary else {}
    surveys = [
        surveyed(storage, shard, audio=audio)
        for storage, shards in (find_shards(source, PrepareOptions(files=files)) for source in sources)
        for shard in shards
    ]
    whole = total(surveys)
    console = Console(highlight=False)
    for figures in (_files(surveys, whole), _lengths(whole), _labels(whole, names, labels)):
        if figures.rows and (table := exhibit_table(figures)) is not None:
            console.print(table)
    if not whole.lost:
        return None
    lines = [f"{whole.lost:,} left out, {format.size(whole.lost_bytes)}:", *(f"  {loss}" for loss in whole.losses)]
    more = whole.lost - len(whole.losses)
    told = "\n".join([*lines, *([f"  … and {more:,} more"] if more else [])])
    if not whole.videos:
        raise DataError(f"there is not one good record; {told}")
    return told


def _files(surveys: Sequence[Survey], whole: Survey) -> Figures:
    columns = ("file", "level", "size", "videos", "without label", "left out")
    rows = [
        (one.path, one.level or format.MISSING, format.size(one.size), one.videos, one.labels_each[0], one.lost)
        for one in (*surveys, *([whole] if len(surveys) > 1 else ()))
    ]
    return Figures("files", "", columns, rows)


def _lengths(whole: Survey) -> Figures:
    """The fewest, the mean and the most frames and labels of a video."""
    rows: list[tuple[Cell, ...]] = []
    for name, counted in (("frames", whole.frames_each), ("labels", whole.labels_each)):
        if counted:
            half, nine_tenths = (_quantile(counted, part) for part in (0.5, 0.9))
            mean = sum(value * times for value, times in counted.items()) / counted.total()
            rows.append((name, min(counted), half, format.number(round(mean, 1)), nine_tenths, max(counted)))
    return Figures("of a video", "", ("", "fewest", "median", "mean", "90 %", "most"), rows)


def _quantile(counted: Counter[int], part: float) -> int:
    """The least value that so much of what was counted does not exceed."""
    seen = 0
    for value in sorted(counted):
        seen += counted[value]
        if seen >= part * counted.total():
            return value
    raise ValueError("nothing was counted")


def _labels(whole: Survey, names: Mapping[int, str], most: int) -> Figures:
    rows = [
        (f"{label} {names.get(label, '')}".rstrip(), videos, format.percent(videos, whole.videos))
        for label, videos in sorted(whole.labels.items(), key=lambda item: (-item[1], item[0]))[:most]
    ]
    return Figures(f"labels: {len(whole.labels):,} are there", "", ("label", "videos", "of all"), rows)
