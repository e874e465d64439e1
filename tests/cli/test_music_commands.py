"""Songs from files to new songs, by the commands."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
from commands import Done, Echelon

from echelon.data.manifest import open_dataset
from echelon.data.span import span_batches
from echelon.recipes.music.made import write_songs
from echelon.train.run import RunFolder

PREPARE = ("--rate", 4000, "--window", 500, "--context", 64, "--test-fraction", 0.34)
TRAIN = ("--residual", 8, "--skip", 8, "--layers", 4, "--batch-size", 6, "--epochs", 2, "--lr", 0.02)


def bits_of(done: Done) -> str:
    """As the table of an evaluation tells them."""
    (line,) = [line for line in done.out.splitlines() if re.match(r"\W*bits\b", line)]
    return re.findall(r"-?\d+\.\d+", line)[0]


def test_songs_become_new_songs(echelon: Echelon, tmp_path: Path) -> None:
    write_songs(tmp_path / "raw", 3, 1.5, rate=8000, endings=("ogg", "flac", "wav"))
    prepared = echelon("music", "prepare", tmp_path / "raw", tmp_path / "dataset", *PREPARE)
    assert prepared.code == 0, prepared.err
    run, dataset = tmp_path / "run", open_dataset(str(tmp_path / "dataset"))
    trained = echelon("music", "train", dataset.url, *TRAIN, "--workers", 2, "--run", run)
    assert trained.code == 0, trained.err
    results = RunFolder(str(run)).results
    baseline = results["baseline"]
    assert 0 < results["metrics"]["bits"] < 8
    assert baseline["bits"] == min(baseline["bits_of_frequency"], baseline["bits_of_previous_code"])
    page = (run / "report.html").read_text()
    assert "Trivial predictors" in page
    assert "how frequent it is after the code before it" in page
    learner = RunFolder(str(run)).learner
    assert learner.pairs[:30] in page  # type: ignore[attr-defined]
    assert learner.pairs not in page  # type: ignore[attr-defined]

    # The songs of the test split as files of their own, in the form in which they were.
    held = {s for batch in span_batches(dataset, "test", ["song"], 0, dataset.rows("test"), 99)
            for s in batch.strings("song")}  # fmt: skip
    assert len(held) == 1
    (tmp_path / "held").mkdir()
    for song in held:
        shutil.copy(tmp_path / "raw" / song, tmp_path / "held" / song)
    stored = echelon("music", "evaluate", run, dataset.url)
    raw = echelon("music", "evaluate", run, tmp_path / "held")
    assert (stored.code, raw.code) == (0, 0), stored.err + raw.err
    assert bits_of(stored) == bits_of(raw) == f"{results['metrics']['bits']:.4f}"

    predicted = echelon("music", "predict", run, dataset.url, tmp_path / "out", "--split", "test")
    assert predicted.code == 0, predicted.err
    out = open_dataset(str(tmp_path / "out"))
    (rows,) = span_batches(out, "test", None, 0, out.rows("test"), 1000)
    assert set(rows.strings("song")) == held
    codes = rows["targets"].double()
    assert float(codes.sum()) == pytest.approx(dataset.info["songs"]["test"]["seconds"] * 4000, abs=1)
    assert float((rows["bits"] * codes).sum() / codes.sum()) == pytest.approx(results["metrics"]["bits"], abs=1e-4)

    made = echelon("music", "generate", run, tmp_path / "new", "--seconds", 0.1, "--songs", 2)
    assert made.code == 0, made.err
    told = json.loads((tmp_path / "new" / "songs.json").read_text())
    assert told["rate"] == 4000
    sound = sorted((tmp_path / "new").glob("*.wav"))
    assert [file.name for file in sound] == ["song-000.wav", "song-001.wav"]
    assert all(len(file.read_bytes()) == 44 + 2 * 400 for file in sound)
