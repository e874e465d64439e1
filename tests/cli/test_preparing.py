"""How far a prepare has come, on a terminal and in a log."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from echelon.cli import preparing as module
from echelon.cli.preparing import preparing
from echelon.spark.background import Tasks
from echelon.spark.watching import watcher


def shown(terminal: bool, *tasks: Tasks) -> str:
    out = io.StringIO()
    with preparing(Console(file=out, force_terminal=terminal, width=80)):
        show = watcher()
        assert show is not None
        for seen in tasks:
            show(seen)
    assert watcher() is None
    return out.getvalue()


def test_a_terminal_has_a_bar_of_tasks() -> None:
    assert "12/64" in shown(True, Tasks(0, 0), Tasks(12, 64))


def test_a_log_has_a_line_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    assert shown(False, Tasks(12, 64)) == ""
    monkeypatch.setattr(module, "_LINE_SECONDS", 0.0)
    assert "prepare: 12 of 64 tasks after" in shown(False, Tasks(12, 64))
