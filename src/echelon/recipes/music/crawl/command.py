"""`echelon music crawl`."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import typer

from echelon.download.progress import shown
from echelon.download.visitor import POLITE, Visitor, host_of
from echelon.errors import EchelonError
from echelon.recipes.music.crawl.archive import ARCHIVES, collect_archive
from echelon.recipes.music.crawl.collect import Wanted, collect
from echelon.recipes.music.crawl.lists import ENDINGS, is_list, tracks_in
from echelon.recipes.music.crawl.page import genre_page
from echelon.recipes.music.crawl.shelf import Shelf
from echelon.recipes.music.crawl.tally import Tally
from echelon.recipes.music.crawl.track import Track
from echelon.recipes.music.crawl.walk import tracks_listed

_log = logging.getLogger(__name__)
_SOURCES = (
    "address of a page that lists songs as the Free Music Archive does, such as https://freemusicarchive.org with "
    f"--genre; a list of addresses ({', '.join(ENDINGS)}); or {' or '.join(ARCHIVES)}"
)


def crawl(
    listing: Annotated[str, typer.Argument(help=_SOURCES, metavar="LISTING")],
    folder: Annotated[Path, typer.Argument(help="folder for the songs and their manifest.jsonl", metavar="DIR")],
    genre: Annotated[str | None, typer.Option(help="only songs of this genre, such as Jazz (default: any)")] = None,
    count: Annotated[int, typer.Option(help="songs that are wanted; those there from before count", min=1)] = 20,
    pages: Annotated[int, typer.Option(help="pages of the listing to look at, at most", min=1)] = 50,
    pause: Annotated[
        float,
        typer.Option(help="seconds between requests to a host; more if its robots.txt asks for it", min=0),
    ] = 1.0,
    most_mb: Annotated[float, typer.Option(help="size of a song, at most, in MB", min=0.001)] = 100.0,
    licences: Annotated[bool, typer.Option(help="ask the page of each song for its licence")] = True,
    host: Annotated[
        list[str] | None, typer.Option(help="another host that songs may come from, beside that of the listing")
    ] = None,
    mirror: Annotated[
        str | None, typer.Option(help=f"{' or '.join(ARCHIVES)}: another address with the same files below it")
    ] = None,
) -> str:
    """Fetches songs politely: of a listing, of a list of addresses, or out of a public archive.

    robots.txt is obeyed, and nothing is asked of other hosts. What was cut off goes on with the next call; what is
    whole is not fetched again. What is left out is counted, and told one by one in skipped.jsonl.
    """
    if mirror is not None and listing not in ARCHIVES:
        raise EchelonError(f"--mirror {mirror} is for {' and '.join(ARCHIVES)}: leave it out, or give one of these")
    if not (listing in ARCHIVES or is_list(listing) or listing.startswith(("http://", "https://"))):
        raise EchelonError(f"'{listing}' is nothing to get songs from: give the {_SOURCES}")
    wanted = Wanted(count, genre, int(most_mb * 1e6), licences)
    with Shelf.at(folder) as shelf, Tally(folder) as tally:
        try:
            with shown(passing=True) as show:
                if listing in ARCHIVES:
                    archive = ARCHIVES[listing].at(mirror) if mirror else ARCHIVES[listing]
                    collect_archive(archive, folder / "archives", shelf, wanted, tally, show)
                else:
                    visitor, tracks = _offered(listing, pause, pages, host or [], wanted, tally)
                    collect(tracks, shelf, visitor, wanted, tally, show)
        except EchelonError as error:
            raise EchelonError(f"{error}\n{tally.told()}" if tally.seen else str(error)) from error
        except KeyboardInterrupt:
            _log.warning("interrupted; run it again to go on\n%s", tally.told())
            raise
        if not tally.kept:
            raise EchelonError(f"there is no song to keep in {listing}\n{tally.told()}")
        more = "" if tally.kept == count else f"{listing} offers no more than these, of {count:,} that were wanted.\n"
        return f"{tally.told()}\n{more}Go on with:\n  echelon music prepare {folder} DATASET"


def _offered(
    listing: str, pause: float, pages: int, hosts: list[str], wanted: Wanted, tally: Tally
) -> tuple[Visitor, Iterator[Track]]:
    """The songs that a listing or a list offers, and what may ask for them.

    Raises:
        EchelonError: the list cannot be read, or the address is none.
    """
    limits = replace(POLITE, most_bytes=wanted.most_bytes)
    if is_list(listing):
        tracks = tracks_in(
            Path(listing), lambda place, fault: tally.skip(place, "it has no address in the list", fault)
        )
        return Visitor([*hosts, *_hosts_of(tracks)], pause=pause, limits=limits), iter(tracks)
    visitor = Visitor([listing, *hosts], pause=pause, limits=limits)
    first = listing
    if wanted.genre is not None and not urlsplit(listing).path.strip("/"):
        first = genre_page(listing, wanted.genre)
    return visitor, tracks_listed(visitor, first, pages, tally)


def _hosts_of(tracks: list[Track]) -> Iterator[str]:
    """The hosts that a list names itself; what is no address is told of when it is asked for."""
    for url in (url for track in tracks for url in (track.url, track.page) if url):
        with suppress(EchelonError):
            yield host_of(url)
