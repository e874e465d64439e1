"""A song that is offered somewhere, before it is fetched."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from echelon.errors import DataError

SUFFIXES = (".mp3", ".ogg", ".flac", ".wav")
_MOST_BYTES = 180
"""Of a name, to which a number, a suffix and what downloads add come; file systems take 255."""


@dataclass(frozen=True)
class Track:
    """A song that is offered. Texts that are not known are empty.

    url: of the sound. licence: an address or a name. page: an address that tells about it. name: that its file has
    there.
    """

    url: str
    title: str = ""
    artist: str = ""
    licence: str = ""
    genres: tuple[str, ...] = ()
    page: str = ""
    name: str = ""

    def is_of(self, genre: str) -> bool:
        """Whether it is of a genre; capitals, spaces and hyphens do not count."""
        return letters_of(genre) in map(letters_of, self.genres)


def letters_of(text: str) -> str:
    """What two spellings of one name have in common."""
    return "".join(letter for letter in text.casefold() if letter.isalnum())


def plain(text: str) -> str:
    """A text on one line that can be stored: without control characters, and without halves of letters."""
    return " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())


def stem_of(track: Track) -> str:
    """The name of its file in a folder, without the suffix: told by the song, and always the same for one address.

    Raises:
        DataError: the name that it has there would lead out of the folder, or hide the file.
    """
    name = track.name or _last_of(track.url)
    if name and any(part.startswith(".") or re.fullmatch(r"([A-Za-z]:)?", part) for part in re.split(r"[/\\]", name)):
        raise DataError(f"the name {name!r} would lead out of the folder, or hide the file")
    if not track.name and (track.artist or track.title):
        name = " - ".join(filter(None, (track.artist, track.title)))
    stem = name[: -len(suffix)] if (suffix := _suffix_of(name)) else name
    readable = re.sub(r"[^\w.()'&,+-]+", "_", stem).strip("._")
    readable = readable.encode()[:_MOST_BYTES].decode(errors="ignore")
    number = hashlib.sha256(track.url.encode("utf-8", "surrogatepass")).hexdigest()[:10]
    return f"{readable or 'song'}-{number}"


def _last_of(url: str) -> str:
    """The last part of an address that says something; "" of what is no address, as will be told when it is asked."""
    try:
        parts = [part for part in urlsplit(url).path.split("/") if part]
    except ValueError:
        return ""
    return unquote(parts[-1]) if parts else ""


def _suffix_of(name: str) -> str:
    return next((suffix for suffix in SUFFIXES if name.lower().endswith(suffix)), "")
