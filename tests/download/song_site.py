"""Pages as the Free Music Archive has them, and sounds for their songs."""

from __future__ import annotations

import html
import io
import json
import wave
from dataclasses import dataclass
from urllib.parse import quote

import numpy as np
from web import Site

CC = "https://creativecommons.org/licenses/by/4.0/"


@dataclass(frozen=True)
class Offer:
    """A song of a listing. sound: its address there. told: whether the listing tells genres, as older pages do."""

    title: str
    sound: str
    artist: str = "Some Body"
    genres: tuple[str, ...] = ("Jazz",)
    name: str | None = None
    told: bool = True


def wav(seed: int, seconds: float = 0.05, rate: int = 8000) -> bytes:
    """A sound file with noise of its own."""
    samples = np.random.default_rng(seed).integers(-3000, 3000, int(seconds * rate), dtype=np.int16)
    content = io.BytesIO()
    with wave.open(content, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(rate)
        sound.writeframes(samples.tobytes())
    return content.getvalue()


def slug_of(offer: Offer) -> str:
    """What it is called in addresses."""
    return quote(offer.title.replace(" ", "_"))


def item(site: Site, offer: Offer) -> str:
    """A song as a page shows it."""
    slug = slug_of(offer)
    info = {
        "id": 1,
        "handle": slug,
        "url": f"{site.url}/music/{slug}/",
        "title": offer.title,
        "artistName": offer.artist,
        "albumTitle": "-",
        "playbackUrl": f"{site.url}/track/{slug}/stream/",
        "fileName": f"{slug}.mp3" if offer.name is None else offer.name,
        "fileUrl": offer.sound if "://" in offer.sound else f"{site.url}{offer.sound}",
    }
    genres = "".join(f'<a href="/genre/{genre}/">{html.escape(genre)}</a>\n' for genre in offer.genres)
    return f"""
<div class="play-item gcol gid-electronic" data-track-info="{html.escape(json.dumps(info))}">
  <span class="playtxt"><span class="ptxt-artist"><a href="/music/x/">{html.escape(offer.artist)}</a></span>
  {f'<span class="ptxt-genre">{genres}</span>' if offer.told else ""}</span><span>02:59</span>
</div>"""


def page(site: Site, offers: list[Offer], *links: str) -> bytes:
    """A listing with links to other pages."""
    items = "".join(item(site, offer) for offer in offers)
    return f"""<!DOCTYPE html><html><head><meta charset="utf-8"><title>Genre</title></head><body>
<div class="playlist playlist-lrg">{items}</div>
<div class="pagination-full"><span class="lf"><b>1</b></span>
{"".join(f'<a href="{link}">page</a>' for link in links)}</div></body></html>""".encode()


def publish(site: Site, offers: list[Offer], path: str = "/genre/Jazz/", each: int = 100) -> None:
    """Puts songs onto a site, with the pages of a listing, so many on each, and a page with a licence for every one."""
    pages = [offers[start : start + each] for start in range(0, len(offers), each)]
    for number, part in enumerate(pages, 1):
        address = path if number == 1 else f"{path}?page={number}"
        links = [f"?page={other}" for other in range(1, len(pages) + 1)]
        site.files[address] = page(site, part, *links)
    for seed, offer in enumerate(offers):
        if "://" not in offer.sound:
            site.files.setdefault(offer.sound, wav(seed))
        site.files[f"/music/{slug_of(offer)}/"] = f'<a rel="license" href="{CC}">CC BY</a>'.encode()


def songs(count: int, genre: str = "Jazz", start: int = 0) -> list[Offer]:
    return [Offer(f"{genre} {n}", f"/files/{genre}/{n}.mp3", genres=(genre,)) for n in range(start, start + count)]
