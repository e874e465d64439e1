"""Records that are found first and read later, from a disk and from an object store."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from broken_records import file_of, flipped, starts

from echelon.data.cells import decode, encode
from echelon.data.division import Division
from echelon.data.storage import Storage, open_storage
from echelon.recipes.video.columns import AUDIO, FRAME, KEY, LABELS, RGB
from echelon.recipes.video.damage import by_file
from echelon.recipes.video.examples import Form
from echelon.recipes.video.made import made_videos, to_record
from echelon.recipes.video.options import PrepareOptions
from echelon.recipes.video.placed import Locate, fetched
from echelon.recipes.video.sources import find_shards
from echelon.recipes.video.tfrecord import HEAD
from echelon.spark.prepare import Finished, Problem, Rows

VIDEOS = made_videos(40, 20, frames=(1, 30))
HALVES = (VIDEOS[:20], VIDEOS[20:])


@pytest.fixture(params=["disk", "s3"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    if request.param == "disk":
        return open_storage(tmp_path)
    return open_storage(f"{request.getfixturevalue('s3')}/{tmp_path.name}")


def located(storage: Storage, division: Division) -> tuple[dict[str, np.ndarray], list[str], list[Problem]]:
    """The places of all records and their splits, and what is wrong already."""
    _, shards = find_shards(storage.url, PrepareOptions())
    found = [one for item in enumerate(shards) for one in Locate(storage, division)(item)]
    rows = [one for one in found if isinstance(one, Rows)]
    places = {name: np.concatenate([np.asarray(one.values[name]) for one in rows]) for name in rows[0].values}
    return places, [split for one in rows for split in one.splits], [one for one in found if isinstance(one, Problem)]


def finished(storage: Storage, places: dict[str, np.ndarray]) -> Finished:
    _, shards = find_shards(storage.url, PrepareOptions())
    finish = fetched(storage, tuple(shard.path for shard in shards), Form(FRAME))
    return finish.step(decode(finish.travelling, encode(finish.travelling, places)))


def test_videos_come_back_in_the_order_of_their_places(storage: Storage) -> None:
    for number, videos in enumerate(HALVES):
        storage.write(f"part{number}.tfrecord", file_of(list(map(to_record, videos))))
    division = Division(0.3, 0)
    places, splits, problems = located(storage, division)
    assert not problems
    assert splits == [division.split_of(video.key) for video in VIDEOS]
    order = np.random.default_rng(0).permutation(len(VIDEOS))
    done = finished(storage, {name: values[order] for name, values in places.items()})
    assert not done.problems
    for row, video in enumerate(VIDEOS[number] for number in order):
        assert done.values[KEY][row] == video.key
        assert list(done.values[LABELS][row]) == list(video.labels)
        np.testing.assert_array_equal(done.values[RGB][row], video.rgb)
        np.testing.assert_array_equal(done.values[AUDIO][row], video.audio)


def test_what_is_damaged_is_told_with_its_row(storage: Storage) -> None:
    records = list(map(to_record, HALVES[0]))
    storage.write("a.tfrecord", flipped(file_of(records), starts(records)[3] + HEAD + 300))
    places, _, problems = located(storage, Division(0, 0))
    assert not problems, "only lengths are looked at"
    done = finished(storage, places)
    assert set(done.problems) == {3}
    assert "record 3 at byte" in str(done.problems[3])
    assert list(done.values[KEY]) == [video.key for number, video in enumerate(HALVES[0]) if number != 3]
    lost = {"problems": 1, "bytes": starts(records)[4] - starts(records)[3]}
    assert by_file(done.counts) == {"a.tfrecord": lost}


def reversed_fields(record: bytes) -> bytes:
    """The frames before the id, as no writer known to us has it; for protobuf it means the same."""
    size, at = 0, 1
    for shift in range(0, 28, 7):
        size |= (record[at] & 0x7F) << shift
        at += 1
        if record[at - 1] < 0x80:
            break
    return record[at + size :] + record[: at + size]


def test_an_id_behind_the_frames_is_found_too(tmp_path: Path) -> None:
    storage = open_storage(tmp_path)
    storage.write("a.tfrecord", file_of([reversed_fields(to_record(video)) for video in VIDEOS]))
    division = Division(0.5, 0)
    places, splits, _ = located(storage, division)
    assert Counter(splits) == Counter(division.split_of(video.key) for video in VIDEOS)
    assert splits == [division.split_of(video.key) for video in VIDEOS]
    assert list(finished(storage, places).values[KEY]) == [video.key for video in VIDEOS]


def test_a_disk_is_not_read_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """To find the records of a shard only a few kilobytes of each are read."""
    storage = open_storage(tmp_path)
    long = made_videos(20, 20, frames=(250, 300))
    storage.write("a.tfrecord", file_of(list(map(to_record, long))))
    read = Counter[str]()
    open_input: Callable[[Storage, str], object] = Storage.open_input

    class Counting:
        def __init__(self, file: object) -> None:
            self._file = file

        def __enter__(self) -> Counting:
            return self

        def __exit__(self, *error: object) -> None:
            self._file.close()  # type: ignore[attr-defined]

        def __getattr__(self, name: str) -> object:
            return getattr(self._file, name)

        def read(self, nbytes: int) -> bytes:
            content: bytes = self._file.read(nbytes)  # type: ignore[attr-defined]
            read["bytes"] += len(content)
            return content

    monkeypatch.setattr(Storage, "open_input", lambda self, path: Counting(open_input(self, path)))
    _, splits, _ = located(storage, Division(0.5, 0))
    assert len(splits) == 20
    assert 0 < read["bytes"] < 20 * 10_000 < (tmp_path / "a.tfrecord").stat().st_size / 10
