"""Crawls of a made site, and what they left."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from web import Site

from echelon.recipes.music.crawl import command
from echelon.recipes.music.manifest import Song, songs_of


def crawl(site: Site, folder: Path, listing: str = "/genre/Jazz/", **options) -> str:
    address = listing if "." in listing else site.url + listing
    return command.crawl(address, folder, **{"pause": 0.0, "count": 10, **options})


def manifest(folder: Path) -> dict[str, Song]:
    return songs_of((folder / "manifest.jsonl").read_bytes())


def titles(folder: Path) -> list[str]:
    return [song.title for song in manifest(folder).values()]


def skipped(folder: Path) -> dict[str, str]:
    lines = (folder / "skipped.jsonl").read_text().splitlines()
    return {line["item"].rpartition("/")[2]: line["reason"] for line in map(json.loads, lines)}


def check_whole(folder: Path) -> None:
    """What the manifest says is what lies there, and nothing else does."""
    known = manifest(folder)
    for song in known.values():
        content = (folder / song.file).read_bytes()
        assert (len(content), hashlib.sha256(content).hexdigest()) == (song.bytes, song.sha256)
    assert {path.name for path in folder.iterdir()} == {*known, "manifest.jsonl", "skipped.jsonl"}
