"""Runs beside each other: groups over seeds, what a target cost, and what must be said to be fair."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from pages import checked, text_of
from stories import Story, WriteRun

from echelon.errors import EchelonError
from echelon.report.compare import compare_runs, compare_table, cost_of
from echelon.report.compare_page import compare_page
from echelon.report.comparison import Comparison, first_reaching, mean_of
from echelon.report.history import Curve, Point
from echelon.train.progress import Progress
from echelon.train.results import RUNNING

SEEDS = (0, 1, 2)


def _curve(*values: tuple[int, float]) -> Curve:
    return Curve(tuple(Point(step, 2.0 * step, step / 10, 100.0 * step, value) for step, value in values))


@pytest.fixture
def six(finished: WriteRun) -> list[str]:
    """AllReduce and Averaging, with three seeds each."""
    return [finished(f"{every}-{seed}", every=every, seed=seed) for every in (1, 10) for seed in SEEDS]


def test_runs_that_differ_by_the_seed_are_one_group(six: list[str]) -> None:
    comparison = compare_runs(six)
    assert [(group.label, len(group.runs)) for group in comparison.groups] == [
        ("AllReduce", 3),
        ("Averaging(sync_every=10)", 3),
    ]
    assert comparison.metric == "accuracy"
    assert comparison.baseline == 0.25
    assert not comparison.notes


def test_what_differs_is_named(finished: WriteRun) -> None:
    urls = [finished("a"), finished("b", workers=4), finished("c", epochs=2)]
    labels = [group.label for group in compare_runs(urls).groups]
    assert labels[0].startswith("AllReduce, 2 workers")
    assert labels[1].startswith("AllReduce, 4 workers")
    assert "epochs 2" in labels[2]
    assert len(set(labels)) == 3


def test_the_cost_of_a_target_is_that_of_the_first_evaluation_that_reached_it(six: list[str]) -> None:
    comparison = compare_runs(six, target=0.6)
    for group in comparison.groups:
        costs = []
        for run in group.runs:
            points = run.history.metric("accuracy").points
            at = next(index for index, point in enumerate(points) if point.value >= 0.6)
            assert points[at - 1].value < 0.6 <= points[at].value
            costs.append(points[at])
        for name in ("steps", "seconds", "bytes"):
            spread = cost_of(comparison, group, name)
            assert spread is not None
            assert spread.mean == pytest.approx(sum(getattr(p, name) for p in costs) / 3)
            assert (spread.low, spread.high) == (min(spread.values), max(spread.values))
    allreduce, averaging = (cost_of(comparison, group, "bytes") for group in comparison.groups)
    assert allreduce is not None
    assert averaging is not None
    assert averaging.mean < allreduce.mean / 8


def test_the_table_fits_a_terminal_of_80_columns(six: list[str]) -> None:
    text = text_of(compare_table(compare_runs(six, target=0.6)), width=80)
    assert "second" in text, "the last column is there"
    assert "0.6739" in text
    assert max(map(len, text.splitlines())) <= 80


def test_a_target_that_was_not_reached_is_said(six: list[str]) -> None:
    text = text_of(compare_table(compare_runs(six, target=0.95)))
    assert text.count("not reached") == 6
    assert "best 0.6" in text
    page = checked(compare_page(compare_runs(six, target=0.95)))
    assert page.count('class="missed">not reached') == 6


def test_some_of_the_runs_reached_it(six: list[str]) -> None:
    (group,) = compare_runs(six[:3]).groups
    worst, second, _ = sorted(max(curve.values) for curve in group.curves("accuracy"))
    text = text_of(compare_table(compare_runs(six[:3], target=(worst + second) / 2)))
    assert "2 of 3 runs" in text
    assert "not reached" not in text


def test_a_loss_is_reached_from_above() -> None:
    curve = _curve((1, 2.0), (2, math.nan), (3, 0.9), (4, 0.5))
    point = first_reaching(curve, "loss", 1.0)
    assert point is not None
    assert point.steps == 3
    assert first_reaching(curve, "accuracy", 2.5) is None


def test_the_mean_of_runs_at_equal_steps() -> None:
    mean = mean_of([_curve((10, 1.0), (20, 2.0)), _curve((10, 3.0), (20, 6.0))])
    assert mean.curve == _curve((10, 2.0), (20, 4.0))
    assert (mean.low, mean.high) == ((1.0, 2.0), (3.0, 6.0))


def test_the_mean_of_runs_at_other_steps_is_interpolated_where_all_have_values() -> None:
    mean = mean_of([_curve((10, 1.0), (30, 3.0)), _curve((20, 4.0), (40, 8.0))])
    assert mean.curve == _curve((20, 3.0), (30, 4.5))
    assert mean_of([_curve((1, 1.0)), _curve((2, 1.0))]).curve.points == ()


def test_one_run_is_its_own_mean() -> None:
    curve = _curve((10, 1.0), (20, 2.0))
    assert mean_of([curve]).curve == curve


def test_the_page_shows_groups_costs_and_runs(six: list[str]) -> None:
    comparison = compare_runs(six, target=0.6)
    page = checked(compare_page(comparison))
    assert page.count('<svg class="plot"') == 4
    for group in comparison.groups:
        assert group.label in page
        for run in group.runs:
            assert f"<td>{run.name}</td>" in page
    assert "fewest bytes to accuracy ≥\N{NO-BREAK SPACE}0.6" in page
    assert "Logarithmic axis" in page


def test_without_a_target_and_without_bytes(finished: WriteRun) -> None:
    """One worker sends nothing, and there is nothing to see against nothing."""
    comparison = compare_runs([finished("alone", workers=1)])
    page = checked(compare_page(comparison))
    assert "What it took" not in page
    assert "best accuracy at the end" in page
    assert "against bytes" not in page


def _running(url: str) -> Story:
    story = Story(url)
    story.attempt(0, 150)
    story.finish(Progress(), RUNNING)
    return story


def test_what_is_not_equal_is_noted(tmp_path: Path, finished: WriteRun, recovered: str) -> None:
    running = _running(f"{tmp_path}/running").folder.url
    never = Story(f"{tmp_path}/never").folder.url
    comparison = compare_runs([finished(), recovered, running, never])
    notes = " ".join(comparison.notes)
    assert "never evaluated by accuracy: never" in notes
    assert "running (running)" in notes
    assert "recovered: recovered" in notes
    assert [group.label for group in comparison.groups] == ["AllReduce", "AllReduce, running"]
    assert notes.split()[0] in text_of(compare_table(comparison))


def test_another_dataset_is_noted(tmp_path: Path, finished: WriteRun) -> None:
    other = Story(f"{tmp_path}/other")
    asked = other.folder.asked
    other.folder.storage.write_json("config.json", {**asked, "dataset": {**asked["dataset"], "digest": "f" * 64}})
    other.finish(other.attempt(0, other.steps))
    comparison: Comparison = compare_runs([finished(), other.folder.url])
    assert "not trained on the same dataset" in comparison.notes[0]
    assert len(comparison.groups) == 2


def test_a_metric_that_nobody_has_is_refused(tmp_path: Path, finished: WriteRun) -> None:
    with pytest.raises(EchelonError, match=r"'f1'; there are: accuracy, loss"):
        compare_runs([finished()], metric="f1")
    with pytest.raises(EchelonError, match="none of these runs was evaluated"):
        compare_runs([Story(f"{tmp_path}/never").folder.url])
    with pytest.raises(EchelonError, match="there is no run at"):
        compare_runs([str(tmp_path / "nowhere")])
