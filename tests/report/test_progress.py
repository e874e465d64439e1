"""Live progress: what it says, where it says it, and that it never comes in the way of the training."""

from __future__ import annotations

import io
import logging
import re
import sys
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from stories import WriteRun

from echelon.report.history import build_history
from echelon.report.progress import LiveProgress, Sight
from echelon.train.run import RunFolder

_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def _events(url: str) -> list[dict[str, Any]]:
    return RunFolder(url).events()


def _shown(events: list[dict[str, Any]], *, terminal: bool, width: int = 110) -> str:
    file = io.StringIO()
    console = Console(file=file, force_terminal=terminal, force_interactive=terminal, width=width, color_system=None)
    with LiveProgress(console) as progress:
        for event in events:
            progress(event)
    return _ESCAPES.sub("", file.getvalue())


def test_plain_lines_where_there_is_no_terminal(recovered: str) -> None:
    events = _events(recovered)
    lines = _shown(events, terminal=False, width=40).splitlines()
    speed, loss = events[1]["rows_per_second"], events[1]["loss"]
    assert lines[0] == "2 workers on cpu at step 0"
    assert lines[1] == f"step 10 of 400: {speed:.0f} rows/s · loss {loss:.4f} · 1 min 02 s left"
    assert "step 100: checkpoint of 580 kB in 0.03 s" in lines
    assert "attempt 1 failed: rank 1 of 2 on <host> was killed (exit code 137); going on from step 200" in lines
    assert "attempt 3: 2 workers on cpu at step 200" in lines
    assert lines[-1] == "did 5 epochs: 400 steps, 1 min 04 s"
    assert len(lines) == len(events), "one line an event, however narrow"


def test_a_bar_on_a_terminal(finished: WriteRun) -> None:
    shown = _shown(_events(finished()), terminal=True)
    assert "step 200 of 400" in shown
    assert "━" in shown
    assert "rows/s" in shown
    assert re.search(r"step 40: accuracy 0\.\d{4}, loss \d\.\d{4} on test", shown)
    assert "did 5 epochs: 400 steps, 1 min 04 s" in shown
    assert "checkpoint" not in shown


def test_nothing_is_shown_before_the_first_event() -> None:
    assert _shown([], terminal=True) == ""


def test_the_time_that_is_left_is_that_of_this_attempt(recovered: str) -> None:
    sight = Sight()
    for event in _events(recovered):
        sight = sight.after(event)
        if event["kind"] == "train" and sight.attempt == 3 and event["step"] == 300:
            break
    assert sight.seconds_left == pytest.approx((400 - 300) * 0.16)
    assert sight.metric is not None
    assert sight.metric.metric == "accuracy"


def test_what_is_told_late_is_told_and_does_not_turn_the_bar_back() -> None:
    """Samples and checkpoints are of a step that training has left behind meanwhile."""
    common = {"epoch": 1.0, "attempt": 1}
    train = {**common, "kind": "train", "step": 30, "seconds": 3.0, "loss": 1.0, "rows_per_second": 5.0, "rate": 0.1,
             "bytes_sent": 0}  # fmt: skip
    begin = {**common, "kind": "start", "step": 0, "seconds": 0.0, "workers": 1, "device": "cpu"}
    late = {**common, "step": 10, "seconds": 9.0}
    told = [{**late, "kind": "sample", "path": "samples/1-10.npz", "took": 2.5},
            {**late, "kind": "remark", "text": "a sample could not be made"},
            {**late, "kind": "checkpoint", "bytes": 10, "took": 1.0}]  # fmt: skip
    events = [begin, {**train, "last_step": 60}, *told]
    lines = _shown(events, terminal=False).splitlines()
    assert lines[2:4] == ["step 10: a sample in 2.50 s", "step 10: a sample could not be made"]
    assert "step 10: a sample could not be made" in _shown(events, terminal=True)
    sight = Sight()
    for event in events:
        sight = sight.after(event)
    assert (sight.step, sight.seconds_left) == (30, 3.0)
    history = build_history([*events[:2], *told])
    assert (history.steps, history.seconds) == (30, 3.0)


class _Broken(io.StringIO):
    def __init__(self, error: Exception) -> None:
        super().__init__()
        self._error = error

    def write(self, text: str) -> int:
        raise self._error


@pytest.mark.parametrize("error", [OSError("the disk is full"), BrokenPipeError("nobody reads this")])
@pytest.mark.parametrize("terminal", [True, False])
def test_a_display_that_fails_stops_nothing(
    finished: WriteRun,
    tmp_path: Path,
    terminal: bool,
    error: Exception,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    console = Console(file=_Broken(error), force_terminal=terminal, force_interactive=terminal)
    events = _events(finished())
    with (tmp_path / "stdout").open("w") as stdout, caplog.at_level(logging.WARNING), LiveProgress(console) as progress:
        monkeypatch.setattr(sys, "stdout", stdout)  # rich points it to nowhere after a broken pipe
        for event in events:
            progress(event)
    assert len(caplog.records) == 1, "it is said once"


def test_an_event_of_another_shape_stops_nothing(tmp_path: Path) -> None:
    progress = LiveProgress(Console(file=io.StringIO()))
    progress({"kind": "train"})
    progress({})
    progress.close()
    progress.close()


def test_a_closed_display_shows_nothing_more(finished: WriteRun) -> None:
    file = io.StringIO()
    progress = LiveProgress(Console(file=file, force_terminal=False))
    progress.close()
    progress(_events(finished())[0])
    assert file.getvalue() == ""
