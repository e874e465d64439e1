"""Images travel as places or in the smaller form, and arrive as they would be decoded at once."""

from __future__ import annotations

import io
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from echelon.data.cells import decode, encode
from echelon.data.storage import Storage, open_storage
from echelon.recipes.images.batches import Stored, decoded
from echelon.recipes.images.rows import Problem, Rows
from echelon.recipes.images.travelling import CONVERTED, finish, travelling
from echelon.recipes.pixels.decode import decode as decode_image
from echelon.recipes.pixels.places import Place
from echelon.spark import prepare as spark


def jpeg(seed: int, mode: str = "RGB", side: int = 40) -> bytes:
    shape = (side, side) if mode == "L" else (side, side, 3)
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)).save(file, "JPEG")
    return file.getvalue()


@pytest.fixture
def source(tmp_path: Path) -> Storage:
    """Images in files, and behind each other in one."""
    storage = open_storage(str(tmp_path))
    storage.write("alone.jpg", jpeg(4))
    storage.write("empty.jpg", b"")
    storage.write("together", b"header" + jpeg(5) + jpeg(6))
    return storage


def images() -> list[Stored | Problem]:
    raw = np.random.default_rng(9).integers(0, 256, (1, 12, 12), dtype=np.uint8)
    return [
        Stored("colour", 1, jpeg(0)),
        Problem("link", "it is no file"),
        Stored("grey", 2, jpeg(1, "L")),
        Stored("empty", 3, b""),
        Stored("cut", 4, jpeg(2)[:400]),
        Stored("raw", 5, raw),
        Stored("large", -1, jpeg(3, side=200)),
        Stored("alone", 6, Place("alone.jpg")),
        Stored("nothing", 6, Place("empty.jpg")),
        Stored("first", 7, Place("together", 6, len(jpeg(5)))),
        Stored("second", 8, Place("together", 6 + len(jpeg(5)), len(jpeg(6)))),
        Stored("beyond", 8, Place("together", 6 + len(jpeg(5)), len(jpeg(6)) + 1)),
    ]


@pytest.mark.parametrize("size", [(8, 6), (64, 48), (150, 150)])
@pytest.mark.parametrize("far", [False, True])
def test_they_arrive_as_they_are_decoded_at_once(
    size: tuple[int, int], source: Storage, far: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if far:
        monkeypatch.setattr(Storage, "is_local", False)
    last = finish(size, source)
    arrived: list[np.ndarray] = []
    keys: list[str] = []
    labels: list[int] = []
    problems: list[Problem] = []
    counts: Counter[str] = Counter()
    for found in travelling(images(), size, "val"):
        if isinstance(found, Problem):
            problems.append(found)
        elif isinstance(found, Counter):
            counts.update(found)
        else:
            assert isinstance(found, spark.Rows)
            assert found.splits == "val"
            done = last.step(decode(last.travelling, encode(last.travelling, found.values)))
            arrived += list(np.asarray(done.values["image"]))
            keys += list(done.values["key"])
            labels += np.asarray(done.values["label"]).tolist()
            problems += done.problems.values()
            counts.update(done.counts)
    once = list(decoded(images(), size, source))
    rows = [part for part in once if isinstance(part, Rows)]
    assert np.array_equal(np.stack(arrived), np.concatenate([part.images for part in rows]))
    assert (
        keys
        == [key for part in rows for key in part.keys]
        == [
            *("colour", "grey", "raw", "large", "alone", "first", "second"),
        ]
    )
    assert labels == [1, 2, 5, -1, 6, 7, 8]
    assert np.array_equal(arrived[-1], decode_image(jpeg(6), size)[0])
    assert sorted(map(str, problems)) == sorted(str(part) for part in once if isinstance(part, Problem))
    assert counts[CONVERTED] == sum(part.converted for part in rows) == 2


@pytest.mark.parametrize(("side", "pixels"), [(8, True), (200, False)])
def test_what_travels_is_the_smaller_form(side: int, pixels: bool) -> None:
    content = jpeg(0, side=60)
    (rows,) = (found for found in travelling([Stored("one", 0, content)], (side, side), "train")
               if isinstance(found, spark.Rows))  # fmt: skip
    (cell,) = (cells for name, cells in rows.values.items() if name == "content")
    assert len(cell[0]) == (3 * side * side if pixels else len(content))
    assert len(cell[0]) <= min(3 * side * side, len(content))
