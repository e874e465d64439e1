"""The HTML of pages that list songs, as those of the Free Music Archive do.

Their shape is not published. Each song of a listing is an element with the attribute data-track-info, whose value is
JSON with title, artistName, url (the page of the song), fileName, fileUrl and playbackUrl; within it, links in an
element of the class ptxt-genre name its genres. The next page is the same address with another ?page=. Licences are
links to creativecommons.org on the page of a song. Whatever else changes there, only this module has to follow.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote, urldefrag, urljoin, urlsplit

from echelon.errors import DataError, EchelonError
from echelon.recipes.music.crawl.track import Track, plain
from echelon.recipes.music.manifest import json_of

if TYPE_CHECKING:
    from bs4 import BeautifulSoup
    from bs4.element import Tag

_INFO, _GENRE, _LINK = "data-track-info", ".ptxt-genre", "a[href], a[rel~=license], link[rel~=license]"
_DEEPEST = 100
"""How many elements may lie in each other. Questions about a page take as many times longer as it is deep."""
_MISSING = "Beautiful Soup or lxml is not installed, which read listings: pip install 'echelon[music]'"
_LICENCE = re.compile(r"https?://(www\.)?creativecommons\.org/(licenses|publicdomain)/", re.IGNORECASE)


@dataclass(frozen=True)
class Listing:
    """What a page lists. next: address of the next page. unreadable: songs whose information is none, as they are."""

    tracks: tuple[Track, ...]
    next: str | None
    unreadable: tuple[str, ...]


def listing_in(content: bytes, url: str) -> Listing:
    """What a page of an address lists. A song whose genres it does not tell has that of the address, /genre/NAME.

    Raises:
        EchelonError: as `_soup`.
    """
    soup = _soup(content)
    genres, links = _by_song(soup.select(_GENRE)), _by_song(soup.select(_LINK))
    tracks, unreadable = [], []
    for item in soup.select(f"[{_INFO}]"):
        said = str(item[_INFO])
        info = json_of(said)
        if not isinstance(info, dict) or not (sound := _text(info, "fileUrl") or _text(info, "playbackUrl")):
            unreadable.append(said)
            continue
        page = _text(info, "url")
        track = Track(
            url=_joined(url, sound),
            title=_text(info, "title"),
            artist=_text(info, "artistName"),
            licence=_licence(links[id(item)]),
            genres=tuple(_genres(genres[id(item)])) or _genre_of(url),
            page=_joined(url, page) if page else "",
            name=_text(info, "fileName"),
        )
        tracks.append(track)
    return Listing(tuple(tracks), _next(soup, url), tuple(unreadable))


def licence_in(content: bytes) -> str:
    """The licence that the page of a song names; "" if it names none, or several.

    Raises:
        EchelonError: as `_soup`.
    """
    return _licence(_soup(content).select(_LINK))


def genre_page(site: str, genre: str) -> str:
    """The address that lists a genre: spaces are underlines there, and other signs are left out."""
    return urljoin(site, f"/genre/{re.sub(r'[^A-Za-z0-9_-]', '', genre.replace(' ', '_'))}/")


def _soup(content: bytes) -> BeautifulSoup:
    """
    Raises:
        EchelonError: Beautiful Soup or lxml is not installed. DataError: it is deeper than pages are.
    """
    try:
        from bs4 import BeautifulSoup
        from bs4.element import Tag
        from bs4.exceptions import FeatureNotFound
    except ImportError:
        raise EchelonError(_MISSING) from None
    try:
        # Python's own parser takes days for some pages of 4 MB: its time grows with the square of what is not closed.
        soup = BeautifulSoup(content, "lxml")
    except FeatureNotFound:
        raise EchelonError(_MISSING) from None
    depths = {id(soup): 0}
    for tag in soup.descendants:
        if isinstance(tag, Tag):
            depths[id(tag)] = depth = depths[id(tag.parent)] + 1
            if depth > _DEEPEST:
                raise DataError(f"more than {_DEEPEST} elements of the page lie in each other, so it is not read")
    return soup


def _by_song(tags: Iterable[Tag]) -> defaultdict[int, list[Tag]]:
    """Elements by the identity of the song's element that they lie in, the nearest; each is looked at once."""
    of: defaultdict[int, list[Tag]] = defaultdict(list)
    for tag in tags:
        if (item := next((above for above in tag.parents if above.has_attr(_INFO)), None)) is not None:
            of[id(item)].append(tag)
    return of


def _text(info: dict[str, Any], key: str) -> str:
    value = info.get(key)
    return plain(value) if isinstance(value, str) else ""


def _genres(places: Iterable[Tag]) -> Iterator[str]:
    for place in places:
        links = [link.get_text(" ", strip=True) for link in place.select("a")]
        yield from filter(None, map(plain, links or place.get_text(" ").split(",")))


def _genre_of(url: str) -> tuple[str, ...]:
    found = re.search(r"/genre/([^/]+)", urlsplit(url).path)
    return (unquote(found[1]).replace("_", " "),) if found else ()


def _licence(links: Sequence[Tag]) -> str:
    said = {str(link.get("href", "")) for link in links if "license" in link.get_attribute_list("rel")}
    named = said or {address for link in links if _LICENCE.match(address := str(link.get("href", "")))}
    return named.pop() if len(named) == 1 else ""


def _next(soup: BeautifulSoup, url: str) -> str | None:
    for link in soup.select("a[rel~=next][href], link[rel~=next][href]"):
        return _joined(url, str(link["href"]))
    path, number = _numbered(url)
    for link in soup.select("a[href]"):
        target = _joined(url, str(link["href"]))
        if _numbered(target) == (path, number + 1):
            return target
    return None


def _joined(url: str, link: str) -> str:
    """An address that a page refers to; as it stands if it is none, so that asking for it says why."""
    try:
        return urldefrag(urljoin(url, link)).url
    except ValueError:
        return link


def _numbered(url: str) -> tuple[str, int]:
    """The path of an address and the number of a page in it; the first has none, and what is no address has 0."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "", 0
    said = parse_qs(parts.query).get("page", ["1"])[-1]
    return parts.path.rstrip("/"), int(said) if re.fullmatch(r"[0-9]{1,9}", said) else 0
