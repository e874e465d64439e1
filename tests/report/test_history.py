"""One history out of what several attempts tell."""

from __future__ import annotations

import math

from stories import BASELINE, WriteRun

from echelon.report.history import build_history
from echelon.report.recorded import read_run
from echelon.train.run import RunFolder


def test_the_curves_are_what_the_events_tell(finished: WriteRun) -> None:
    url = finished()
    events = RunFolder(url).events()
    history = read_run(url).history
    train = [event for event in events if event["kind"] == "train"]
    assert [(p.steps, p.seconds, p.epochs, p.bytes, p.value) for p in history.loss.points] == [
        (e["step"], e["seconds"], e["epoch"], e["bytes_sent"], e["loss"]) for e in train
    ]
    evaluations = [event for event in events if event["kind"] == "evaluate"]
    accuracy = history.metric("accuracy")
    assert accuracy.against("steps") == [event["step"] for event in evaluations]
    assert accuracy.values == [event["metrics"]["accuracy"] for event in evaluations]
    assert history.baselines == {"test": BASELINE}
    assert (history.steps, history.last_step, history.attempts, history.checkpoints) == (400, 400, 1, 4)
    assert history.stopped_by == "did 5 epochs"
    assert not history.recoveries


def test_redone_steps_count_once(recovered: str, finished: WriteRun) -> None:
    """An attempt that resumes tells the same from its checkpoint on, so the curves are those of a run without loss."""
    history, whole = read_run(recovered).history, read_run(finished()).history
    assert history.loss == whole.loss
    assert history.metrics == whole.metrics
    assert history.times == whole.times
    assert (history.seconds, history.rows, history.bytes_sent) == (whole.seconds, whole.rows, whole.bytes_sent)


def test_a_recovery_tells_where_it_resumed_and_why(recovered: str) -> None:
    history = read_run(recovered).history
    (recovery,) = history.recoveries
    assert (recovery.attempt, recovery.steps, recovery.redone) == (3, 200, 60)
    assert recovery.epochs == 2.5
    assert recovery.bytes == history.loss.points[19].bytes
    assert recovery.cause == (
        "rank 1 of 2 on <host> was killed (exit code 137); then ranks [1] of 2 did not start within 30 s"
    )
    assert history.attempts == 3


def test_a_stop_that_was_resumed_does_not_count() -> None:
    begin = {"kind": "start", "step": 0, "epoch": 0.0, "seconds": 0.0, "attempt": 1, "device": "cpu"}
    stop = {"kind": "stop", "step": 5, "epoch": 0.5, "seconds": 1.0, "attempt": 1, "reason": "did 5 steps"}
    again = {**begin, "step": 5, "seconds": 1.0, "attempt": 2}
    history = build_history([begin, stop, again])
    assert history.stopped_by == ""
    assert history.recoveries[0].redone == 0
    assert "not known" in history.recoveries[0].cause


def test_a_loss_that_nobody_saw_leaves_a_gap() -> None:
    common = {"kind": "train", "epoch": 0.0, "seconds": 1.0, "attempt": 1, "rate": 0.1, "rows_per_second": 1.0}
    events = [{**common, "step": step, "bytes_sent": 0, "loss": loss} for step, loss in [(1, 2.0), (2, None), (3, 1.0)]]
    assert build_history(events).loss.against("steps") == [1, 3]


def test_no_events_are_no_history() -> None:
    history = build_history([])
    assert (history.steps, history.attempts, history.split) == (0, 0, "")
    assert math.isclose(history.seconds, 0.0)
    assert history.metric("accuracy").last is None
