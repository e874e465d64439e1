"""Drawing: lines as SVG and images as PNG, for pages.

Figures are made without pyplot, so that no state outlives a call and no display is needed.

Raises on import:
    EchelonError: matplotlib is not installed.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any, Literal

import numpy as np

from echelon.errors import EchelonError
from echelon.report import format
from echelon.report.palette import LIGHT, SERIES, themed

try:
    import matplotlib
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis as Ticks
    from matplotlib.figure import Figure
    from matplotlib.ticker import EngFormatter, FuncFormatter, LogLocator, MaxNLocator, NullLocator
except ImportError as error:
    raise EchelonError("plots need matplotlib: pip install 'echelon[report]'") from error

PANEL = (5.0, 2.75)
MARGINS = {"left": 0.12, "right": 0.975, "bottom": 0.175, "top": 0.96}
"""Fixed, so that the plots of a page are in line; a computed layout takes three times as long."""
TOP_UNDER_LEGEND = 0.9

MOST_POINTS = 400
FILE_DPI = 160
STYLE: Any = {
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


@dataclass(frozen=True)
class Look:
    """How a plot is drawn.

    log_x, log_y: logarithmic axes; positions and values must be greater than zero. from_zero: the y axis begins at
    zero, where differences would else look larger than they are. legend: whether lines are named, if there are several.
    """

    log_x: bool = False
    log_y: bool = False
    from_zero: bool = False
    legend: bool = True


PLAIN = Look()


def line_figure(
    lines: Sequence[Line],
    axis: str,
    *,
    references: Sequence[Reference] = (),
    marks: Sequence[float] = (),
    look: Look = PLAIN,
) -> Figure:
    """Lines against steps, seconds, epochs or bytes, or what else the axis is called.

    Args:
        marks: positions on the x axis of what interrupted the run.
    """
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=PANEL)
        figure.subplots_adjust(**MARGINS)
        axes = figure.subplots()
        factor, label = _scale(axis, max((x for line in lines for x in line.x), default=0.0))
        for mark in marks:
            axes.axvline(mark / factor, color=LIGHT["bad"], linewidth=1, linestyle=(0, (1, 2)))
        for reference in references:
            _refer(axes, reference)
        for line in lines:
            _draw(axes, line, factor)
        _dress(axes, label, look)
        if look.legend:
            _name(axes, lines)
    return figure


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


def figure_file(figure: Figure, kind: Literal["png", "pdf"]) -> bytes:
    """A figure as a file, the same for the same figure."""
    buffer = io.BytesIO()
    dates: dict[str, Any] = {"Software": None} if kind == "png" else {"CreationDate": None, "Producer": None}
    with matplotlib.rc_context(STYLE):
        figure.savefig(buffer, format=kind, dpi=FILE_DPI, metadata=dates)
    return buffer.getvalue()


def image_png(image: np.ndarray) -> bytes:
    """An image (uint8 [3, H, W], or [1, H, W] for grey) as PNG."""
    from matplotlib.image import imsave

    buffer = io.BytesIO()
    pixels = np.repeat(image, 3, axis=0) if len(image) == 1 else image
    imsave(buffer, np.ascontiguousarray(pixels.transpose(1, 2, 0)), format="png")
    return buffer.getvalue()


def _svg(figure: Figure, salt: str) -> str:
    buffer = io.StringIO()
    with matplotlib.rc_context({**STYLE, "svg.hashsalt": salt, "svg.id": None}):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    return buffer.getvalue()


def _refer(axes: Axes, reference: Reference) -> None:
    if not math.isfinite(reference.value):
        return
    axes.axhline(reference.value, color=LIGHT["muted"], linewidth=1.2, linestyle=(0, (5, 3)))
    axes.annotate(reference.label, (1, reference.value), xycoords=axes.get_yaxis_transform(), ha="right",
                  textcoords="offset points", xytext=(0, 3), color=LIGHT["muted"], fontsize=9)  # fmt: skip


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


def _dress(axes: Axes, label: str, look: Look) -> None:
    axes.set_xscale("log" if look.log_x else "linear")
    axes.set_yscale("log" if look.log_y else "linear")
    axes.set_xlabel(label)
    axes.margins(y=0.08)
    for ticks, log in ((axes.xaxis, look.log_x), (axes.yaxis, look.log_y)):
        if log:
            _dress_log(ticks)
        else:
            ticks.set_major_locator(MaxNLocator(5))
            largest = max(abs(value) for value in ticks.get_view_interval())
            if largest >= 10_000:
                ticks.set_major_formatter(EngFormatter(sep=""))
            elif largest < 0.001:
                ticks.set_major_formatter(FuncFormatter(_short))
    if not look.log_x:
        axes.set_xlim(left=0)
    if look.from_zero:
        axes.set_ylim(bottom=0)


def _dress_log(ticks: Ticks) -> None:
    """Plain numbers at the powers of ten; on a short axis at twice and five times these too."""
    low, high = ticks.get_view_interval()
    subs = (1.0, 2.0, 5.0) if high / max(low, 1e-300) < 1000 else (1.0,)
    ticks.set_major_locator(LogLocator(subs=subs, numticks=8))
    ticks.set_major_formatter(FuncFormatter(_short))
    ticks.set_minor_locator(NullLocator())


def _short(value: float, position: int | None = None) -> str:
    return f"{value:g}"


def _name(axes: Axes, lines: Sequence[Line]) -> None:
    handles = [handle for handle in axes.get_lines() if not str(handle.get_label()).startswith("_")]
    named = [handle for handle, line in zip(handles, lines, strict=True) if not line.faint]
    if len(named) > 1:
        axes.figure.subplots_adjust(top=TOP_UNDER_LEGEND)
        axes.legend(named, [str(handle.get_label()) for handle in named], loc="lower left", bbox_to_anchor=(0, 1.01),
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


def _scale(axis: str, largest: float) -> tuple[float, str]:
    if axis == "seconds":
        return format.unit_of_seconds(largest)
    return format.unit_of_bytes(largest) if axis == "bytes" else (1.0, axis)


def _plain(label: str) -> str:
    """A label that matplotlib shows: it hides those that begin with an underscore."""
    return f"\u200a{label}" if label.startswith("_") else label
