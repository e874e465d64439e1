"""TFRecord files become a dataset by real tasks of Spark, and what is damaged is told and left out."""

from __future__ import annotations

import gzip
from collections import Counter
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from broken_records import file_of, flipped, starts, write
from numpy.typing import NDArray

from echelon.data.division import TEST, TRAIN, Division
from echelon.data.manifest import Dataset, open_dataset
from echelon.data.span import span_batches
from echelon.errors import DataError
from echelon.recipes.video.columns import (
    AUDIO,
    FRAME,
    KEY,
    LABEL_COUNTS,
    LABELS,
    MEAN_AUDIO,
    MEAN_RGB,
    RGB,
    VIDEO,
    Level,
    level_of,
    schema_of,
)  # fmt: skip
from echelon.recipes.video.examples import Form
from echelon.recipes.video.made import Means, Video, made_means, made_videos, to_record, write_shards
from echelon.recipes.video.options import PrepareOptions
from echelon.recipes.video.prepare import prepare
from echelon.recipes.video.tfrecord import HEAD, TAIL

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

CLASSES = 20


def made(level: Level, count: int, seed: int = 0) -> list[Any]:
    return made_videos(count, CLASSES, seed, frames=(1, 6)) if level == FRAME else made_means(count, CLASSES, seed)


def features(video: Video | Means) -> dict[str, NDArray]:
    named = (
        {RGB: video.rgb, AUDIO: video.audio}
        if isinstance(video, Video)
        else {MEAN_RGB: video.mean_rgb, MEAN_AUDIO: video.mean_audio}
    )
    return {name: np.asarray(array) for name, array in named.items()}


def rows(dataset: Dataset) -> dict[str, tuple[str, list[int], dict[str, NDArray]]]:
    """By key the split, labels and features of each row; a key that is there twice fails."""
    names = [name for name in dataset.schema.names if name not in (LABELS, KEY)]
    found: dict[str, tuple[str, list[int], dict[str, NDArray]]] = {}
    for split in dataset.splits:
        for batch in span_batches(dataset, split, None, 0, dataset.rows(split), 50):
            for row, key in enumerate(batch.strings(KEY)):
                assert key not in found
                values = {name: batch[name][row].numpy() for name in names}
                cut = {
                    name: v[: batch.lengths[name][row]] if name in batch.lengths else v for name, v in values.items()
                }
                found[key] = split, batch[LABELS][row][: batch.lengths[LABELS][row]].tolist(), cut
    return found


def assert_holds(dataset: Dataset, videos: list[Any], splits: dict[str, str] | Division) -> None:
    """Every video is there once, in its split, with all that it has."""
    found = rows(dataset)
    assert set(found) == {video.key for video in videos}
    for video in videos:
        split, labels, values = found[video.key]
        assert split == (splits.split_of(video.key) if isinstance(splits, Division) else splits[video.key])
        assert labels == list(video.labels), "labels come through as they were"
        for name, array in features(video).items():
            np.testing.assert_array_equal(values[name], array)


@pytest.mark.parametrize("level", [FRAME, VIDEO])
@pytest.mark.parametrize("zipped", [False, True])
def test_every_video_is_there_once_as_it_was(spark: SparkSession, tmp_path: Path, level: Level, zipped: bool) -> None:
    videos = made(level, 120)
    write_shards(tmp_path / "raw", videos, 3, "part")
    if zipped:
        for path in sorted((tmp_path / "raw").iterdir()):
            write(path.with_name(f"{path.name}.gz"), gzip.compress(path.read_bytes()))
            path.unlink()
    dataset = prepare(spark, str(tmp_path / "raw"), str(tmp_path / "dataset"), PrepareOptions(split_seed=3))
    assert dataset.schema == schema_of(level)
    assert level_of(dataset) == level
    division = Division(0.2, 3)
    assert_holds(dataset, videos, division)
    training = [video for video in videos if division.split_of(video.key) == TRAIN]
    counts = Counter(label for video in training for label in video.labels)
    assert dataset.asset(LABEL_COUNTS).tolist() == [counts[label] for label in range(3862)]
    assert dataset.info["counts"] == {TRAIN: len(training), TEST: len(videos) - len(training)}
    assert dataset.info["problems"]["count"] == 0
    if level == FRAME:
        frames = [len(video.rgb) for video in training]
        assert dataset.info["frames"][TRAIN] == {"total": sum(frames), "least": min(frames), "most": max(frames)}
        assert min(frames) == 1, "videos of one frame are there too"


def test_the_same_files_give_the_same_bytes_and_another_seed_another_order(spark: SparkSession, tmp_path: Path) -> None:
    write_shards(tmp_path / "raw", made(FRAME, 40), 2)
    first, again, other = (
        prepare(spark, str(tmp_path / "raw"), str(tmp_path / name), PrepareOptions(shuffle_seed=seed, test_fraction=0))
        for name, seed in (("first", 0), ("again", 0), ("other", 1))
    )
    assert first.manifest.splits == again.manifest.splits
    assert list(rows(first)) != list(rows(other))
    assert list(rows(first)) != sorted(rows(first)), "shuffled"
    assert open_dataset(str(tmp_path / "first")).digest == first.digest


def damaged(folder: Path, level: Level) -> tuple[list[Any], dict[str, dict[str, int]]]:
    """Four shards that are damaged, one each way; the videos that are left, and what of each file is lost."""
    videos = [made(level, 30, seed) for seed in range(4)]
    records = [[to_record(video) for video in some] for some in videos]
    places = [starts(some) for some in records]
    sizes = [place[-1] for place in places]
    write(folder / "content.tfrecord", flipped(file_of(records[0]), places[0][7] + HEAD + 200))
    write(folder / "length.tfrecord", flipped(file_of(records[1]), places[1][20] + 2))
    write(folder / "short.tfrecord", file_of(records[2])[: sizes[2] - 40])
    silent = made(level, 1, seed=9)[0]
    silent = type(silent)(silent.key, silent.labels, *list(features(silent).values())[:1], None)
    write(folder / "silent.tfrecord", file_of([*records[3][:5], to_record(silent), *records[3][5:]]))
    left = [*videos[0][:7], *videos[0][8:], *videos[1][:20], *videos[2][:-1], *videos[3]]
    return left, {
        "content.tfrecord": {"problems": 1, "bytes": places[0][8] - places[0][7]},
        "length.tfrecord": {"problems": 1, "bytes": sizes[1] - places[1][20]},
        "short.tfrecord": {"problems": 1, "bytes": sizes[2] - 40 - places[2][29]},
        "silent.tfrecord": {"problems": 1, "bytes": HEAD + len(to_record(silent)) + TAIL},
    }


@pytest.mark.parametrize("level", [FRAME, VIDEO])
def test_damage_is_told_by_file_and_record_and_good_records_are_kept(
    spark: SparkSession, tmp_path: Path, level: Level
) -> None:
    videos, lost = damaged(tmp_path / "raw", level)
    dataset = prepare(spark, str(tmp_path / "raw"), str(tmp_path / "dataset"), PrepareOptions())
    assert_holds(dataset, videos, Division(0.2, 0))
    assert dataset.info["damaged"] == lost
    assert dataset.info["problems"]["count"] == 4
    reasons = dict(map(tuple, dataset.info["problems"]["first"]))  # type: ignore[arg-type]
    assert set(reasons) == set(lost)
    assert reasons["content.tfrecord"].startswith("record 7 at byte ")
    assert "wrong checksum" in reasons["content.tfrecord"]
    assert "record 20 at byte " in reasons["length.tfrecord"]
    assert "the rest of the file is lost" in reasons["length.tfrecord"]
    assert "record 29 at byte " in reasons["short.tfrecord"]
    assert "the file ends within it" in reasons["short.tfrecord"]
    assert f"record 5 at byte {starts([to_record(v) for v in made(level, 30, 3)])[5]:,}" in reasons["silent.tfrecord"]
    assert "is missing; it has id, labels" in reasons["silent.tfrecord"]
    quiet = prepare(spark, str(tmp_path / "raw"), str(tmp_path / "quiet"), PrepareOptions(audio=False))
    assert "silent.tfrecord" not in quiet.info["damaged"], "without sound there is nothing wrong with it"
    assert quiet.schema == schema_of(level, audio=False)


def test_a_gzip_stream_that_breaks_off_keeps_what_is_before(spark: SparkSession, tmp_path: Path) -> None:
    videos = made(VIDEO, 40)
    packed = gzip.compress(file_of([to_record(video) for video in videos]))
    write(tmp_path / "raw" / "a.tfrecord.gz", packed[: len(packed) // 2])
    dataset = prepare(spark, str(tmp_path / "raw"), str(tmp_path / "dataset"), PrepareOptions(test_fraction=0))
    count = dataset.rows(TRAIN)
    assert 0 < count < 40
    assert_holds(dataset, videos[:count], Division(0, 0))
    assert "gzip stream is damaged or cut off" in dataset.info["problems"]["first"][0][1]


def test_public_names_divide_and_videos_to_predict_have_no_labels(spark: SparkSession, tmp_path: Path) -> None:
    some = {"train": made(FRAME, 20, 0), "validate": made(FRAME, 10, 1), "test": made(FRAME, 5, 2)}
    some["test"] = [Video(video.key, [], video.rgb, video.audio) for video in some["test"]]
    for name, videos in some.items():
        write_shards(tmp_path / "raw", videos, 1, name)
    dataset = prepare(spark, str(tmp_path / "raw"), str(tmp_path / "dataset"), PrepareOptions())
    split = {"train": TRAIN, "validate": "val", "test": TEST}
    assert_holds(
        dataset,
        [*chain.from_iterable(some.values())],
        {v.key: split[name] for name, all_ in some.items() for v in all_},
    )
    assert dataset.info["unlabelled"] == {TRAIN: 0, "val": 0, TEST: 5}


def test_long_videos_are_cut_and_counted(spark: SparkSession, tmp_path: Path) -> None:
    videos = made(FRAME, 30)
    write_shards(tmp_path / "raw", videos, 1)
    options = PrepareOptions(max_frames=3, test_fraction=0)
    dataset = prepare(spark, str(tmp_path / "raw"), str(tmp_path / "dataset"), options)
    assert dataset.info["cut"] == sum(len(video.rgb) > 3 for video in videos) > 0
    assert dataset.info["frames"][TRAIN]["most"] == 3
    for video in videos:
        np.testing.assert_array_equal(rows(dataset)[video.key][2][AUDIO], np.asarray(video.audio)[:3])


def test_for_a_learner_everything_is_tested_on_as_it_needs_it(spark: SparkSession, tmp_path: Path) -> None:
    videos = made(FRAME, 12)
    write_shards(tmp_path / "raw", videos, 1)
    dataset = prepare(
        spark, str(tmp_path / "raw"), str(tmp_path / "dataset"), PrepareOptions(), fitting=Form(FRAME, audio=False)
    )
    assert dataset.splits == (TEST,)
    assert dataset.schema == schema_of(FRAME, audio=False)
    assert set(rows(dataset)) == {video.key for video in videos}


def test_names_of_labels_come_from_the_vocabulary(spark: SparkSession, tmp_path: Path) -> None:
    write_shards(tmp_path / "raw", made(VIDEO, 12), 1)
    lines = 'Index,TrainVideoCount,Name,WikiDescription\n1,5,"Video, game","two\nlines"\n0,9,Game,x\n'
    vocabulary = write(tmp_path / "vocabulary.csv", lines.encode())
    options = PrepareOptions(vocabulary=str(vocabulary))
    dataset = prepare(spark, str(tmp_path / "raw"), str(tmp_path / "dataset"), options)
    assert dataset.info["label_names"][:3] == ["Game", "Video, game", ""]
    assert len(dataset.info["label_names"]) == 3862
    vocabulary.write_text("a,b\n1,2\n")
    with pytest.raises(DataError, match="must name the columns Index and Name"):
        prepare(spark, str(tmp_path / "raw"), str(tmp_path / "other"), options)


def test_files_without_one_good_record_are_an_error_that_says_why(spark: SparkSession, tmp_path: Path) -> None:
    write(tmp_path / "raw" / "a.tfrecord", b"this is no TFRecord file at all")
    with pytest.raises(DataError, match=r"not one of 1 files has a record .*a.tfrecord, record 0 at byte 0"):
        prepare(spark, str(tmp_path / "raw"), str(tmp_path / "dataset"), PrepareOptions())
    with pytest.raises(DataError, match=r"not one row could be read .* record 0 at byte 0"):
        prepare(spark, str(tmp_path / "raw"), str(tmp_path / "dataset"), PrepareOptions(level="frame"))


def records_in(path: Path) -> int:
    """By the lengths alone."""
    content, at, count = path.read_bytes(), 0, 0
    while at < len(content):
        at += HEAD + int.from_bytes(content[at : at + 8], "little") + TAIL
        count += 1
    return count


def test_real_files_are_read_whole(spark: SparkSession, tmp_path: Path, shared_data: Path) -> None:
    folder = shared_data / "youtube8m"
    if not folder.is_dir():
        pytest.skip(f"there is no folder {folder}")
    options = PrepareOptions(files="validate000[0-3]*", vocabulary=str(folder / "vocabulary.csv"))
    means = prepare(spark, str(folder / "video_level"), str(tmp_path / "means"), options)
    frames = prepare(spark, str(folder / "frame_level_DERIVED"), str(tmp_path / "frames"), PrepareOptions())
    for dataset, pattern in ((means, "video_level/validate000[0-3]*"), (frames, "frame_level_DERIVED/*.tfrecord")):
        assert sum(map(dataset.rows, dataset.splits)) == sum(map(records_in, folder.glob(pattern))) > 300
    for dataset in (means, frames):
        assert dataset.info["problems"]["count"] == 0
    assert means.info["label_names"][:2] == ["Game", "Video game"]
