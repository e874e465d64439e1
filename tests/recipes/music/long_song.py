"""Reads a short song, then a long one: prints the codes of the long one, and how many more MB it took at its peak."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from echelon.data.division import Division
from echelon.recipes.music.columns import Form
from echelon.recipes.music.listening import Wish
from echelon.recipes.music.options import ENDINGS
from echelon.recipes.music.reading import ReadSongs
from echelon.recipes.music.sources import find_songs
from echelon.spark.prepare import Rows


def codes(path: str) -> int:
    found = find_songs(path, ENDINGS, Division(0, 0))
    read = ReadSongs(found.storage, Form(16_000, 8192, 2048, True), Wish(16_000), 0.1)
    rows = (one.values for one in read(found.songs) if isinstance(one, Rows))
    return sum(len(window) - context for of in rows for window, context in zip(of["samples"], of["context"]))


def resident(what: str) -> int:
    """MB of this process: VmRSS now, VmHWM at most since `forget`."""
    found = re.search(rf"{what}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1]) // 1024


def forget() -> None:
    """The peak counts from here on, see proc(5): that of the imports is higher."""
    Path("/proc/self/clear_refs").write_text("5")


if __name__ == "__main__":
    short, long = sys.argv[1:]
    codes(short)
    forget()
    before = resident("VmRSS")
    print(codes(long), resident("VmHWM") - before)
