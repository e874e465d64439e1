"""Values as people read them. A missing value is an em dash."""

from __future__ import annotations

import math
from datetime import datetime, tzinfo
from urllib.parse import unquote

MISSING = "—"
_BYTES = ("B", "kB", "MB", "GB", "TB", "PB")


def number(value: float | None) -> str:
    """A count or a rate: thousands apart, no more than three significant digits below ten."""
    if value is None or math.isnan(value):
        return MISSING
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    return f"{value:,.0f}" if float(value).is_integer() or abs(value) >= 10 else f"{value:.3g}"


def metric(value: float | None) -> str:
    """A metric or a loss: four decimals where that says something, whole thousands apart, else four digits."""
    if value is None:
        return MISSING
    if value == 0 or 1e-3 <= abs(value) < 1e3:
        return f"{value:.4f}"
    if 1e3 <= abs(value) < 1e9:
        return f"{value:,.0f}"
    return f"{value:.4g}"


def cell(value: str | float) -> str:
    """What stands in a table of figures: a text as it is, a count, or a metric."""
    if isinstance(value, str):
        return value
    return number(value) if isinstance(value, int) else metric(value)


def seconds(value: float | None) -> str:
    """A duration, in the two units that matter."""
    if value is None or math.isnan(value):
        return MISSING
    if math.isinf(value):
        return "never"
    if value < 59.95:
        return f"{value:.2f} s" if value < 9.995 else f"{value:.1f} s"
    minutes, rest = divmod(round(value), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def size(value: float | None) -> str:
    """Bytes, in decimal units."""
    if value is None or math.isnan(value):
        return MISSING
    if math.isinf(value):
        return "never"
    power = min(int(math.log10(value) / 3), len(_BYTES) - 1) if value >= 1 else 0
    scaled = value / 1000**power
    return f"{scaled:.0f} {_BYTES[power]}" if not power or scaled >= 100 else f"{scaled:.3g} {_BYTES[power]}"


def percent(part: float, whole: float) -> str:
    """A share of a whole."""
    return f"{100 * part / whole:.1f} %" if whole > 0 else MISSING


def unit_of_seconds(largest: float) -> tuple[float, str]:
    """What to divide seconds by on an axis that ends at `largest`, and the name of the result."""
    if largest >= 2 * 3600:
        return 3600.0, "hours"
    return (60.0, "minutes") if largest >= 300 else (1.0, "seconds")


def unit_of_bytes(largest: float) -> tuple[float, str]:
    """What to divide bytes by on an axis that ends at `largest`, and the name of the result."""
    power = min(int(math.log10(largest) / 3), len(_BYTES) - 1) if largest >= 1 else 0
    return 1000.0**power, f"{_BYTES[power]} sent" if power else "bytes sent"


def difference(value: float | None) -> str:
    """A metric less another, with its sign."""
    if value is None:
        return MISSING
    text = metric(abs(value))
    return f"±{text}" if float(text.replace(",", "")) == 0 else f"{'+' if value > 0 else '−'}{text}"


def moment(iso: str | None, zone: tzinfo | None = None) -> str:
    """A stored time of day, to the minute; in the reader's time zone, or in a zone that is then named."""
    if not iso:
        return MISSING
    at = datetime.fromisoformat(iso).astimezone(zone)
    return at.strftime("%Y-%m-%d %H:%M") + (f" {at.tzname()}" if zone else "")


def place(url: str) -> str:
    """A path or URL without its query and its escapes."""
    return unquote(url.partition("?")[0]) if "://" in url else url
