"""The files that a user means by one URL."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from echelon.data.storage import Entry, Storage, open_storage


def files_at(url: str) -> tuple[Storage, list[Entry]]:
    """The files at a URL, that of a folder, of one file or a pattern of these, and the storage that their paths
    are within. In a pattern * stands for any letters of one name, and ** for any folders or files.

    Raises:
        DataError: the URL is not understood. StorageError: its storage cannot be reached.
    """
    parts = urlsplit(url) if "://" in url else None
    if "*" in (parts.path if parts else url):
        return _matching(url)
    above, _, name = (parts.path if parts else url).rstrip("/").rpartition("/")
    parent = parts._replace(path=above).geturl() if parts else above or ("/" if url.startswith("/") else ".")
    # Far away, where a question takes long, most folders have no dot in their names.
    if name and (parts is None or "." in name) and (one := _one(parent, name)):
        return one
    storage = open_storage(url)
    entries = storage.list()
    return (not entries and name and _one(parent, name)) or (storage, entries)


def _matching(pattern: str) -> tuple[Storage, list[Entry]]:
    """Files that match, or lie in a folder that does."""
    fixed, star, rest = pattern.partition("*")
    folder, _, begun = fixed.rpartition("/")
    rest, query, endpoint = (begun + star + rest).partition("?" if "://" in pattern else "\0")
    storage = open_storage((folder or ("/" if fixed.startswith("/") else ".")) + query + endpoint)
    names = "".join({"**": ".*", "*": "[^/]*"}.get(piece, re.escape(piece)) for piece in re.split(r"(\*+)", rest))
    wanted = re.compile(f"{names.rstrip('/')}(/.*)?")
    return storage, [entry for entry in storage.list() if wanted.fullmatch(entry.path)]


def _one(parent: str, name: str) -> tuple[Storage, list[Entry]] | None:
    storage = open_storage(parent)
    return (storage, [Entry(name, storage.size(name))]) if storage.exists(name) else None


def is_hidden(path: str, *, underlined: bool = False) -> bool:
    """Whether a file, or a folder above it, is hidden, as those that desktops leave.

    underlined: whether those that begin with an underline are too, as those that Spark leaves beside tables (_SUCCESS,
    _temporary). Cameras and people give such names to pictures and songs.
    """
    marks = (".", "_") if underlined else (".",)
    return any(part.startswith(marks) for part in path.split("/"))
