"""From a listing to a dataset: what the crawler leaves is what prepare takes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from song_site import CC, publish, songs, wav
from typer.testing import CliRunner
from web import Site

from echelon.cli.app import build
from echelon.data.manifest import open_dataset
from echelon.data.span import span_batches

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytest.importorskip("soundfile")
pytest.importorskip("soxr")


def run(*arguments: object) -> str:
    result = CliRunner().invoke(build(["music"]), ["music", *map(str, arguments)], env={"COLUMNS": "200"})
    if result.exception is not None:
        raise result.exception
    return result.stdout


def test_a_crawl_becomes_a_dataset(spark: SparkSession, site: Site, tmp_path: Path):
    publish(site, songs(6))
    for n in range(5):
        site.files[f"/files/Jazz/{n}.mp3"] = wav(n, seconds=0.5)
    site.files["/files/Jazz/5.mp3"] = wav(5, seconds=0.5)[:400]
    home, dataset = tmp_path / "songs", tmp_path / "dataset"
    said = run("crawl", f"{site.url}/genre/Jazz/", home, "--genre", "jazz", "--count", 6, "--pause", 0)
    assert "6 songs" in said
    assert f"echelon music prepare {home} DATASET" in said
    run("prepare", home, dataset, "--rate", 8000, "--window", 1000, "--context", 100, "--min-seconds", 0.1)
    made = open_dataset(str(dataset))
    # Each of five songs has 4,000 samples. Which is tested on depends on the port, that is part of its name.
    assert sum(made.info["counts"].values()) == 5 * 4
    found = {
        song
        for split in made.splits
        for batch in span_batches(made, split, None, 0, made.rows(split), 8)
        for song in batch.strings("song")
    }
    assert found == {path.name for path in home.glob("*.wav") if path.stat().st_size > 400}
    assert set(made.info["licences"]) == {CC}
    (cut,) = (path.name for path in home.glob("*.wav") if path.stat().st_size == 400)
    assert {song for song, _ in made.info["problems"]["first"]} == {cut}, "the song that was published cut off"
