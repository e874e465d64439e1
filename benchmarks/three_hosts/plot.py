"""The plot of what was found: seconds to the target by network, and accuracy by the clock on the slowest one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from three_hosts.found import Cell, Found, cells

from echelon.report.palette import LIGHT, SERIES

if TYPE_CHECKING:
    from matplotlib.axes import Axes

STYLE = {
    "font.size": 9,
    "svg.hashsalt": "three hosts",
    "text.color": LIGHT["ink"],
    "axes.edgecolor": LIGHT["muted"],
    "axes.labelcolor": LIGHT["ink"],
    "axes.spines.right": False,
    "axes.spines.top": False,
    "xtick.color": LIGHT["muted"],
    "ytick.color": LIGHT["muted"],
}
COLOURS = (LIGHT["ink"], LIGHT["muted"], *SERIES)


def draw(found: Found, path: Path) -> None:
    """Writes it (.svg or .png), on a light ground, so that it is read on light and dark pages.

    Raises:
        SystemExit: matplotlib is not there.
    """
    try:
        import matplotlib
        from matplotlib.figure import Figure
    except ImportError:
        raise SystemExit("plots are drawn by matplotlib: pip install 'echelon[report]'") from None
    table = cells(found)
    names = list(dict.fromkeys(cell.strategy for cell in table))
    colours = dict(zip(names, COLOURS, strict=False))
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(10, 4.4), layout="constrained", facecolor=LIGHT["card"])
        left, right = figure.subplots(1, 2)
        _bars(left, table, colours)
        _curves(right, found, colours)
        figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=4, frameon=False)
        figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None, dpi=130)


def _bars(axes: Axes, table: Sequence[Cell], colours: dict[str, str]) -> None:
    networks = list(dict.fromkeys(cell.network for cell in table))
    width = 0.85 / len(colours)
    for number, (name, colour) in enumerate(colours.items()):
        own = [cell for cell in table if cell.strategy == name]
        places = [networks.index(cell.network) + number * width - 0.42 for cell in own]
        bars = axes.bar(places, [cell.training for cell in own], 0.92 * width, align="edge", color=colour,
                        label=label_of(name))  # fmt: skip
        axes.bar_label(bars, [f"{'' if cell.reached else '>'}{cell.training:.0f}" for cell in own], padding=1,
                       fontsize=7, color=LIGHT["ink"])  # fmt: skip
    axes.set_xticks(range(len(networks)), [network_label(net) for net in networks])
    axes.set_ylabel("seconds of training to the target")


def _curves(axes: Axes, found: Found, colours: dict[str, str]) -> None:
    """The first round, on the network on which the slowest strategy takes longest."""
    slowest = max(cells(found), key=lambda cell: cell.training).network
    for each in found.measured:
        if (each.network, each.round) == (slowest, 0):
            points = each.training.points
            axes.plot([point.training for point in points], [point.accuracy for point in points], linewidth=1.6,
                      color=colours[each.strategy])  # fmt: skip
    axes.axhline(found.setting.target, color=LIGHT["muted"], linewidth=1, linestyle=(0, (5, 3)))
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_major_formatter(lambda share, _: f"{100 * share:.0f} %")
    axes.set_xlabel(f"seconds of training ({network_label(slowest)})")
    axes.set_ylabel("accuracy on the test images")


def network_label(name: str) -> str:
    return f"{int(name):,} Mbit/s" if name.isdigit() else name


def label_of(strategy: str) -> str:
    """A strategy as it is written in text."""
    match strategy.split("-"):
        case ["averaging", every]:
            return f"Averaging, τ = {every}"
        case ["diloco", exchange, every]:
            return f"DiLoCo, H = {every}, {exchange}"
    return "AllReduce"
