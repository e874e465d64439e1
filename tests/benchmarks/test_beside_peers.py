"""The benchmarks beside peers measure alike trainings; a peer that cannot run is never counted as held."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

HERE = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def peers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes what the benchmarks share importable as it is for them."""
    if not HERE.is_dir():
        pytest.skip("there are no benchmarks beside these tests")
    for folder in (HERE / "peers", HERE):
        monkeypatch.syspath_prepend(str(folder))


@pytest.mark.usefixtures("peers")
def test_limits_have_words_and_statuses() -> None:
    from measured import HELD, MISSED, NOT_MEASURED, Outcome, told

    held, missed = Outcome("a", 5.0, 5.0), Outcome("b", 4.9, 5.0)
    small, absent = Outcome("c", 0.03, 0.02, at_least=False), Outcome("d", None, 5.0)
    assert [told("t", [held]), told("t", [held, missed]), told("t", [small])] == [HELD, MISSED, MISSED]
    assert told("t", [held, absent]) == NOT_MEASURED
    assert told("t", [absent, missed]) == MISSED
    assert told("t", [Outcome("no limit", 0.0)]) == HELD


@pytest.mark.usefixtures("peers")
def test_sides_take_turns_in_beginning() -> None:
    from measured import in_turn

    calls: list[str] = []

    def called(name: str) -> int:
        calls.append(name)
        return len(calls)

    found = in_turn([lambda: called("a"), lambda: called("b")], 3)
    assert calls == ["a", "b", "b", "a", "a", "b"]
    assert found == [(1, 2), (4, 3), (5, 6)]


@pytest.mark.usefixtures("peers")
def test_accuracy_is_that_of_the_trained_arrays() -> None:
    import task
    import torch

    features, labels = task.made(200, seed=3)
    assert np.array_equal(features, task.made(200, seed=3)[0])
    assert not np.array_equal(features, task.made(200, seed=4)[0])
    arrays = [torch.from_numpy(array) for array in task.initial()]
    values = torch.from_numpy(features)
    for weight, bias in zip(arrays[:-2:2], arrays[1:-2:2], strict=True):
        values = torch.relu(values @ weight + bias)
    expected = ((values @ arrays[-2] + arrays[-1]).argmax(1).numpy() == labels).mean()
    assert task.accuracy(task.initial(), features, labels) == pytest.approx(expected, abs=0.011)


@pytest.mark.usefixtures("peers")
def test_unlike_trainings_are_refused() -> None:
    from rounds import Fit, Pair, check_alike
    from task import SIZES, Task

    task = Task(rows=2_000, batch=100, workers=2)
    alike = {
        "model": f"{'-'.join(map(str, SIZES))} float32",
        "rows of an epoch": 2_000,
        "steps of an epoch": 10,
        "workers": 2,
        "threads of a worker": 1,
    }

    def pair(**other: object) -> Pair:
        fit = Fit(1, 1.0, None, None, None, 1.0, 0.5, alike | other)
        return Pair(fit, fit)

    check_alike({"a": [pair()], "b": [pair()]}, task)
    for name, value in {"workers": 1, "threads of a worker": 4, "rows of an epoch": 1_990, "model": "other"}.items():
        with pytest.raises(ValueError, match=name):
            check_alike({"a": [pair()], "b": [pair(**{name: value})]}, task)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.usefixtures("peers")
def test_our_side_trains_what_was_asked(tmp_path: Path) -> None:
    """The side in a process of its own, with real Spark; its facts pass the check and its figures are in order."""
    from beside import Side
    from rounds import Rows, Way, check_alike, first_step, pairs, steady_rate
    from task import Task

    task = Task(rows=2_000, batch=50, workers=2)
    rows = Rows.written(tmp_path, task)
    with Side("Echelon", Path(sys.executable), "ours.py", tmp_path / "log", RuntimeError) as side:
        side.ask("start", 180, workers=2)
        found = pairs([Way("Parquet", side, {"frame": False, "sync_every": 0})], rows, (1, 3), rounds=1)
        with pytest.raises(RuntimeError, match="KeyError"):
            side.ask("no such verb", 60)
    check_alike(found, task)
    fit = found["Parquet"][0].long
    assert 0 < first_step(fit) < fit.seconds
    assert steady_rate(fit) > task.rows / fit.seconds
    assert fit.accuracy > 0.5


@pytest.mark.slow
@pytest.mark.usefixtures("peers")
def test_a_peer_that_cannot_be_installed_is_not_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import environment

    monkeypatch.setattr(environment, "HOME", tmp_path)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(environment.CannotMeasure, match="elephas cannot be installed"):
        environment.interpreter("elephas")
    assert not (tmp_path / "elephas" / "installed").exists()


@pytest.mark.slow
@pytest.mark.usefixtures("peers")
def test_unknown_benchmark_is_named() -> None:
    done = subprocess.run([sys.executable, HERE, "nothing"], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 2
    assert "no benchmark nothing" in done.stderr


@pytest.mark.usefixtures("peers")
def test_steady_state_that_noise_hides_is_not_measured() -> None:
    from measured import NOT_MEASURED, told
    from rounds import Fit, Pair, epochs_between

    def pair(short: float, long: float) -> Pair:
        facts = {"rows of an epoch": 1_000}
        return Pair(*(Fit(epochs, seconds, None, None, None, 1.0, 0.5, facts)
                      for epochs, seconds in ((1, short), (5, long))))  # fmt: skip

    assert epochs_between([pair(1, 3), pair(2, 10)]) == [2_000, 500]
    assert epochs_between([pair(1, 3), pair(2, 2)]) is None
    import beside_elephas

    fine, hidden = [pair(1, 3)], [pair(2, 1.9)]
    limits = beside_elephas.Limits(whole=None, steady=2.0, accuracy=None)
    assert told("t", beside_elephas.outcomes("ours", hidden, fine, limits)) == NOT_MEASURED
    (steady,) = [o for o in beside_elephas.outcomes("ours", [pair(1, 2)], fine, limits) if "steady" in o.what]
    assert steady.found == 2


@pytest.mark.parametrize("dies", ["hangs", "ends"])
@pytest.mark.usefixtures("peers")
def test_a_side_that_does_not_answer_is_ended_with_all_that_it_started(tmp_path: Path, dies: str) -> None:
    """Its child holds its output open, as Java does, so that to end the side alone would wait for ever."""
    from beside import Side

    script = tmp_path / "side.py"
    script.write_text(
        "import subprocess, sys, time\n"
        f"child = subprocess.Popen(['sleep', '120'])\nopen({str(tmp_path / 'child')!r}, 'w').write(str(child.pid))\n"
        f"sys.stdin.readline()\ntime.sleep(120 * {dies == 'hangs'})\n"
    )
    began = time.monotonic()
    with Side("a side", Path(sys.executable), str(script), tmp_path / "log", RuntimeError) as side:
        with pytest.raises(RuntimeError, match="no answer to 'x' within 2 s"):
            side.ask("x", 2)
        child = int((tmp_path / "child").read_text())
    while psutil.pid_exists(child) and psutil.Process(child).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() - began < 30, "its child is still there"
        time.sleep(0.02)
    assert side._process.poll() is not None


@pytest.mark.usefixtures("peers")
def test_a_side_of_the_predictions_that_fails_is_not_waited_for() -> None:
    import predict

    began = time.monotonic()
    with pytest.raises(RuntimeError, match="a side ended with status 1"):
        predict.together(len)
    assert time.monotonic() - began < 60
