"""A page of nothing but pictures, with what a model made of each.

Raises on import:
    EchelonError: matplotlib or jinja2 is not installed.
"""

from __future__ import annotations

from collections.abc import Sequence

from echelon.report.exhibits import Gallery
from echelon.report.render import render


def contact_sheet(title: str, labels: Sequence[str], galleries: Sequence[Gallery]) -> str:
    """The page, as HTML. labels: a few words each, below the title."""
    return render("sheet.html", title=title, labels=labels, galleries=galleries, axes=())
