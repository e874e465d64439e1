"""Published files brought to a folder, each of them whole and verified, or not at all."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from itertools import count
from pathlib import Path

from echelon.download.file import File, fault_of
from echelon.download.limits import USUAL, Limits
from echelon.download.part import Part
from echelon.download.transfer import OnProgress, OnRequest, Progress, transfer
from echelon.errors import DataError

_log = logging.getLogger(__name__)


def fetch(
    file: File,
    folder: str | os.PathLike[str],
    *,
    limits: Limits = USUAL,
    on_progress: OnProgress | None = None,
    on_request: OnRequest | None = None,
) -> Path:
    """Brings a file to a folder; where it is.

    A whole file that is there already is not fetched again. What came before a connection broke, or the process was
    killed, is kept as NAME.part, and the next call goes on from there. A file with another checksum than the published
    one is put aside as NAME.wrong, or NAME.wrong-2 and so on where there is one.

    Args:
        on_progress: called in this thread, for each piece. on_request: called in this thread with each address before
            it is asked, those of repetitions and redirects too; it may wait, and what it raises ends the download.

    Raises:
        DataError: what came is not the published file, or is too large. Unreachable: the server cannot be reached,
        breaks off again and again, or is busy. StorageError: the disk is full. Refused: the server does not give it.
        EchelonError: another process is at it, or urllib3 is not installed.
    """
    home = Path(folder)
    target = home / file.name
    if target.is_file():
        fault = fault_of(target, file)
        if fault is None:
            return target
        _log.warning("%s is not the published file (%s): put aside as %s", target, fault, _put_aside(target).name)
    with Part.of(file, home) as part:
        # Another process may have brought it since it was looked for.
        if target.is_file() and fault_of(target, file) is None:
            part.discard()
            return target
        transfer(part, limits, on_progress or _ignore, on_request or _ignore)
        part.flush()
        fault = fault_of(part.path, file)
        if fault is not None:
            wrong = _aside(target)
            part.move_to(wrong)
            raise DataError(
                f"what {file.shown_url} gave is not the published file, {fault}: it was put aside as {wrong}. Run this "
                "again to fetch it anew, or from another address"
            )
        part.move_to(target)
    return target


def fetch_all(
    files: Iterable[File],
    folder: str | os.PathLike[str],
    *,
    limits: Limits = USUAL,
    on_progress: OnProgress | None = None,
) -> list[Path]:
    """Brings files to a folder, one after the other; where they are.

    Stops at the first that cannot be had. Those before it are done, so calling this again goes on there.

    Raises:
        EchelonError: two files have one name, or as in `fetch`.
    """
    wanted = list(files)
    names = [file.name for file in wanted]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DataError(f"these files would overwrite each other: {', '.join(twice)}. Give each a name of its own")
    return [fetch(file, folder, limits=limits, on_progress=on_progress) for file in wanted]


def _aside(path: Path) -> Path:
    """A name that nothing has yet, since what was put aside before may be somebody's only copy."""
    wrong = path.with_name(f"{path.name}.wrong")
    for number in count(2):
        if not wrong.exists():
            break
        wrong = path.with_name(f"{path.name}.wrong-{number}")
    return wrong


def _put_aside(path: Path) -> Path:
    aside = _aside(path)
    os.replace(path, aside)
    return aside


def _ignore(progress: Progress | str) -> None:
    """Nobody is watching."""
