"""Which runs there are in a folder, and the tables for the terminal."""

from __future__ import annotations

from pathlib import Path

from pages import text_of
from stories import Story, WriteRun

from echelon.report.index import find_runs, runs
from echelon.report.recorded import read_run
from echelon.report.tables import evaluation_table, final_table
from echelon.train.progress import Progress
from echelon.train.results import FAILED, RUNNING


def _line(text: str, name: str) -> list[str]:
    return next(line for line in text.splitlines() if line.strip().startswith(name)).split()


def test_every_run_below_a_folder_is_listed(tmp_path: Path, finished: WriteRun) -> None:
    finished("deep/quick", every=10)
    story = Story(f"{tmp_path}/running")
    story.attempt(0, 150)
    story.finish(Progress(), RUNNING)
    Story(f"{tmp_path}/failed").finish(Progress(), FAILED, "no more memory")
    Story(f"{tmp_path}/asked")
    for name, content in (("other", '{"learner": 1}'), ("broken", '{"learner'), ("list", "[]")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(content)
    text = text_of(runs(str(tmp_path)))
    assert _line(text, "deep/quick")[1:4] == ["finished", "400", "accuracy"]
    assert _line(text, "deep/quick")[5:12] == ["42.4", "s", "images", "Averaging", "10", "×", "2"]
    assert _line(text, "running")[1:3] == ["running", "150"], "as its events tell"
    assert _line(text, "failed")[1] == "failed"
    assert "not started" in " ".join(_line(text, "asked"))
    assert len(find_runs(str(tmp_path))) == 4


def test_the_list_fits_a_terminal_of_80_columns(tmp_path: Path, finished: WriteRun) -> None:
    finished(every=10)
    text = text_of(runs(str(tmp_path)), width=80)
    assert {"quick", "finished", "400", "Averaging", "begun"} <= set(text.split())


def test_the_newest_run_comes_first(tmp_path: Path) -> None:
    for number, created in enumerate(["2026-01-01T00:00:00+00:00", "2026-03-01T00:00:00+00:00"]):
        story = Story(f"{tmp_path}/{number}")
        story.folder.storage.write_json("config.json", {**story.folder.asked, "created": created})
    assert [run.name for run in find_runs(str(tmp_path))] == ["1", "0"]


def test_a_run_itself_and_an_empty_folder(tmp_path: Path, finished: WriteRun) -> None:
    url = finished()
    assert [run.url for run in find_runs(url)] == [url]
    assert find_runs(str(tmp_path / "nothing")) == []


def test_the_final_table_says_what_the_run_cost(finished: WriteRun) -> None:
    text = text_of(final_table(read_run(finished())))
    assert _line(text, "accuracy") == ["accuracy", "0.6785", "0.2500", "+0.4285"]
    assert _line(text, "bytes sent")[2:] == ["960", "MB"]
    assert _line(text, "computing")[1:] == ["36.0", "s"]
    assert _line(text, "stopped by")[2:] == ["did", "5", "epochs"]


def test_worse_than_trivial_is_said(finished: WriteRun) -> None:
    text = text_of(evaluation_table({"accuracy": 0.2, "loss": 2.0}, {"accuracy": 0.25}, split="test"))
    assert _line(text, "accuracy") == ["accuracy", "0.2000", "0.2500", "−0.0500"]
    assert _line(text, "loss") == ["loss", "2.0000", "—", "—"]
