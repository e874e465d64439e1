"""`echelon video inspect` prints what is in files, and what is wrong with them."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest
from broken_records import file_of, flipped, starts, write
from typer.testing import CliRunner

from echelon.cli.app import build
from echelon.data.storage import open_storage
from echelon.errors import DataError
from echelon.recipes.video.made import made_means, made_videos, to_record, write_shards
from echelon.recipes.video.sources import Shard
from echelon.recipes.video.survey import surveyed, total
from echelon.recipes.video.tfrecord import HEAD


def inspect(*arguments: object) -> str:
    result = CliRunner().invoke(build(["video"]), ["video", "inspect", *map(str, arguments)], env={"COLUMNS": "120"})
    if result.exception is not None:
        raise result.exception
    return "\n".join(line.strip() for line in result.stdout.splitlines())


def test_counts_are_those_of_the_files(tmp_path: Path) -> None:
    videos = made_videos(40, 6, frames=(1, 9))
    write_shards(tmp_path, videos, 2)
    storage = open_storage(tmp_path)
    surveys = [surveyed(storage, Shard(entry.path, entry.size, None)) for entry in storage.list()]
    whole = total(surveys)
    assert [one.videos for one in surveys] == [20, 20]
    assert [one.level for one in surveys] == ["frame", "frame"]
    assert whole.size == sum(path.stat().st_size for path in tmp_path.iterdir())
    assert whole.labels == Counter(label for video in videos for label in video.labels)
    assert whole.labels_each == Counter(len(video.labels) for video in videos)
    assert whole.frames_each == Counter(len(video.rgb) for video in videos)
    assert (whole.lost, whole.losses) == (0, [])


def test_the_tables_name_files_lengths_and_labels(tmp_path: Path) -> None:
    videos = made_videos(30, 6, frames=(3, 3))
    write_shards(tmp_path / "raw", videos, 2)
    vocabulary = write(tmp_path / "v.csv", b"Index,Name\n0,Game\n1,Vehicle\n")
    said = inspect(tmp_path / "raw", "--vocabulary", vocabulary, "--labels", 2)
    assert re.search(r"train0000.tfrecord\s+frame\s+\S+ kB\s+15\s+0\s+0$", said, re.MULTILINE)
    assert re.search(r"all\s+—\s+\S+ kB\s+30\s+0\s+0$", said, re.MULTILINE)
    assert re.search(r"frames\s+3\s+3\s+3\s+3\s+3$", said, re.MULTILINE)
    game = sum(0 in video.labels for video in videos)
    assert re.search(rf"0 Game\s+{game}\s+{100 * game / 30:.1f} %", said)
    assert len(re.findall(r"^\d+ .*%$", said, re.MULTILINE)) == 2, "as many labels as were asked for"
    one = inspect(tmp_path / "raw" / "train0001.tfrecord")
    assert "train0000" not in one
    assert "all " not in one


def test_means_have_no_frames(tmp_path: Path) -> None:
    write_shards(tmp_path, made_means(12, 6), 1)
    said = inspect(tmp_path)
    assert re.search(r"train0000.tfrecord\s+video", said)
    assert "frames" not in said


def test_what_is_wrong_is_told_by_file_and_record(tmp_path: Path) -> None:
    records = [to_record(video) for video in made_videos(10, 6)]
    content = flipped(file_of(records), starts(records)[4] + HEAD + 100)
    write(tmp_path / "a.tfrecord", content[:-3])
    said = inspect(tmp_path)
    assert "2 left out" in said
    assert f"a.tfrecord: record 4 at byte {starts(records)[4]:,}: its content has the wrong checksum" in said
    assert f"a.tfrecord: record 9 at byte {starts(records)[9]:,}: the file ends within it" in said
    lost = (starts(records)[5] - starts(records)[4]) + len(content) - 3 - starts(records)[9]
    storage = open_storage(tmp_path)
    assert surveyed(storage, Shard("a.tfrecord", len(content) - 3, None)).lost_bytes == lost


def test_a_file_without_a_good_record_is_an_error(tmp_path: Path) -> None:
    write(tmp_path / "a.tfrecord", b"no TFRecord")
    with pytest.raises(DataError, match="not one good record; 1 left out"):
        inspect(tmp_path)


def test_sound_is_missed_unless_it_is_not_wanted(tmp_path: Path) -> None:
    videos = [type(video)(video.key, video.labels, video.rgb, None) for video in made_videos(3, 6)]
    write_shards(tmp_path, videos, 1)
    with pytest.raises(DataError, match="'audio' is missing"):
        inspect(tmp_path)
    assert "left out:" not in inspect(tmp_path, "--no-audio")
