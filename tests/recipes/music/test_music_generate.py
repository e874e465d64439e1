"""New songs as files, on threads and by tasks of Spark, and in the report."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import wave
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from made_windows import music_dataset, tones
from numpy.typing import NDArray

import echelon
from echelon.data.manifest import open_dataset
from echelon.data.span import span_batches
from echelon.data.storage import open_storage
from echelon.driver import Place
from echelon.errors import EchelonError
from echelon.recipes.music.clips import CODES, HEARD, RATE, SHOWN, clips, loud_beginning, restored, spread, stored
from echelon.recipes.music.generate_command import SongOptions, generate
from echelon.recipes.music.generation import GROUP
from echelon.recipes.music.generation import generate as generate_codes
from echelon.recipes.music.learner import MusicLearner
from echelon.recipes.music.made import made_song, write_song
from echelon.recipes.music.mulaw import decode
from echelon.recipes.music.recipe import MusicRecipe
from echelon.recipes.music.settings import TrainOptions, learner_for
from echelon.recipes.music.songs import MADE, groups_of
from echelon.recipes.music.wavenet import WaveNet
from echelon.train.config import RunConfig
from echelon.train.learner import Learner
from echelon.train.run import RunFolder
from echelon.train.sampled import Sampled
from echelon.train.trained import load_trained

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

RATE_OF_SONGS = 4000
HERE = Place()
GENERATE = """
import signal, sys, echelon.__main__ as command
# What is started in the background ignores it, and so would its children.
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.argv = ["echelon", "music", "generate", *sys.argv[1:]]
try:
    command.main()
finally:
    print("imported:", "pyspark" in sys.modules)
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A network that was trained for a few steps."""
    folder = tmp_path_factory.mktemp("music")
    songs = {"train": tones(3, 900, RATE_OF_SONGS), "test": tones(1, 300, RATE_OF_SONGS, 1)}
    dataset = music_dataset(folder / "dataset", songs, rate=RATE_OF_SONGS)
    options = TrainOptions(residual=8, skip=8, stacks=1, layers=5, lr=0.02)
    config = RunConfig(epochs=2, batch_size=4, eval_every="4steps").resolved(1)
    return echelon.fit(learner_for(dataset, options, config), dataset, config, run=folder / "run").url


def heard(path: Path) -> NDArray[np.int16]:
    with wave.open(str(path)) as file:
        assert (file.getsampwidth(), file.getnchannels(), file.getframerate()) == (2, 1, RATE_OF_SONGS)
        return np.frombuffer(file.readframes(file.getnframes()), "<i2")


def songs_in(folder: Path) -> list[NDArray[np.int16]]:
    return [heard(path) for path in sorted(folder.glob("*.wav"))]


def test_songs_are_files_and_told_of(run, tmp_path):
    options = SongOptions(songs=3, seconds=0.5, seed=7, temperature=0.9, top_k=100)
    said = generate(run, str(tmp_path), options, HERE)
    assert f"3 songs in {tmp_path}: 1.5 s of new sound" in said
    made = songs_in(tmp_path)
    assert [len(song) for song in made] == [RATE_OF_SONGS // 2] * 3
    assert len({song.tobytes() for song in made}) == 3
    told = json.loads((tmp_path / MADE).read_text())
    assert (told["run"], told["rate"], told["start_seconds"]) == (run, RATE_OF_SONGS, 0)
    assert told["options"] | {"seed": 7, "temperature": 0.9, "top_k": 100, "seconds": 0.5} == told["options"]
    assert [song["file"] for song in told["songs"]] == ["song-000.wav", "song-001.wav", "song-002.wav"]
    for song, samples in zip(told["songs"], made, strict=True):
        assert song["seconds"] == 0.5
        assert song["peak"] == pytest.approx(np.abs(samples.astype(int)).max() / 32_768, abs=1e-4)


def test_songs_are_the_same_on_any_threads_and_by_tasks_of_spark(run, tmp_path, spark: SparkSession):
    """Also such that go on from a clip."""
    start = str(tmp_path / "clip.wav")
    write_song(tmp_path / "clip.wav", made_song(0.3, RATE_OF_SONGS, 1), RATE_OF_SONGS)

    def made(name: str, place: Place, threads: int | None = None) -> list[NDArray[np.int16]]:
        options = SongOptions(songs=5, seconds=0.3, threads=threads, start=start, start_seconds=0.2)
        generate(run, str(tmp_path / name), options, place)
        return songs_in(tmp_path / name)

    alone, shared, tasks = made("alone", HERE, 1), made("shared", HERE, 4), made("tasks", Place(workers=2))
    assert len(alone) == len(shared) == len(tasks) == 5
    for one, other, third in zip(alone, shared, tasks, strict=True):
        np.testing.assert_array_equal(one, other)
        np.testing.assert_array_equal(one, third)
    told = [json.loads((tmp_path / name / MADE).read_text())["songs"] for name in ("alone", "shared", "tasks")]
    assert told[0] == told[1] == told[2]


def test_songs_go_on_from_a_clip(run, tmp_path):
    """Which is heard at the model's rate, and stands before what is new."""
    write_song(tmp_path / "clip.flac", made_song(2.0, 22_050, 2), 22_050)
    options = SongOptions(seconds=0.25, start=str(tmp_path / "clip.flac"), start_seconds=0.5)
    generate(run, str(tmp_path / "out"), options, HERE)
    (song,) = songs_in(tmp_path / "out")
    assert len(song) == 3 * RATE_OF_SONGS // 4
    clip = made_song(2.0, RATE_OF_SONGS, 1)[: RATE_OF_SONGS // 2, 0]
    assert np.corrcoef(song[: RATE_OF_SONGS // 2], clip)[0, 1] > 0.9
    told = json.loads((tmp_path / "out" / MADE).read_text())
    assert (told["start_seconds"], told["songs"][0]["seconds"]) == (0.5, 0.75)
    generate(run, str(tmp_path / "silent"), SongOptions(seconds=0.25), HERE)
    assert not np.array_equal(songs_in(tmp_path / "silent")[0], song[RATE_OF_SONGS // 2 :])


def test_weights_of_half_the_size_give_songs_too(run, tmp_path):
    generate(run, str(tmp_path), SongOptions(seconds=0.2, weights="bf16"), HERE)
    assert len(songs_in(tmp_path)[0]) == RATE_OF_SONGS // 5


def test_songs_are_only_replaced_if_that_is_asked_for(run, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    generate(run, str(tmp_path), SongOptions(songs=2, seconds=0.1), HERE)
    before = songs_in(tmp_path)
    with pytest.raises(EchelonError, match=r"has songs already \(song-000\.wav, 3 files in all\).*--overwrite"):
        generate(run, str(tmp_path), SongOptions(seconds=0.1, seed=1), HERE)
    np.testing.assert_array_equal(songs_in(tmp_path), before)
    generate(run, str(tmp_path), SongOptions(seconds=0.1, seed=1), HERE, overwrite=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["notes.txt", "song-000.wav", MADE]
    assert not np.array_equal(songs_in(tmp_path)[0], before[0])


def test_songs_go_to_an_object_store_and_are_replaced_there(run, tmp_path, s3):
    out = f"{s3}/{tmp_path.name}"
    for songs in (2, 1):
        generate(run, out, SongOptions(songs=songs, seconds=0.1), HERE, overwrite=True)
        files = [entry.path for entry in open_storage(out).list()]
        assert files == [*(f"song-{number:03d}.wav" for number in range(songs)), MADE]
    assert open_storage(out).read("song-000.wav").startswith(b"RIFF")


def test_a_clip_that_is_no_sound_is_refused_before_anything_is_replaced(run, tmp_path):
    generate(run, str(tmp_path), SongOptions(seconds=0.1), HERE)
    (tmp_path / "clip.wav").write_bytes(b"RIFF is not enough")
    for start in ("clip.wav", "nothing.wav"):
        with pytest.raises(EchelonError, match=f"--start .*{start}"):
            generate(run, str(tmp_path), SongOptions(start=str(tmp_path / start)), HERE, overwrite=True)
    assert (tmp_path / MADE).exists()


@pytest.mark.parametrize(
    ("options", "place", "said"),
    [
        ({"seconds": 1e308}, HERE, r"--seconds 1e\+308 is too long for a WAV file: .* at most 536,871 s fit"),
        ({"start": "clip.wav", "start_seconds": 6e5}, HERE, "too long for a WAV file"),
        ({"threads": 3}, Place(workers=2), "--threads 3 is for songs that are made here"),
    ],
)
def test_orders_that_cannot_be_met_are_refused_before_anything_is_replaced(run, tmp_path, options, place, said):
    (tmp_path / MADE).write_text("earlier")
    with pytest.raises(EchelonError, match=said):
        generate(run, str(tmp_path), SongOptions(**options), place, overwrite=True)
    assert (tmp_path / MADE).read_text() == "earlier"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"songs": 0}, "--songs must be at least 1, got 0"),
        ({"seconds": 0.0}, "--seconds must be more than 0"),
        ({"start_seconds": float("inf")}, "--start-seconds must be more than 0, got inf"),
        ({"threads": 0}, "--threads must be at least 1"),
        ({"temperature": -1.0}, "temperature"),
        ({"top_k": 0}, "top-k 0"),
    ],
)
def test_options_that_make_no_sense_are_refused(options, said):
    with pytest.raises(EchelonError, match=said):
        SongOptions(**options)


@pytest.mark.parametrize(("songs", "parts"), [(1, 4), (4, 4), (5, 2), (8, 1), (40, 3), (GROUP * 3 + 1, 2)])
def test_groups_share_songs_evenly(songs, parts):
    groups = groups_of(range(songs), parts)
    assert [number for group in groups for number in group] == list(range(songs))
    sizes = [len(group) for group in groups]
    assert max(sizes) <= GROUP
    assert max(sizes) - min(sizes) <= 1
    assert len(groups) >= min(songs, parts)


def _started(run: str, out: Path, *flags: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", GENERATE, run, str(out), *flags]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_songs_need_no_spark(run, tmp_path, monkeypatch):
    def refuse(*arguments: object, **named: object) -> None:
        raise AssertionError("Spark is started")

    monkeypatch.setattr("echelon.spark.session.session", refuse)
    generate(run, str(tmp_path), SongOptions(songs=2, seconds=0.1), Place(master="local[4]"))
    assert len(songs_in(tmp_path)) == 2
    with pytest.raises(AssertionError, match="Spark is started"):
        generate(run, str(tmp_path / "tasks"), SongOptions(), Place(workers=2))


@pytest.mark.slow
def test_the_command_for_one_song_imports_nothing_of_spark(run, tmp_path):
    process = _started(run, tmp_path / "out", "--seconds", "0.1")
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert "imported: False" in out
    assert (tmp_path / "out" / "song-000.wav").exists()


@pytest.mark.slow
def test_an_interrupted_command_leaves_whole_files_only(run, tmp_path):
    """Here none, since the songs were still being made."""
    process = _started(run, tmp_path / "out", "--seconds", "100000", "--songs", "2", "--threads", "2")
    try:
        deadline = time.monotonic() + 60
        while _cpu_seconds(process.pid) < 12 and time.monotonic() < deadline and process.poll() is None:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        begin = time.monotonic()
        _, err = process.communicate(timeout=30)
        assert time.monotonic() - begin < 10
        assert process.returncode not in (0, None), err
    finally:
        process.kill()
    assert not list(tmp_path.glob("out/*"))


def _cpu_seconds(process: int) -> float:
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except FileNotFoundError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_a_run_of_another_recipe_makes_no_songs(run, tmp_path):
    folder = RunFolder(str(tmp_path / "other"))
    asked = RunFolder(run).asked
    folder.storage.write_json("config.json", {**asked, "learner": {"type": f"{__name__}:Other", "fields": {}}})
    with pytest.raises(EchelonError, match="run of Other, which makes no songs"):
        generate(folder.url, str(tmp_path / "out"), SongOptions(), HERE)


class Other(Learner):
    def model(self):
        raise AssertionError

    loss = optimizer = model


def test_each_evaluation_has_a_clip_in_the_report(run):
    folder = RunFolder(run)
    steps = [event["step"] for event in folder.events() if event["kind"] == "evaluate"]
    samples = [Sampled(folder.storage, event["path"], event["step"]) for event in folder.events()
               if event["kind"] == "sample"]  # fmt: skip
    assert [sample.step for sample in samples] == steps
    arrays, learner = samples[-1].arrays, folder.learner
    assert isinstance(learner, MusicLearner)
    assert len(arrays[CODES]) == 2 * int(arrays[RATE]) == 2 * RATE_OF_SONGS
    heard = int(arrays[HEARD])
    np.testing.assert_array_equal(arrays[CODES][:heard], restored(learner.beginning))
    model = load_trained(folder).model
    assert isinstance(model, WaveNet)
    new = generate_codes(model, 2 * RATE_OF_SONGS - heard, start=restored(learner.beginning))
    np.testing.assert_array_equal(arrays[CODES][heard:], new)
    (shown,) = MusicRecipe().samples(learner, samples)
    from echelon.report.page import run_page
    from echelon.report.recorded import read_run

    page = run_page(read_run(run), [shown])
    assert page.count("<audio controls") == len(steps)
    assert page.count("data:audio/wav;base64,UklGR") == len(steps)
    assert page.count('aria-label="sound: step') == len(steps)
    assert "Songs on the way" in page


def test_clips_go_on_from_the_loudest_beginning_of_the_songs_held_back(run):
    dataset = open_dataset(RunFolder(run).asked["dataset"]["url"])
    (batch,) = span_batches(dataset, "test", None, 0, dataset.rows("test"), 100)
    wanted = {bytes(codes[: min(length, 200)].tolist()): float((decode(codes[: min(length, 200)].numpy()) ** 2).sum())
              for codes, length in zip(batch["samples"], batch.lengths["samples"].tolist(), strict=True)}  # fmt: skip
    found = loud_beginning(dataset, "test", 800)
    assert wanted[bytes(found)] == max(wanted.values()) > min(wanted.values())
    assert len(found) <= 200
    np.testing.assert_array_equal(restored(stored(found)), found)
    assert len(restored(stored(found[:0]))) == 0
    assert np.ptp(decode(found)) > 1


def test_of_many_clips_some_are_shown_and_the_others_named(run):
    folder = RunFolder(run)
    (path, *_) = [event["path"] for event in folder.events() if event["kind"] == "sample"]
    samples = [Sampled(folder.storage, path, step) for step in range(10, 260, 10)]
    samples[3] = Sampled(folder.storage, "samples/gone.npz", 40)
    shown = spread(samples, SHOWN)
    assert (len(shown), shown[0].step, shown[-1].step) == (SHOWN, 10, 250)
    (exhibit,) = clips(samples)
    titles = [clip.title for clip in exhibit.clips]  # type: ignore[attr-defined]
    assert titles == [f"step {one.step}" for one in shown if one.path == path]
    named = re.search(r"Those of the steps ([\d, ]+) lie in the folder", exhibit.lead)
    assert named is not None
    rest = [f"step {step}" for step in named[1].split(", ")]
    assert sorted([*titles, *rest, "step 40"]) == sorted(f"step {one.step}" for one in samples)
    assert not list(clips([]))
    (exhibit,) = clips([Sampled(folder.storage, path, step) for step in range(5000)])
    assert "Those of 4,990 other steps lie in the folder" in exhibit.lead
