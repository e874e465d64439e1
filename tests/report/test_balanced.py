"""What is told of workers whose load was balanced: by a line, in the history, and as plots of the page."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from pages import checked
from rich.console import Console
from stories import STEPS_PER_EPOCH, Story

from echelon.report.history import AXES
from echelon.report.page import run_page
from echelon.report.panels import panels
from echelon.report.progress import LiveProgress
from echelon.report.recorded import read_run
from echelon.train.balance import Deal, Verdict
from echelon.train.balancer import Rebalanced
from echelon.train.pace import Pace
from echelon.train.run import EVENTS, as_json


def found(lanes: tuple[int, ...], seconds: tuple[float, ...], deal: Deal, remark: str = "") -> dict[str, Any]:
    """The values of an event as a training writes it."""
    paces = tuple(Pace(2.0 * count, second) for count, second in zip(lanes, seconds, strict=True))
    verdict = Verdict(deal.counts if deal.counts != lanes else None, max(seconds), max(seconds), remark)
    return Rebalanced(lanes, paces, deal, verdict).event()


class Balanced(Story):
    """A run of two workers, one of which is slow; measured three times."""

    def tell(self) -> None:
        progress, dealt = self.attempt(0, self.steps), Deal(124, (31, 19))
        self.measure(100, found((25, 25), (0.5, 0.9), dealt))
        self.measure(200, found((31, 19), (0.62, 0.64), dealt))
        self.measure(300, found((31, 19), (0.62, 0.99), dealt, "no share can help: worker 1 …"))
        self.finish(progress)

    def measure(self, step: int, values: dict[str, Any]) -> None:
        at = {"step": step, "epoch": step / STEPS_PER_EPOCH, "seconds": self.at(step).seconds, "attempt": 1}
        # A file of its own, after those of the attempt.
        path = f"{EVENTS}/1-{90_000 + step}.jsonl"
        self.folder.storage.write(path, (as_json({"kind": "balance", **at, **values}) + "\n").encode())


def test_the_shares_over_time(tmp_path: Path) -> None:
    story = Balanced(f"{tmp_path}/balanced")
    story.tell()
    run = read_run(story.folder.url)
    history = run.history
    first, second = history.lanes
    assert first.against("steps") == [0, 100, 100, 200, 200, 300, 300, story.steps]
    assert first.values == [25, 25, 31, 31, 31, 31, 31, 31]
    assert second.values == [25, 25, 19, 19, 19, 19, 19, 19]
    assert [curve.values for curve in history.step_seconds] == [[0.5, 0.62, 0.62], [0.9, 0.64, 0.99]]
    shown = {panel.title: panel for panel in panels(history)}
    assert [line.label for line in shown["lanes of each worker"].lines("steps")] == ["worker 0", "worker 1"]
    assert shown["seconds of each worker"].caption.endswith("No share can help: worker 1 …")
    page = checked(run_page(run))
    assert page.count('<svg class="plot"') == 6 * len(AXES)
    assert "lanes of each worker" in page


def test_the_lines_of_balancing(tmp_path: Path) -> None:
    story, file = Balanced(f"{tmp_path}/balanced"), io.StringIO()
    story.tell()
    with LiveProgress(Console(file=file, width=200)) as progress:
        for event in story.folder.events():
            if event["kind"] == "balance":
                progress(event)
    assert file.getvalue().splitlines() == [
        "step 100: workers take 0.50 s : 0.90 s a step; lanes 31 : 19 from step 124 on",
        "step 300: workers take 0.62 s : 0.99 s a step; no share can help: worker 1 …",
    ]


def test_many_workers_are_cut_short_in_a_line_and_drawn_thin(tmp_path: Path) -> None:
    story, file = Balanced(f"{tmp_path}/many", workers=20), io.StringIO()
    event = found((2,) * 20, (0.5,) * 20, Deal(30, (3, 1) * 10))
    with LiveProgress(Console(file=file, width=400)) as progress:
        progress({"kind": "balance", "step": 7, "epoch": 0.1, "seconds": 1.0, "attempt": 1, **event})
    assert "lanes 3 : 1 : 3 : 1 : 3 : 1 : 3 : 1 : … (20 workers) from step 30 on" in file.getvalue()
    story.attempt(0, 50)
    story.measure(20, event)
    history = read_run(story.folder.url).history
    shown = {panel.title: panel for panel in panels(history)}
    assert all(line.faint for line in shown["lanes of each worker"].lines("steps"))
    assert len(shown["lanes of each worker"].figure("steps").axes[0].get_lines()) == 20
