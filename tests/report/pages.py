"""What is looked at: tables as text, and pages, of which some things hold always."""

from __future__ import annotations

import io
import re
from html.parser import HTMLParser

from rich.console import Console, RenderableType

_EMPTY = {"area", "base", "br", "col", "hr", "img", "input", "link", "meta", "source", "wbr"}


class _Elements(HTMLParser):
    """Counts elements, collects addresses, and knows whether each element that is opened is closed."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []
        self.addresses: list[str] = []
        self.ids: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)
        values = dict(attrs)
        self.addresses += [values[name] or "" for name in ("src", "href", "xlink:href") if name in values]
        self.ids += [values["id"] or ""] if "id" in values else []
        if tag not in _EMPTY:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in _EMPTY:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def checked(page: str) -> str:
    """The page, if it is as every page must be."""
    elements = _Elements(page)
    assert not elements.open, "an element was left open"
    assert all(address.startswith(("#", "data:")) for address in elements.addresses), "it asks for something outside"
    assert not re.search(r"url\((?!#)|@import", page), "a style asks for something outside"
    assert not {"script", "link", "iframe", "object"} & set(elements.seen)
    assert len(elements.ids) == len(set(elements.ids)), "two elements have the same id"
    return page


def text_of(table: RenderableType, width: int = 160) -> str:
    """A table as it is printed."""
    file = io.StringIO()
    Console(file=file, width=width, color_system=None).print(table)
    return file.getvalue()
