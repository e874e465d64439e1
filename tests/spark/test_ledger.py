"""A prepare that was killed goes on with the parts that it had not written."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import interrupted_prepare
import numpy as np
import pytest
from interrupted_prepare import ITEMS, PARTS, ROWS, SLOWLY, prepare

from echelon.data.commit import RECEIPTS
from echelon.data.manifest import WRITING, Dataset
from echelon.data.span import span_batches
from echelon.errors import DataError
from echelon.spark.ledger import plan_of
from echelon.spark.prepare import Addition

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def rows(dataset: Dataset) -> dict[str, list[tuple[str, int]]]:
    """All rows of each split in their order."""
    return {
        split: [
            row
            for batch in span_batches(dataset, split, None, 0, dataset.rows(split), 100)
            for row in zip(batch.strings("key"), batch["square"].tolist(), strict=True)
        ]
        for split in dataset.splits
    }


def states(folder: Path) -> dict[str, tuple[int, int]]:
    return {
        path.relative_to(folder).as_posix(): (path.stat().st_ino, path.stat().st_mtime_ns)
        for path in folder.rglob("*.parquet")
    }


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what a killed prepare left at "cut"."""
    folder = tmp_path_factory.mktemp("killed")
    # Imported, since what a script that is run itself defines has another identity each time.
    call = "import sys, interrupted_prepare; interrupted_prepare.main(sys.argv[1])"
    done = subprocess.run(
        [sys.executable, "-c", call, str(folder)],
        env={**os.environ, SLOWLY: "0.4", "PYTHONPATH": str(Path(interrupted_prepare.__file__).parent)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr[-2000:]
    return folder


@pytest.mark.slow
def test_other_arguments_do_not_go_on(spark: SparkSession, killed: Path) -> None:
    with pytest.raises(DataError, match="of other files, options"):
        prepare(spark, killed, "cut", resume=True, shuffle_seed=5)
    assert list((killed / "cut" / RECEIPTS).iterdir()), "and nothing is lost by that"


def test_other_assets_do_not_go_on(spark: SparkSession, tmp_path: Path) -> None:
    """Tasks read them, so other rows may be in the parts that are there."""
    with pytest.raises(RuntimeError, match="at the end"):
        prepare(spark, tmp_path, "cut", conclude=fail, assets={"words": np.arange(3)})
    with pytest.raises(DataError, match="of other files, options"):
        prepare(spark, tmp_path, "cut", resume=True, assets={"words": np.arange(4)})


def test_receipts_of_a_plan_that_nobody_cleared_away_are_not_taken(spark: SparkSession, tmp_path: Path) -> None:
    """As where a second prepare is killed once it has begun and before it has deleted what a first one left."""
    with pytest.raises(RuntimeError, match="at the end"):
        prepare(spark, tmp_path, "cut", conclude=fail)
    marker = tmp_path / "cut" / WRITING
    with pytest.raises(RuntimeError, match="at the end"):
        prepare(spark, tmp_path, "other", conclude=fail, shuffle_seed=5)
    marker.write_text((tmp_path / "other" / WRITING).read_text())
    resumed, _ = prepare(spark, tmp_path, "cut", resume=True, shuffle_seed=5)
    clean, _ = prepare(spark, tmp_path, "clean", shuffle_seed=5)
    assert rows(resumed) == rows(clean)


@pytest.mark.slow
def test_what_was_written_is_not_written_again(spark: SparkSession, killed: Path) -> None:
    before = states(killed / "cut")
    receipts = len(list((killed / "cut" / RECEIPTS).rglob("*.arrow")))
    assert 2 <= receipts < PARTS, "killed in the middle"
    log = killed / "log"
    log.unlink()
    resumed, summary = prepare(spark, killed, "cut", resume=True)
    again = Counter(log.read_text().split())
    clean, whole = prepare(spark, killed, "clean")
    assert rows(resumed) == rows(clean)
    assert summary == whole, "rows, problems, counts and sums of the kept parts are there too"
    assert whole.problems == 1 + ITEMS * ROWS // 40
    kept = [file.path for files in resumed.manifest.splits.values() for file in files if "again" not in file.path]
    assert len(kept) >= 2 * (receipts - 1), "train and test of each kept part"
    after = states(killed / "cut")
    assert all(before[path] == after[path] for path in kept), "their files were not touched"
    in_kept = sum(file.rows for files in resumed.manifest.splits.values() for file in files if file.path in kept)
    assert sum(again.values()) <= ITEMS * ROWS - in_kept, "none of their rows was finished again"
    assert set(again.values()) == {1}
    assert not (killed / "cut" / RECEIPTS).exists(), "receipts are gone with the interruption"
    assert sorted(path.name for path in (killed / "cut").iterdir()) == ["_manifest.json", "split=test", "split=train"]


def fail(summary: object) -> Addition:
    """After all parts were written."""
    raise RuntimeError("at the end")


def test_a_kept_part_whose_file_is_gone_is_written_again(spark: SparkSession, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="at the end"):
        prepare(spark, tmp_path, "cut", conclude=fail)
    gone, *_ = sorted((tmp_path / "cut").rglob("*.parquet"))
    gone.unlink()
    log = tmp_path / "log"
    log.unlink()
    resumed, _ = prepare(spark, tmp_path, "cut", resume=True)
    assert 0 < len(log.read_text().split()) < ITEMS * ROWS / 2, "only that part"
    clean, _ = prepare(spark, tmp_path, "clean")
    assert rows(resumed) == rows(clean)


def test_without_the_word_all_begins_anew(spark: SparkSession, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="at the end"):
        prepare(spark, tmp_path, "cut", conclude=fail)
    (tmp_path / "log").unlink()
    dataset, _ = prepare(spark, tmp_path, "cut")
    assert len((tmp_path / "log").read_text().split()) == ITEMS * ROWS
    assert not any("again" in file.path for files in dataset.manifest.splits.values() for file in files)


def test_plans_differ_by_any_item_function_or_option() -> None:
    first = plan_of(["a", "b", len], {"seed": 0})
    # A text that is another object of the same letters.
    assert plan_of(["a", "".join(("", "b")), len], {"seed": 0}) == first
    others = [(["a", "c", len], {"seed": 0}), (["b", "a", len], {"seed": 0}), (["a", "b", max], {"seed": 0}),
              (["a", "b", len], {"seed": None})]  # fmt: skip
    assert len({first, *(plan_of(values, described) for values, described in others)}) == 5
