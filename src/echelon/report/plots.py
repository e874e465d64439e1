"""Drawing: lines, bars and images, as SVG for pages and PNG for everything else.

Figures are made without pyplot, so that no state outlives a call and no display is needed.

Raises on import:
    EchelonError: matplotlib is not installed.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np

from echelon.errors import EchelonError
from echelon.report import format
from echelon.report.history import Axis, Times
from echelon.report.palette import LIGHT, SERIES, themed

try:
    import matplotlib
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.ticker import EngFormatter, MaxNLocator
except ImportError as error:
    raise EchelonError("plots need matplotlib: pip install 'echelon[report]'") from error

PANEL = (5.0, 2.75)
MOST_POINTS = 400
_STYLE: Any = {
    "svg.fonttype": "none",
    "text.parse_math": False,
    "font.size": 10,
    "axes.edgecolor": LIGHT["line"],
    "axes.labelcolor": LIGHT["muted"],
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "grid.color": LIGHT["line"],
    "grid.linewidth": 0.8,
    "text.color": LIGHT["ink"],
    "xtick.color": LIGHT["line"],
    "ytick.color": LIGHT["line"],
    "xtick.labelcolor": LIGHT["muted"],
    "ytick.labelcolor": LIGHT["muted"],
    "ytick.major.size": 0,
    "legend.frameon": False,
    "legend.labelcolor": LIGHT["muted"],
    "figure.facecolor": LIGHT["card"],
    "axes.facecolor": LIGHT["card"],
}


@dataclass(frozen=True)
class Line:
    """One line of a plot. low, high: the edges of a band around it. faint: drawn thin, without a name."""

    label: str
    x: Sequence[float]
    y: Sequence[float]
    colour: str = SERIES[0]
    low: Sequence[float] | None = None
    high: Sequence[float] | None = None
    faint: bool = False
    dashed: bool = False


@dataclass(frozen=True)
class Reference:
    """A value to compare with: a horizontal line."""

    label: str
    value: float


def line_figure(
    lines: Sequence[Line],
    axis: Axis,
    *,
    reference: Reference | None = None,
    marks: Sequence[float] = (),
    log: bool = False,
    from_zero: bool = False,
    panel: tuple[float, float] = PANEL,
) -> Figure:
    """Lines against steps, seconds, epochs or bytes.

    Args:
        marks: positions on the x axis of what interrupted the run. from_zero: whether the y axis begins at zero, as it
            should where differences would look larger than they are. panel: width and height in inches.
    """
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=panel, layout="constrained")
        axes = figure.subplots()
        factor, label = _scale(axis, max((x for line in lines for x in line.x), default=0.0))
        for mark in marks:
            axes.axvline(mark / factor, color=LIGHT["bad"], linewidth=1, linestyle=(0, (1, 2)))
        if reference is not None and math.isfinite(reference.value):
            axes.axhline(reference.value, color=LIGHT["muted"], linewidth=1.2, linestyle=(0, (5, 3)))
            axes.annotate(reference.label, (1, reference.value), xycoords=axes.get_yaxis_transform(), ha="right",
                          textcoords="offset points", xytext=(0, 3), color=LIGHT["muted"], fontsize=9)  # fmt: skip
        for line in lines:
            _draw(axes, line, factor)
        if log:
            axes.set_yscale("log")
        if from_zero:
            axes.set_ylim(bottom=0)
        _dress(axes, lines, label, log)
    return figure


def time_figure(spent: Mapping[str, tuple[Times, float]]) -> Figure:
    """Where the time went: one bar a run.

    Args:
        spent: by label, the times and the seconds of the whole run.
    """
    names = ("computing", "synchronising", "reading", "other")
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(PANEL[0] * 1.6, 0.7 + 0.42 * max(1, len(spent))), layout="constrained")
        axes = figure.subplots()
        left = np.zeros(len(spent))
        rows = np.arange(len(spent))[::-1]
        for name, colour in zip(names, (SERIES[0], SERIES[1], SERIES[2], LIGHT["muted"])):
            widths = np.array([_seconds_of(name, times, total) for times, total in spent.values()])
            axes.barh(rows, widths, 0.62, left, color=colour, edgecolor=LIGHT["card"], linewidth=1.5, label=name)
            left += widths
        axes.set_yticks(rows, [_plain(label) for label in spent])
        axes.set_xlabel("seconds")
        axes.xaxis.set_major_locator(MaxNLocator(6))
        axes.grid(visible=False)
        figure.legend(loc="outside upper left", ncols=4, handlelength=0.9, handleheight=0.9, fontsize=9)
    return figure


def sample_grid(images: np.ndarray, predicted: Sequence[str], actual: Sequence[str], *, columns: int = 8) -> Figure:
    """Images with what was predicted, and what is true where that differs.

    Args:
        images: uint8 [n, 3, H, W]. predicted, actual: n labels.
    """
    count = len(images)
    columns = max(1, min(columns, count))
    rows = max(1, math.ceil(count / columns))
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(1.15 * columns, 1.5 * rows), layout="constrained")
        for position, axes in enumerate(figure.subplots(rows, columns, squeeze=False).flat):
            axes.set_axis_off()
            if position < count:
                right = predicted[position] == actual[position]
                axes.imshow(images[position].transpose(1, 2, 0), interpolation="nearest")
                text = f"✓ {predicted[position]}" if right else f"✗ {predicted[position]}\n  is {actual[position]}"
                axes.set_title(text, fontsize=8, loc="left", color=LIGHT["good" if right else "bad"])
    return figure


def png(figure: Figure, *, dots_per_inch: int = 150) -> bytes:
    """A figure as PNG, in the light colours."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dots_per_inch)
    return buffer.getvalue()


def svg(figure: Figure) -> str:
    """A figure as an SVG document, in the light colours."""
    return _svg(figure, salt="echelon")


def inline_svg(figure: Figure, title: str, *, salt: str) -> str:
    """A figure as an <svg> element that takes colours and font from its page and fills its width.

    Args:
        title: what a screen reader says. salt: makes its element ids differ from those of the page's other figures.
    """
    text = _svg(figure, salt)
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    # Groups are called figure_1, axes_1, … in every figure, and nothing refers to them.
    text = re.sub(r'<g id="[^"]*"', "<g", text)
    box = re.search(r'viewBox="[^"]+"', text)
    root = f'<svg class="plot" role="img" aria-label="{escape(title)}" {box[0] if box else ""}>'
    return themed(root + text[text.index(">") + 1 :])


def image_png(image: np.ndarray) -> bytes:
    """An image (uint8 [3, H, W], or [1, H, W] for grey) as PNG."""
    from matplotlib.image import imsave

    buffer = io.BytesIO()
    pixels = np.repeat(image, 3, axis=0) if len(image) == 1 else image
    imsave(buffer, np.ascontiguousarray(pixels.transpose(1, 2, 0)), format="png")
    return buffer.getvalue()


def _svg(figure: Figure, salt: str) -> str:
    buffer = io.StringIO()
    with matplotlib.rc_context({**_STYLE, "svg.hashsalt": salt, "svg.id": None}):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    return buffer.getvalue()


def _draw(axes: Axes, line: Line, factor: float) -> None:
    x, y = np.asarray(line.x, float) / factor, np.asarray(line.y, float)
    if line.low is not None and line.high is not None:
        axes.fill_between(x, line.low, line.high, color=line.colour, alpha=0.16, linewidth=0)
    at = _thinned(y)
    style = (0, (4, 2)) if line.dashed else "-"
    axes.plot(x[at], y[at], color=line.colour, linewidth=1 if line.faint else 2, alpha=0.35 if line.faint else 1,
              linestyle=style, solid_capstyle="round", label=_plain(line.label))  # fmt: skip
    finite = np.flatnonzero(np.isfinite(y))
    if len(finite) and not line.faint:
        axes.plot(x[finite[-1]], y[finite[-1]], "o", color=line.colour, markersize=5.5,
                  markeredgecolor=LIGHT["card"], markeredgewidth=1.2, clip_on=False)  # fmt: skip


def _dress(axes: Axes, lines: Sequence[Line], label: str, log: bool) -> None:
    axes.set_xlabel(label)
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.set_xlim(left=0)
    axes.margins(y=0.08)
    if not log:
        axes.yaxis.set_major_locator(MaxNLocator(5))
    for ticks in (axes.xaxis, axes.yaxis) if not log else (axes.xaxis,):
        if max((abs(v) for v in ticks.get_view_interval()), default=0) >= 10_000:
            ticks.set_major_formatter(EngFormatter(sep=""))
    named = [handle for handle in axes.get_lines() if not str(handle.get_label()).startswith("_")]
    named = [handle for handle, line in zip(named, lines, strict=True) if not line.faint]
    if len(named) > 1:
        axes.legend(named, [str(handle.get_label()) for handle in named], loc="lower left", bbox_to_anchor=(0, 1),
                    ncols=3, handlelength=1.2, borderpad=0, borderaxespad=0.3, fontsize=9)  # fmt: skip


def _thinned(y: np.ndarray) -> np.ndarray:
    """Positions of at most `MOST_POINTS` values that keep the extremes and the ends, so that no spike is lost."""
    if len(y) <= MOST_POINTS:
        return np.arange(len(y))
    kept = {0, len(y) - 1}
    for chunk in np.array_split(np.arange(len(y)), MOST_POINTS // 2 - 1):
        lowest = np.argmin(np.where(np.isfinite(y[chunk]), y[chunk], np.inf))
        highest = np.argmax(np.where(np.isfinite(y[chunk]), y[chunk], -np.inf))
        kept |= {int(chunk[lowest]), int(chunk[highest])}
    return np.array(sorted(kept))


def _scale(axis: Axis, largest: float) -> tuple[float, str]:
    if axis == "seconds":
        return format.unit_of_seconds(largest)
    return format.unit_of_bytes(largest) if axis == "bytes" else (1.0, axis)


def _seconds_of(name: str, times: Times, total: float) -> float:
    return times.other(total) if name == "other" else float(getattr(times, name))


def _plain(label: str) -> str:
    """A label that matplotlib shows: it hides those that begin with an underscore."""
    return f"\u200a{label}" if label.startswith("_") else label
