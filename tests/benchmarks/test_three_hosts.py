"""What the benchmark of bandwidths makes of the events of a training, and keeps of what it found."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    if not HERE.is_dir():
        pytest.skip("there are no benchmarks beside these tests")
    for folder in (HERE.parent / "tests" / "spark", HERE):
        monkeypatch.syspath_prepend(str(folder))


def setting(**fields: Any) -> Any:
    from three_hosts.training import Setting

    given = {"hidden": 64, "rows": 8, "lr": 0.1, "outer_momentum": 0.5, "target": 0.5, "eval_steps": 50,
             "seconds": 9.0, "data": "made"}  # fmt: skip
    return Setting(**given | fields)


def points(*accuracies: float, every: float = 1.0) -> Any:
    from three_hosts.training import Point

    return tuple(Point(50 * n, every * n, 2 * every * n, accuracy) for n, accuracy in enumerate(accuracies, 1))


def test_the_clock_of_training_leaves_evaluations_out_and_nothing_else() -> None:
    from three_hosts.training import points_of

    def at(moment: float, kind: str, step: int, **more: Any) -> tuple[float, dict[str, Any]]:
        return moment, {"kind": kind, "step": step, **more}

    events = [
        at(100.0, "start", 0),
        at(103.0, "train", 50), at(105.0, "evaluate", 50, metrics={"accuracy": 0.25}),
        at(106.0, "train", 60),
        at(109.0, "train", 100), at(110.0, "evaluate", 100, metrics={"accuracy": 0.5}),
        at(111.0, "stop", 100),
    ]  # fmt: skip
    assert [(p.step, p.training, p.whole, p.accuracy) for p in points_of(events)] == [
        (50, 3.0, 3.0, 0.25),
        (100, 3.0 + 4.0, 9.0, 0.5),
    ]


def test_the_target_is_reached_where_it_is_seen_first() -> None:
    from three_hosts.found import Found, Measured, cells
    from three_hosts.training import Training

    dips = Measured("allreduce", "100", 0, Training(points(0.3, 0.5, 0.4), 10))
    later = Measured("allreduce", "100", 1, Training(points(0.3, 0.4, 0.4, 0.6), 30))
    never = Measured("averaging-5", "100", 0, Training(points(0.1, 0.2), 5))
    one, other = cells(Found(setting(), (dips, later, never)))
    assert (one.reached, one.steps, one.training, one.whole, one.sent) == (True, (100, 200), 3.0, 6.0, 20)
    assert (other.reached, other.steps, other.training) == (False, (100,), 2.0)


def test_what_was_found_is_kept_and_other_settings_are_refused(tmp_path: Path) -> None:
    from three_hosts.found import Found, Measured
    from three_hosts.training import Training

    file = tmp_path / "found.json"
    assert Found.read(file, setting()) == Found(setting())
    found = Found(setting(), (Measured("allreduce", "100", 0, Training(points(0.5), 7)),), (("allreduce", 9.5),))
    found.write(file)
    assert Found.read(file, setting()) == found
    with pytest.raises(SystemExit, match="take another file"):
        Found.read(file, setting(lr=0.2))


def test_limits_count_allreduce_that_did_not_reach_the_target_by_what_it_took() -> None:
    from bandwidth import outcomes
    from measured import HELD, MISSED, NOT_MEASURED
    from three_hosts.found import Found, Measured
    from three_hosts.training import Training

    slow = Measured("allreduce", "100", 0, Training(points(0.3, 0.4, every=40.0), 0))
    fast = Measured("diloco-int8-50", "100", 0, Training(points(0.5, every=10.0), 0))
    never = Measured("averaging-5", "100", 0, Training(points(0.2, every=0.1), 0))
    held = outcomes(Found(setting(), (slow, fast, never), (("allreduce", 400.0), ("diloco-int8-100", 1.0))), "")
    assert [(line.found, line.code) for line in held] == [(8.0, HELD), (8.0, None), (400.0, HELD)]
    missed = outcomes(Found(setting(target=0.4), (slow, fast), (("allreduce", 300.0), ("diloco-int8-100", 1.0))), "")
    assert [line.code for line in missed] == [HELD, None, MISSED]
    unreached = outcomes(Found(setting(), (slow, never)), "why")
    assert [line.code for line in unreached] == [NOT_MEASURED, None, NOT_MEASURED]


def test_a_wide_layer_changes_nothing_but_itself() -> None:
    from three_hosts.training import FewUnitsOrMany

    def parameters(hidden: int) -> int:
        learner = FewUnitsOrMany([str(n) for n in range(10)], [32, 32], 1, init="he", hidden=hidden)
        return sum(p.numel() for p in learner.model().parameters() if p.requires_grad)

    assert parameters(64) == 145_578
    assert parameters(1024) == 145_578 + (1024 + 1 + 10) * (1024 - 64)
