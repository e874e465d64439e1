"""What an attempt that is still alive may do to a newer one: nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from echelon.data.storage import Storage
from echelon.errors import StorageError
from echelon.train.checkpoint import Part, commit, committed, delete_older, folder_of, newest, write_part
from echelon.train.run import RunFolder
from echelon.train.writer import CheckpointWriter
from echelon.world import World

PART = Part({"model": {"w": torch.ones(3)}}, {"state.json": {"progress": {}}})


def checkpoint(run: RunFolder, attempt: int, step: int) -> None:
    folder = run.storage.child(folder_of(attempt, step))
    commit(folder, write_part(folder, 0, PART), parts=1, deadline=1)


def places(run: RunFolder) -> list[tuple[int, int]]:
    return [(found.attempt, found.step) for found in committed(run)]


def writer(run: RunFolder, attempt: int, remarks: list[str]) -> CheckpointWriter:
    return CheckpointWriter(
        run, World(attempt=attempt), 1, lambda *committed: None, lambda step, text: remarks.append(text)
    )


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    """Two starts; each has left two checkpoints."""
    run = RunFolder(str(tmp_path / "run"))
    for attempt, steps in ((1, (10, 20)), (2, (25, 30))):
        assert run.start_attempt() == attempt
        for step in steps:
            checkpoint(run, attempt, step)
    return run


def test_an_earlier_attempt_deletes_nothing(run: RunFolder) -> None:
    before = places(run)
    delete_older(run, attempt=1, keep=1)
    assert places(run) == before
    earlier = writer(run, 1, [])
    earlier.write(40, PART, 1)
    earlier.wait()
    assert places(run) == sorted([*before, (1, 40)])


def test_what_an_earlier_attempt_writes_later_loses(run: RunFolder) -> None:
    checkpoint(run, attempt=1, step=1000)
    found = newest(run)
    assert found is not None
    assert (found.attempt, found.step) == (2, 30)
    delete_older(run, attempt=2, keep=1)
    assert places(run) == [(2, 30)]


@pytest.fixture
def undeletable(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    def refuse(storage: Storage, path: str) -> None:
        raise StorageError(f"{path}: access denied")

    monkeypatch.setattr(Storage, "delete", refuse)
    monkeypatch.setattr(Storage, "delete_tree", refuse)
    return monkeypatch.undo


def test_who_may_not_delete_can_still_train(run: RunFolder, undeletable: Callable[[], None]) -> None:
    remarks: list[str] = []
    current = writer(run, 2, remarks)
    for step in (35, 40):
        current.write(step, PART, 1)
        current.wait()
    assert len(remarks) == 1, "it is said once"
    assert "access denied" in remarks[0]
    assert places(run)[-2:] == [(2, 35), (2, 40)]
    undeletable()
    current.write(45, PART, 1)
    current.wait()
    assert places(run) == [(2, 45)]


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"attempt": "x"}', None])
def test_a_damaged_number_of_the_newest_start_is_found_in_what_it_left(run: RunFolder, content: str | None) -> None:
    path = Path(run.url) / "attempt.json"
    path.unlink() if content is None else path.write_text(content)
    assert run.newest_attempt() == 2
    run.add_event({"kind": "recovery", "attempt": 3})
    assert run.start_attempt() == 4
    assert run.newest_attempt() == 4
