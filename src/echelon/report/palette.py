"""The colours of plots and pages, light and dark.

Plots are drawn with the light ones. In a plot that is put into a page each becomes a CSS variable, so that one plot
serves both themes.
"""

from __future__ import annotations

LIGHT = {
    "page": "#f6f6f4",
    "card": "#fefefe",
    "ink": "#17191e",
    "muted": "#626973",
    "line": "#e2e4e7",
    "good": "#127a4a",
    "bad": "#c2362f",
    "series-1": "#2f6fde",
    "series-2": "#e0662c",
    "series-3": "#17a07a",
    "series-4": "#8a4fd3",
    "series-5": "#c99700",
    "series-6": "#d6457f",
}
DARK = {
    "page": "#0f1216",
    "card": "#171b21",
    "ink": "#e9ebee",
    "muted": "#98a1ad",
    "line": "#2a3038",
    "good": "#4cc38a",
    "bad": "#ff7b72",
    "series-1": "#6aa3ff",
    "series-2": "#ff9257",
    "series-3": "#3fd0a5",
    "series-4": "#b993f5",
    "series-5": "#e6bd3f",
    "series-6": "#f583ae",
}
SERIES = tuple(colour for name, colour in LIGHT.items() if name.startswith("series"))


def themed(svg: str) -> str:
    """A drawing in the light colours as one that follows the CSS variables of its page."""
    for name, colour in LIGHT.items():
        svg = svg.replace(colour, f"var(--{name})")
    return svg


def css(colours: dict[str, str]) -> str:
    """Declarations of the CSS variables."""
    return "".join(f"--{name}:{colour};" for name, colour in colours.items())
