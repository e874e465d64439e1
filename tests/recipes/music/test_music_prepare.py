"""Files of sound become a dataset by real tasks of Spark, and what is damaged is told."""

from __future__ import annotations

import json
import logging
import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import soundfile
import soxr
from numpy.typing import NDArray

from echelon.data.commit import RECEIPTS
from echelon.data.division import TEST, TRAIN, Division
from echelon.data.manifest import Dataset, open_dataset
from echelon.data.span import span_batches
from echelon.data.storage import open_storage
from echelon.errors import DataError
from echelon.recipes.music import prepare as module
from echelon.recipes.music.columns import (
    CODE_COUNTS,
    CONTEXT,
    KEY,
    OFFSET,
    PAIR_COUNTS,
    SAMPLES,
    SONG,
    Form,
    form_of,
    schema_of,
)  # fmt: skip
from echelon.recipes.music.listening import Wish
from echelon.recipes.music.made import made_song, write_song, write_songs
from echelon.recipes.music.manifest import NAME
from echelon.recipes.music.mulaw import SILENCE, encode
from echelon.recipes.music.options import ENDINGS, PrepareOptions
from echelon.recipes.music.prepare import prepare
from echelon.recipes.music.reading import ReadSongs
from echelon.recipes.music.sources import find_songs
from echelon.recipes.music.windows import pairs_of
from echelon.spark.prepare import Rows

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

SMALL = PrepareOptions(rate=8000, window=2000, context=300, test_fraction=0.3, split_seed=1)


def songs_of(dataset: Dataset) -> dict[str, tuple[str, NDArray[np.uint8]]]:
    """By song its split and its codes, from windows that must fit together."""
    found: dict[str, tuple[str, NDArray[np.uint8]]] = {}
    form = form_of(dataset)
    for split in dataset.splits:
        windows: dict[str, dict[int, NDArray[np.uint8]]] = {}
        for batch in span_batches(dataset, split, None, 0, dataset.rows(split), 40):
            lengths = batch.lengths[SAMPLES].tolist()
            for row, (song, key) in enumerate(zip(batch.strings(SONG), batch.strings(KEY))):
                offset, context = int(batch[OFFSET][row]), int(batch[CONTEXT][row])
                assert key == f"{song}@{offset}"
                assert context == min(form.context, offset)
                assert offset % form.window == 0
                assert offset not in windows.setdefault(song, {}), "no window is there twice"
                windows[song][offset] = batch[SAMPLES][row][: lengths[row]].numpy()
        for song, of in windows.items():
            assert song not in found, "a song is in one split"
            codes = np.concatenate([of[offset][min(form.context, offset) :] for offset in sorted(of)])
            assert all(len(of[offset]) == min(form.context, offset) + form.window for offset in sorted(of)[:-1])
            for offset, samples in of.items():
                assert np.array_equal(samples, codes[max(0, offset - form.context) : offset + form.window])
            found[song] = split, codes
    return found


def directly(path: Path, rate: int, *, normalise: bool = True) -> NDArray[np.uint8]:
    """The codes of a whole file, decoded and resampled at once."""
    samples, source_rate = soundfile.read(path, dtype="float32", always_2d=True)
    mono = samples.mean(axis=1)
    if source_rate != rate:
        mono = soxr.resample(mono, source_rate, rate, quality="HQ")
    return encode(mono / np.abs(mono).max() if normalise else mono)


def assert_alike(found: NDArray[np.uint8], wanted: NDArray[np.uint8], *, most: float = 0.02) -> None:
    """Codes that are the same, but for roundings at the edges of a few."""
    assert abs(len(found) - len(wanted)) <= 1
    length = min(len(found), len(wanted))
    off = np.abs(found[:length].astype(int) - wanted[:length])
    assert off.max() <= 1
    assert (off > 0).mean() <= most


def test_every_code_of_every_song_is_one_windows_own(spark: SparkSession, tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    files = {
        "one.wav": (22_050, 1), "two.flac": (44_100, 2), "deep/er/three.ogg": (32_000, 2), "deep/four.aiff": (8_000, 6),
        "deep/five.MP3": (44_100, 2), "sí x #&%.wav": (11_025, 1),
    }  # fmt: skip
    for number, (name, (rate, channels)) in enumerate(files.items()):
        write_song(raw / name, made_song(2.2 + number, rate, channels, number) * 0.4, rate)
    (raw / "notes.txt").write_text("no song")
    (raw / ".hidden.wav").write_bytes(b"")
    dataset = prepare(spark, str(raw), str(tmp_path / "dataset"), SMALL)
    assert dataset.schema == schema_of()
    assert form_of(dataset) == Form(8000, 2000, 300, True)
    found = songs_of(dataset)
    assert set(found) == set(files)
    for name, (_, codes) in found.items():
        # Two decoders of mp3 differ a little more.
        assert_alike(codes, directly(raw / name, 8000), most=0.3 if name.endswith("MP3") else 0.02)
        assert codes.max() == 255 or codes.min() == 0, "normalised"
    splits = [split for split, _ in found.values()]
    assert (splits.count(TEST), splits.count(TRAIN)) == (2, 4), "just 0.3 of six, rounded"
    info = dataset.info
    assert info["counts"] == {split: dataset.rows(split) for split in (TEST, TRAIN)}
    for split in (TEST, TRAIN):
        lengths = [len(codes) for of, codes in found.values() if of == split]
        assert info["songs"][split] == {"count": len(lengths), "seconds": pytest.approx(sum(lengths) / 8000, abs=1e-3)}
    assert info["durations"] == {"declared": pytest.approx(28.2), "decoded": pytest.approx(28.2), "undeclared": 0}
    assert (info["problems"]["count"], info["damaged"], info["twins"], info["others"]) == (0, {}, [], {"txt": 1})
    training = [codes for split, codes in found.values() if split == TRAIN]
    pairs = pairs_of(training, [0] * len(training))
    assert np.array_equal(dataset.asset(PAIR_COUNTS), pairs)
    assert np.array_equal(dataset.asset(CODE_COUNTS), np.bincount(np.concatenate(training), minlength=256))
    assert pairs[SILENCE].sum() >= len(training)


def test_the_same_songs_give_the_same_bytes_and_seeds_other_orders_and_divisions(
    spark: SparkSession, tmp_path: Path
) -> None:
    write_songs(tmp_path / "raw", 7, 1.5, endings=("ogg", "wav"))
    options = [SMALL, SMALL, PrepareOptions(**{**vars(SMALL), "shuffle_seed": 1, "split_seed": 2})]
    first, again, other = (
        prepare(spark, str(tmp_path / "raw"), str(tmp_path / str(number)), one) for number, one in enumerate(options)
    )
    assert first.manifest.splits == again.manifest.splits
    songs, others = songs_of(first), songs_of(other)
    assert all(np.array_equal(songs[name][1], others[name][1]) for name in songs)
    assert {name: split for name, (split, _) in songs.items()} != {name: split for name, (split, _) in others.items()}
    keys = [key for batch in span_batches(first, TRAIN, (KEY,), 0, first.rows(TRAIN), 10) for key in batch.strings(KEY)]
    assert keys != sorted(keys), "shuffled"


def damage(raw: Path) -> None:
    """Files of which something is wrong, beside two good ones."""
    write_songs(raw, 2, 3, endings=("wav",), rate=16_000)
    write_song(raw / "cut.mp3", made_song(6, 22_050, 1), 22_050)
    content = (raw / "cut.mp3").read_bytes()
    (raw / "cut.mp3").write_bytes(content[: len(content) // 2])
    (raw / "text.mp3").write_text("I am no song. " * 20_000)
    (raw / "empty.ogg").write_bytes(b"")
    write_song(raw / "silent.flac", np.zeros((16_000, 2)), 16_000)
    write_song(raw / "short.wav", made_song(0.05, 16_000, 1), 16_000)
    holed = made_song(2, 16_000, 1)
    holed[5:8] = np.nan
    soundfile.write(raw / "holed.wav", holed, 16_000, subtype="FLOAT")


def test_what_is_wrong_with_songs_is_told_and_the_rest_kept(
    spark: SparkSession, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Traps: a bare except that hides bad files, an endless loop on one that cannot be decoded."""
    raw = tmp_path / "raw"
    damage(raw)
    shutil.copy(raw / "song000.wav", raw / "song000 again.wav")
    dataset = prepare(spark, str(raw), str(tmp_path / "dataset"), SMALL)
    found = songs_of(dataset)
    assert set(found) == {"song000.wav", "song000 again.wav", "song001.wav", "cut.mp3", "holed.wav"}
    told = dict(dataset.info["problems"]["first"])
    assert dataset.info["problems"]["count"] == len(told) == 6
    for song, reason in {
        "cut.mp3": r"of 6.00 s are lost: it was cut off",
        "text.mp3": "it is no sound",
        "empty.ogg": "it is empty",
        "silent.flac": "it is silent",
        "short.wav": "0.05 s of it",
        "holed.wav": "3 samples are no numbers",
    }.items():
        assert reason in told[song]
    lengths = dataset.info["damaged"]["cut.mp3"]
    assert lengths == {"declared": pytest.approx(6, abs=0.01), "decoded": pytest.approx(3, abs=0.5)}
    assert len(found["cut.mp3"][1]) == pytest.approx(8000 * lengths["decoded"], abs=10)
    assert dataset.info["twins"] == [["song000 again.wav", "song000.wav"]]
    apart = found["song000.wav"][0] != found["song000 again.wav"][0]
    assert ("both trained and tested on" in caplog.text) == apart


def test_nothing_good_and_nothing_at_all_say_so(spark: SparkSession, tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    with pytest.raises(DataError, match=r"no songs were found at .*there are no files"):
        prepare(spark, str(tmp_path / "raw"), str(tmp_path / "dataset"), SMALL)
    (tmp_path / "raw" / "text.txt").write_text("no song")
    with pytest.raises(DataError, match=r"there are 1 files, such as text\.txt"):
        prepare(spark, str(tmp_path / "raw"), str(tmp_path / "dataset"), SMALL)
    (tmp_path / "raw" / "text.flac").write_text("no song")
    with pytest.raises(DataError, match=r"not one row .*text\.flac: it is no sound"):
        prepare(spark, str(tmp_path / "raw"), str(tmp_path / "dataset"), SMALL)


def test_songs_to_be_measured_get_the_form_of_what_was_learnt(
    spark: SparkSession, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    raw = tmp_path / "raw"
    write_songs(raw, 3, 2, endings=("mp3", "flac"))
    known = {"title": "t", "artist": "a", "genre": "", "url": "", "bytes": 1, "sha256": ""}
    lines = [{**known, "file": f"song00{number}.mp3", "licence": "CC0"} for number in (0, 2)]
    (raw / NAME).write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    form = Form(12_000, 1000, 10, False)
    with caplog.at_level(logging.WARNING):
        dataset = prepare(spark, str(raw), str(tmp_path / "dataset"), SMALL, fitting=form)
    assert form_of(dataset) == form
    assert dataset.splits == (TEST,)
    assert "not one song" not in caplog.text
    assert dataset.info["licences"] == {"CC0": 2}
    for name, (_, codes) in songs_of(dataset).items():
        assert_alike(codes, directly(raw / name, 12_000, normalise=False), most=0.3)


def test_songs_in_an_object_store_are_as_those_on_a_disk(s3: str, tmp_path: Path) -> None:
    write_songs(tmp_path, 3, 2, endings=("mp3", "flac", "ogg"))
    storage = open_storage(f"{s3}/music")
    for path in tmp_path.iterdir():
        storage.write(f"some/{path.name}", path.read_bytes())
    far, near = find_songs(f"{s3}/music", ENDINGS, Division(0, 0)), find_songs(str(tmp_path), ENDINGS, Division(0, 0))
    for there, here in zip(far.songs, near.songs, strict=True):
        found, wanted = (
            list(ReadSongs(source.storage, Form(8000, 900, 50, True), Wish(8000), 0)((song,)))
            for source, song in ((far, there), (near, here))
        )
        assert there.path == f"some/{here.path}"
        rows = [[one.values[SAMPLES] for one in told if isinstance(one, Rows)] for told in (found, wanted)]
        assert len(rows[0]) == 1
        assert all(np.array_equal(a, b) for a, b in zip(rows[0][0], rows[1][0], strict=True))


def test_parts_of_songs_and_formats_that_are_wanted(spark: SparkSession, tmp_path: Path) -> None:
    write_songs(tmp_path / "raw", 4, 4, endings=("wav", "ogg"), rate=8000)
    options = PrepareOptions(**{**vars(SMALL), "formats": ".WAV", "from_second": 1.0, "seconds": 1.5})
    found = songs_of(prepare(spark, str(tmp_path / "raw"), str(tmp_path / "dataset"), options))
    assert set(found) == {"song000.wav", "song002.wav"}
    assert sorted(split for split, _ in found.values()) == [TEST, TRAIN]
    for name, (_, codes) in found.items():
        samples = soundfile.read(tmp_path / "raw" / name, dtype="float32")[0][8000:20_000]
        assert np.array_equal(codes, encode(samples * np.float32(1 / np.abs(samples).max())))
    assert open_dataset(str(tmp_path / "dataset")).info["durations"]["declared"] == 0, "none was read to its end"


def test_what_was_killed_goes_on_with_the_parts_that_were_written(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_songs(tmp_path / "raw", 6, 2, endings=("wav", "mp3"))
    monkeypatch.setattr(module, "_PART_BYTES", 3_000)
    clean = prepare(spark, str(tmp_path / "raw"), str(tmp_path / "clean"), SMALL)
    target = tmp_path / "dataset"

    def kill(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(module._Conclude, "__call__", kill)
        with pytest.raises(KeyboardInterrupt):
            prepare(spark, str(tmp_path / "raw"), str(target), SMALL)
    first, *rest = sorted((target / RECEIPTS).rglob("part-*.arrow"))
    assert rest
    first.unlink()
    again = replace(SMALL, resume=True)
    with pytest.raises(DataError, match="of other files, options"):
        prepare(spark, str(tmp_path / "raw"), str(target), replace(again, window=1999))
    kept = {path: path.stat().st_mtime_ns for path in target.rglob("*.parquet") if first.stem not in path.name}
    resumed = prepare(spark, str(tmp_path / "raw"), str(target), again)
    assert kept
    assert {path: path.stat().st_mtime_ns for path in kept} == kept, "they are as they were"
    assert resumed.info == clean.info
    assert np.array_equal(resumed.asset(PAIR_COUNTS), clean.asset(PAIR_COUNTS)), "what is kept counts, and once"
    assert {song: codes.tolist() for song, (_, codes) in songs_of(resumed).items()} == {
        song: codes.tolist() for song, (_, codes) in songs_of(clean).items()
    }


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_every_public_song_is_there_as_long_as_it_is(spark: SparkSession, shared_data: Path, tmp_path: Path) -> None:
    source = shared_data / "music"
    dataset = prepare(spark, str(source), str(tmp_path / "dataset"), PrepareOptions())
    found = songs_of(dataset)
    files = [path for path in source.rglob("*") if path.suffix.lower()[1:] in ENDINGS]
    assert set(found) == {path.relative_to(source).as_posix() for path in files}
    assert dataset.info["problems"]["count"] == 0
    for path in files:
        samples, rate = soundfile.read(path)
        codes = found[path.relative_to(source).as_posix()][1]
        assert len(codes) == pytest.approx(len(samples) * 16_000 / rate, abs=0.03 * 16_000)
    assert dataset.info["songs"][TEST]["count"] == round(len(files) * 0.1)
