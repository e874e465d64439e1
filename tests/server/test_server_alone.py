"""One worker with its server in one process is plain training, and a parameter server's strategy is checked."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from counted import ROWS, TEST_ROWS, Counting
from normed import Normed
from servers import counts, order

import echelon
from echelon.data.loader import Loader, Position
from echelon.data.manifest import Dataset
from echelon.errors import EchelonError
from echelon.server.local import serve_here
from echelon.server.opening import require_memory
from echelon.sync import AllReduce
from echelon.sync.server import ParameterServer
from echelon.train.checkpoint import newest
from echelon.train.config import RunConfig
from echelon.train.run import RunFolder


@pytest.mark.parametrize("scale", ["mean", "full", "staleness"])
def test_one_worker_equals_a_plain_loop_with_the_same_optimizer(tmp_path: Path, numbered: Dataset, scale: str) -> None:
    learner = Normed()
    config = RunConfig(epochs=3, batch_size=20, lanes=4, seed=5, clip_norm=1.0)
    job = order(tmp_path / "run", numbered, config, learner, 1, ParameterServer(4, scale))
    RunFolder(job.run).create(learner, job.strategy, job.config, numbered, 1)
    progress = serve_here(job, 1, lambda event: None)
    assert (progress.step, progress.rows, progress.metrics["rows"]) == (30, 3 * ROWS, TEST_ROWS)
    oracle = _plain(learner, numbered, job.config)
    found = newest(RunFolder(job.run))
    assert found is not None
    torch.testing.assert_close(found.model(), {**oracle.state_dict()}, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(echelon.load(job.run).state_dict(), {**oracle.state_dict()}, rtol=1e-5, atol=1e-6)


def _plain(learner: Normed, dataset: Dataset, config: RunConfig) -> torch.nn.Module:
    """The same training without anything of Echelon but the order of the rows; no dropout, since it has none."""
    torch.manual_seed(config.seed)
    model = learner.model()
    optimizer = torch.optim.Adam(model.parameters(), lr=learner.lr)
    loader = Loader(dataset, "train", learner.columns, batch_size=20, lanes=4, seed=config.seed, share=range(4))
    for step, (_, batch) in enumerate(loader.batches(Position(0, 0), config.epochs)):
        assert batch is not None
        optimizer.param_groups[0]["lr"] = learner.lr / (1 + learner.decay * step)
        optimizer.zero_grad()
        F.mse_loss(model(batch["weight"]).squeeze(1), learner.target(batch)).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    return model


def test_a_run_is_resumed_by_one_worker_and_counts_on(tmp_path: Path, numbered: Dataset) -> None:
    config = RunConfig(epochs=1, batch_size=20, max_steps=4)
    run = str(tmp_path / "run")
    first = echelon.fit(Counting(), numbered.url, config, strategy=ParameterServer(3), run=run)
    assert first.results["stopped_by"] == "did 4 steps"
    again = echelon.fit(Counting(), numbered.url, RunConfig(epochs=2, batch_size=20), run=run, resume=True)
    assert again.results["state"] == "finished"
    assert again.results["steps"] == 20
    assert again.metrics == {"rows": TEST_ROWS}
    job = order(tmp_path / "run", numbered, config, workers=1)
    assert counts(job, streams=1).tolist() == [2] * ROWS
    for kind in ("start", "train", "evaluate", "checkpoint", "stop"):
        assert any(event["kind"] == kind for event in again.events()), kind
    (*_, evaluated) = (event for event in again.events() if event["kind"] == "evaluate")
    assert evaluated["arrays"] == {"parities": [[29, 0], [0, 28]]}, "more than a number is told beside the metrics"
    before = len(again.events())
    over = echelon.fit(Counting(), numbered.url, RunConfig(epochs=2, batch_size=20), run=run, resume=True)
    assert [event["kind"] for event in over.events()[before:]] == ["start", "stop"]


@pytest.mark.parametrize(
    ("settings", "reason"),
    [({"target": "rows>=57"}, "reached the target rows>=57"), ({"patience": 1}, "rows was not better for 1"),
     ({"max_seconds": 0.2}, "trained for 0.2 s")],
)  # fmt: skip
def test_it_stops_as_it_was_told_to(tmp_path: Path, numbered: Dataset, settings: dict, reason: str) -> None:
    config = RunConfig(epochs=100, batch_size=20, **settings)
    run = echelon.fit(Counting(seconds=0.005), numbered.url, config, strategy=ParameterServer(3), run=tmp_path / "run")
    assert run.results["stopped_by"].startswith(reason)
    assert 0 < run.results["steps"] < 1000
    assert run.metrics == {"rows": TEST_ROWS}


def test_an_error_of_the_learner_is_the_users_own(tmp_path: Path, numbered: Dataset) -> None:
    run = tmp_path / "run"
    with pytest.raises(ArithmeticError, match="row 17"):
        echelon.fit(Counting(fail_at=17), numbered.url, RunConfig(), strategy=ParameterServer(), run=run)
    assert RunFolder(str(run)).results["state"] == "failed"


@pytest.mark.parametrize(
    ("settings", "text"),
    [({"config": RunConfig(balance="once")}, "leave out --balance"), ({"weights": [2.0]}, "leave out --balance")],
)
def test_what_only_synchronous_workers_need_is_refused(
    tmp_path: Path, numbered: Dataset, settings: dict, text: str
) -> None:
    with pytest.raises(EchelonError, match=text):
        echelon.fit(Counting(), numbered.url, strategy=ParameterServer(), run=tmp_path / "run", **settings)


def test_a_checkpoint_of_another_strategy_is_refused(tmp_path: Path, numbered: Dataset) -> None:
    run = tmp_path / "run"
    echelon.fit(Counting(), numbered.url, RunConfig(max_steps=2), strategy=AllReduce(), run=run)
    with pytest.raises(EchelonError, match="AllReduce"):
        echelon.fit(Counting(), numbered.url, RunConfig(), strategy=ParameterServer(), run=run, resume=True)


def test_a_strategy_that_makes_no_sense_is_refused() -> None:
    with pytest.raises(EchelonError, match="at least one step in a lease, got 0"):
        ParameterServer(0)
    with pytest.raises(EchelonError, match="mean, full, staleness, got 'sum'"):
        ParameterServer(scale="sum")  # type: ignore[arg-type]


def test_changes_count_a_share_or_in_full_or_less_the_staler_they_are() -> None:
    mean, full, staleness = ParameterServer(), ParameterServer(scale="full"), ParameterServer(scale="staleness")
    assert [mean.factor(4, s) for s in (0, 3, 9)] == [1 / 4] * 3
    assert [full.factor(4, s) for s in (0, 3, 9)] == [1.0] * 3
    assert [staleness.factor(4, s) for s in (0, 3, 9)] == [1 / 4, 1 / 4, 1 / 10]


def test_a_model_that_does_not_fit_the_memory_is_refused_with_the_numbers(tmp_path: Path) -> None:
    (tmp_path / "meminfo").write_text("MemTotal: 999999 kB\nMemAvailable:    20480 kB\n")
    tensors = {"w": torch.zeros(1 << 18)}
    require_memory(tensors, 4, tmp_path / "meminfo")
    with pytest.raises(EchelonError, match=r"needs about 21 MB for 21 copies of a model of 1 MB.* has 20 MB left"):
        require_memory(tensors, 13, tmp_path / "meminfo")
    require_memory(tensors, 13, tmp_path / "absent")
