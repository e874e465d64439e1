"""The pages of a listing, one after the other."""

from __future__ import annotations

from collections.abc import Iterator

from echelon.download.visitor import Visitor
from echelon.errors import DataError
from echelon.recipes.music.crawl.page import listing_in
from echelon.recipes.music.crawl.tally import Tally
from echelon.recipes.music.crawl.track import Track


def tracks_listed(visitor: Visitor, url: str, most_pages: int, tally: Tally) -> Iterator[Track]:
    """The songs of a listing, once each. A page is asked for when a song of it is; those that lead in a circle, or
    bring nothing new, end the listing.

    Raises:
        EchelonError: a page cannot be had. DataError: the first lists no songs in a form that is known.
    """
    pages: set[str] = set()
    songs: set[str] = set()
    target: str | None = url
    while target is not None and target not in pages and len(pages) < most_pages:
        page = visitor.page(target)
        listing = listing_in(page.content, page.url)
        if not pages and not (listing.tracks or listing.unreadable):
            raise DataError(
                f"{page.url} lists no songs in a form that is known: give a page such as "
                "https://freemusicarchive.org/genre/Jazz/, or a list of addresses"
            )
        pages.add(target)
        for unreadable in listing.unreadable:
            tally.skip(unreadable, "the listing does not say where its sound is")
        new = [track for track in listing.tracks if track.url not in songs]
        for track in new:
            # Pages show some songs twice, in their lists and in their players.
            if track.url not in songs:
                songs.add(track.url)
                yield track
        target = listing.next if new else None
