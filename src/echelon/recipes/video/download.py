"""Fetching the public shards of YouTube-8M, by the list of them and of their checksums.

Source: the script that https://research.google.com/youtube8m/download.html names, http://data.yt8m.org/download.py.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from itertools import product
from pathlib import Path
from string import ascii_lowercase, ascii_uppercase, digits
from typing import Annotated, Literal

import typer

from echelon.download.fetch import fetch, fetch_all
from echelon.download.file import File
from echelon.download.limits import USUAL, Limits
from echelon.download.progress import shown
from echelon.download.transfer import OnProgress
from echelon.errors import DataError, EchelonError

PARTS = ("train", "validate", "test")
_HOST = "data.yt8m.org"
_EDITION = 2
_LETTERS = ascii_lowercase + ascii_uppercase + digits
_NUMBERS = {"".join(pair): number for number, pair in enumerate(product(_LETTERS, repeat=2))}

LICENCE = """\
The features are by Google LLC under CC BY 4.0 (https://research.google.com/youtube8m/download.html): name their source
where you publish what you made of them (Abu-El-Haija et al., "YouTube-8M", arXiv:1609.08675).
The names of the labels are in https://research.google.com/youtube8m/csv/2/vocabulary.csv: give them by --vocabulary."""


def download(
    part: Annotated[str, typer.Argument(help=f"{', '.join(PARTS)} or all", metavar="PART")],
    folder: Annotated[Path, typer.Argument(help="folder for it; each level gets one within", metavar="DIR")] = Path(
        "."
    ),
    level: Annotated[
        Literal["frame", "video"], typer.Option(help="frames (1.5 TB in all) or means of videos (31 GB)")
    ] = "video",
    shard: Annotated[
        str, typer.Option(help="X,N for the X-th of N parts of the files, for example 1,100", metavar="X,N")
    ] = "1,1",
    mirror: Annotated[Literal["us", "eu", "asia"], typer.Option(help="the nearest of the hosts")] = "us",
    url: Annotated[str | None, typer.Option(help="another host with the same paths below this address")] = None,
) -> str:
    """Fetches shards of YouTube-8M (2018), verifies each by its published checksum, and says how to go on.

    What was cut off goes on with the next call; what is whole is not fetched again.
    """
    if part not in (*PARTS, "all"):
        raise EchelonError(f"there is no part '{part}' to download; there are: {', '.join(PARTS)} and all")
    home = folder / level
    with shown() as show:
        count = sum(
            len(fetch_part(one, level, home, share=share_of(shard), mirror=mirror, url=url, on_progress=show))
            for one in (PARTS if part == "all" else (part,))
        )
    return f"{count:,} files are in {home}.\n{LICENCE}\nGo on with:\n  echelon video prepare {home} DATASET"


def fetch_part(
    part: str,
    level: str,
    folder: Path,
    *,
    share: tuple[int, int] = (1, 1),
    mirror: str = "us",
    url: str | None = None,
    limits: Limits = USUAL,
    on_progress: OnProgress | None = None,
) -> list[Path]:
    """Brings the shards of a part to a folder; where they are.

    The list of them stays there too, as download-plan-LEVEL-PART.json, so that what goes on goes by the same list.

    Args:
        share: the X-th of N parts of the shards, as the public script draws it. url: of another host.

    Raises:
        DataError: the list is none, or as `fetch_all`. StorageError, EchelonError: as `fetch_all`.
    """
    plans = f"{url.rstrip('/') if url else f'http://{_HOST}'}/{_EDITION}"
    files = f"{url.rstrip('/') if url else f'http://{mirror}.{_HOST}'}/{_EDITION}/{level}/{part}"
    plan = File(f"{plans}/download_plans/{level}_{part}.json", f"download-plan-{level}-{part}.json")
    listed = _listed(fetch(plan, folder, limits=limits, on_progress=on_progress), plan.shown_url)
    wanted = [
        File(f"{files}/{name}", stored_name(name), digest=f"md5:{digest}")
        for name, digest in sorted(listed.items())
        if _in_share(name, share)
    ]
    if not wanted:
        raise DataError(f"of {len(listed)} files none is in the part {share[0]},{share[1]}: take a larger part")
    return fetch_all(wanted, folder, limits=limits, on_progress=on_progress)


def share_of(text: str) -> tuple[int, int]:
    """
    Raises:
        EchelonError: it is not X,N with 1 <= X <= N.
    """
    match = re.fullmatch(r"(\d{1,9}),(\d{1,9})", text.replace(" ", ""))
    if not match or not 1 <= int(match[1]) <= int(match[2]):
        raise EchelonError(f"--shard must be X,N with X from 1 to N, for example 1,100, got {text!r}")
    return int(match[1]), int(match[2])


def stored_name(name: str) -> str:
    """What a shard is called on the disk: train0000 for trainaa, since some disks take trainAa for the same file."""
    match = re.fullmatch(r"([a-z]+)([A-Za-z0-9]{2})\.tfrecord", name)
    return f"{match[1]}{_NUMBERS[match[2]]:04d}.tfrecord" if match else name


def _in_share(name: str, share: tuple[int, int]) -> bool:
    return int(hashlib.md5(name.encode(), usedforsecurity=False).hexdigest(), 16) % share[1] == share[0] - 1


def _listed(path: Path, url: str) -> Mapping[str, str]:
    """The files of a list and their checksums.

    Raises:
        DataError: it is no list; it is put aside, so that the next call fetches another.
    """
    try:
        files = json.loads(path.read_bytes())["files"]
        if files and all(isinstance(text, str) for pair in files.items() for text in pair):
            return dict(files)
    except (ValueError, KeyError, TypeError, AttributeError):
        pass
    wrong = path.with_name(f"{path.name}.wrong")
    path.replace(wrong)
    raise DataError(
        f"what {url} gave is no list of files and checksums: it was put aside as {wrong}. Run this again, or see "
        "whether the address is right"
    )
