"""The files that a user means by one URL."""

from __future__ import annotations

from urllib.parse import urlsplit

from echelon.data.storage import Entry, Storage, open_storage


def files_at(url: str) -> tuple[Storage, list[Entry]]:
    """The files at a URL, which is that of a folder or of one file, and the storage that their paths are within.

    Raises:
        DataError: the URL is not understood. StorageError: its storage cannot be reached.
    """
    parts = urlsplit(url) if "://" in url else None
    above, _, name = (parts.path if parts else url).rstrip("/").rpartition("/")
    parent = parts._replace(path=above).geturl() if parts else above or ("/" if url.startswith("/") else ".")
    # Far away, where a question takes long, most folders have no dot in their names.
    if name and (parts is None or "." in name) and (one := _one(parent, name)):
        return one
    storage = open_storage(url)
    entries = storage.list()
    return (not entries and name and _one(parent, name)) or (storage, entries)


def _one(parent: str, name: str) -> tuple[Storage, list[Entry]] | None:
    storage = open_storage(parent)
    return (storage, [Entry(name, storage.size(name))]) if storage.exists(name) else None
