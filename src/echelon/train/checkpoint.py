"""Checkpoints on storage that can neither rename nor lock.

    checkpoints/<attempt>-<step>/
        model.safetensors                        written by rank 0
        optimizer.safetensors, optimizer.json    by rank 0 where all ranks have the same,
        replica-<rank>.safetensors, .json        else by each rank
        strategy.safetensors                     what the strategy keeps, if anything: by rank 0 what all ranks have,
        strategy-<rank>.safetensors              by each rank what is its own
        state.json                               position and counters, by rank 0
        COMMIT.json                              sizes and digests of the files above, written last by rank 0

A folder without a valid COMMIT.json does not exist for readers. The newest checkpoint is the one with the greatest
(attempt, step), so that what a process of an earlier attempt may still write is never taken for it.

Digests are of XXH3 with 128 bits, "xxh3:" and 32 digits: they find damage, which nobody forges, and SHA-256 took
longer for a large model than its loading. The 64 digits without a prefix in older checkpoints are of SHA-256.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from dataclasses import dataclass
from typing import Any, Protocol

from safetensors.torch import load, save
from torch import Tensor
from xxhash import xxh3_128

from echelon.data.storage import Storage
from echelon.errors import DataError, StorageError
from echelon.train.run import CHECKPOINTS, RunFolder
from echelon.train.snapshot import OptimizerState

COMMIT, STATE, MODEL = "COMMIT.json", "state.json", "model"
OPTIMIZER, STRATEGY = "optimizer", "strategy"
XXH3 = "xxh3:"
PIECE_BYTES = 8 << 20
FIRST_PAUSE, LONGEST_PAUSE = 0.01, 1.0


def replica(rank: int) -> str:
    """The name of the shard of one rank."""
    return f"replica-{rank:05d}"


def strategy_shard(rank: int) -> str:
    """The name of what the strategy keeps on one rank."""
    return f"{STRATEGY}-{rank:05d}"


@dataclass(frozen=True)
class Checkpoint:
    """A committed checkpoint. files: path → (size in bytes, digest)."""

    storage: Storage
    attempt: int
    step: int
    files: dict[str, tuple[int, str]]

    @property
    def state(self) -> dict[str, Any]:
        """Position and counters, as the loop stored them."""
        return json.loads(self._read(STATE))

    def model(self) -> dict[str, Tensor]:
        """Parameters and buffers by state-dict name."""
        return load(self._read(f"{MODEL}.safetensors"))

    def optimizer(self, name: str = OPTIMIZER) -> OptimizerState:
        """The optimizer of all ranks, or of the shard with this name."""
        plain = json.loads(self._read(f"{name}.json"))
        return OptimizerState(load(self._read(f"{name}.safetensors")), plain["values"], plain["groups"])

    def strategy(self, name: str = STRATEGY) -> dict[str, Tensor]:
        """What the strategy kept of all ranks, or in the shard with this name; empty if it had nothing to keep."""
        path = f"{name}.safetensors"
        return load(self._read(path)) if path in self.files else {}

    def damage(self) -> str:
        """What is not as it was committed, or "". Reads everything, a piece at a time."""
        for path, (_, digest) in self.files.items():
            found = _hash_of(digest)
            with self.storage.open_input(path) as file:
                while piece := file.read(PIECE_BYTES):
                    found.update(piece)
            if found.hexdigest() != digest.removeprefix(XXH3):
                return f"{self.storage.url_of(path)} was changed after it was committed"
        return ""

    def _read(self, path: str) -> bytes:
        data = self.storage.read(path)
        size, digest = self.files[path]
        found = _hash_of(digest)
        found.update(data)
        if len(data) != size or found.hexdigest() != digest.removeprefix(XXH3):
            raise StorageError(f"{self.storage.url}/{path} was changed after it was committed: remove this checkpoint")
        return data


def committed(run: RunFolder) -> list[Checkpoint]:
    """The checkpoints whose commit is valid and whose files have the committed sizes; the newest last."""
    sizes: dict[tuple[int, int], dict[str, int]] = {}
    for file in run.storage.list(CHECKPOINTS):
        match = re.fullmatch(rf"{CHECKPOINTS}/(\d+)-(\d+)/([^/]+)", file.path)
        if match:
            sizes.setdefault((int(match[1]), int(match[2])), {})[match[3]] = file.size
    found = []
    for (attempt, step), present in sorted(sizes.items()):
        folder = run.storage.child(folder_of(attempt, step))
        files = _commit(folder) if COMMIT in present else None
        if files is not None and all(present.get(path) == size for path, (size, _) in files.items()):
            found.append(Checkpoint(folder, attempt, step, files))
    return found


def newest(run: RunFolder) -> Checkpoint | None:
    """The newest committed checkpoint; None if there is none."""
    return next(reversed(committed(run)), None)


def newest_whole(run: RunFolder) -> tuple[Checkpoint | None, str]:
    """The newest checkpoint whose content is what was committed, and what is wrong with newer ones, or ""."""
    damages: list[str] = []
    for checkpoint in reversed(committed(run)):
        damage = checkpoint.damage()
        if not damage:
            return checkpoint, "; ".join(damages)
        damages.append(f"{damage}, so an older checkpoint is taken")
    return None, "; ".join(damages)


def folder_of(attempt: int, step: int) -> str:
    """The path of a checkpoint in the folder of its run."""
    return f"{CHECKPOINTS}/{attempt}-{step}"


class _Hash(Protocol):
    def update(self, data: bytes, /) -> None: ...
    def hexdigest(self) -> str: ...


def _hash_of(digest: str) -> _Hash:
    """An empty one of the kind that a digest is of."""
    return xxh3_128() if digest.startswith(XXH3) else hashlib.sha256()


def _commit(folder: Storage) -> dict[str, tuple[int, str]] | None:
    try:
        files = json.loads(folder.read(COMMIT))["files"]
        return {path: (int(size), str(digest)) for path, (size, digest) in files.items()}
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None


@dataclass(frozen=True)
class Part:
    """What one rank writes of a checkpoint: files by name, tensors or plain values."""

    tensors: dict[str, dict[str, Tensor]]
    values: dict[str, Any]

    @classmethod
    def of_optimizer(cls, name: str, state: OptimizerState) -> Part:
        return cls({name: state.tensors}, {f"{name}.json": {"values": state.values, "groups": state.groups}})

    def __add__(self, other: Part) -> Part:
        return Part({**self.tensors, **other.tensors}, {**self.values, **other.values})


def write_part(folder: Storage, rank: int, part: Part) -> dict[str, tuple[int, str]]:
    """Writes the files of one rank, and last a note of their sizes and digests that rank 0 waits for."""
    files: dict[str, tuple[int, str]] = {}
    for path, data in _encoded(part):
        folder.write(path, data)
        files[path] = (len(data), XXH3 + xxh3_128(data).hexdigest())
    if rank:
        folder.write_json(_note(rank), {"files": files})
    return files


def commit(folder: Storage, own: dict[str, tuple[int, str]], parts: int, deadline: float) -> int:
    """Waits for the notes of the other ranks that write a part, and commits; the bytes of the checkpoint.

    Called by rank 0.

    Raises:
        StorageError: a rank's note is not there after `deadline` seconds.
    """
    files, end, pause = dict(own), time.monotonic() + deadline, FIRST_PAUSE
    for rank in range(1, parts):
        while (note := _read_note(folder, rank)) is None:
            if time.monotonic() > end:
                raise StorageError(f"rank {rank} did not write its part of {folder.url} within {deadline:.0f} s")
            time.sleep(pause)
            pause = min(1.5 * pause, LONGEST_PAUSE)
        files |= note
    folder.write_json(COMMIT, {"files": files})
    return sum(size for size, _ in files.values())


def delete_older(run: RunFolder, attempt: int, keep: int) -> None:
    """Deletes all but the newest `keep` checkpoints, if `attempt` is still the current one.

    What an earlier attempt left uncommitted goes too; what the current one has not committed yet stays.
    """
    if run.newest_attempt() != attempt:
        return
    kept = {(c.attempt, c.step) for c in committed(run)[-keep:]}
    for name in {file.path.split("/")[1] for file in run.storage.list(CHECKPOINTS)}:
        match = re.fullmatch(r"(\d+)-(\d+)", name)
        if match and (found := (int(match[1]), int(match[2]))) not in kept and found < max(kept, default=(0, 0)):
            # The commit goes first: a half-deleted checkpoint must not look like one.
            folder = run.storage.child(folder_of(*found))
            if folder.exists(COMMIT):
                folder.delete(COMMIT)
            run.storage.delete_tree(folder_of(*found))


def _encoded(part: Part) -> list[tuple[str, bytes]]:
    values = [(path, json.dumps(value).encode()) for path, value in part.values.items()]
    return [(f"{name}.safetensors", save(tensors)) for name, tensors in part.tensors.items()] + values


def _note(rank: int) -> str:
    return f"{replica(rank)}.note.json"


def _read_note(folder: Storage, rank: int) -> dict[str, tuple[int, str]] | None:
    try:
        return {path: (size, digest) for path, (size, digest) in folder.read_json(_note(rank))["files"].items()}
    except (FileNotFoundError, DataError):
        return None  # not there yet, or not whole yet
