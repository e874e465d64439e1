"""Whether every worker sees the same files, asked before a gang trains for an hour and then cannot write.

The driver leaves a file beside the run that each rank must read; each rank leaves one that rank 0 must read. What is to
be read is compared with what rank 0 reads. Whoever cannot is named by host.
"""

from __future__ import annotations

import hashlib
import socket
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace

import torch.distributed as dist

from echelon.data.storage import open_storage
from echelon.errors import EchelonError


@dataclass(frozen=True)
class Probe:
    """What every worker must be able to do.

    read: files as (URL of a folder, path in it), the same for all workers. write: URL of a folder that all share.
    token: given by the driver for each launch.
    """

    read: tuple[tuple[str, str], ...] = ()
    write: str | None = None
    token: str = ""


class PathNotShared(EchelonError):
    """A host does not see a path that all workers must share."""


@contextmanager
def listed_files() -> Iterator[None]:
    """For a block in a task that reads files which the driver has listed.

    Raises:
        PathNotShared: one of them is not there. As a problem of the file it would pass for a broken one, and thousands
            would be missing.
    """
    try:
        yield
    except FileNotFoundError as error:
        raise PathNotShared(
            f"{error} on {socket.gethostname()}, but the driver found it: use a path that all hosts share, such as "
            "s3://, hdfs:// or a network file system; if it was deleted since, start again"
        ) from error


@contextmanager
def laid(probe: Probe | None) -> Iterator[Probe | None]:
    """The probe with the driver's file in place, for the length of the block."""
    if probe is None:
        yield None
        return
    probe = replace(probe, token=uuid.uuid4().hex)
    if probe.write is None:
        yield probe
        return
    storage = open_storage(probe.write)
    path = _path(probe, "driver")
    storage.write(path, probe.token.encode())
    try:
        yield probe
    finally:
        with suppress(Exception):
            storage.delete(path)


def pass_probe(probe: Probe, store: dist.Store, rank: int, hosts: Sequence[str]) -> None:
    """A worker's part. Returns when this rank saw and wrote all that it must.

    Raises:
        PathNotShared: names the host and the path.
    """
    for folder, path in probe.read:
        _compare(store, rank, hosts, folder, path)
    if probe.write is None:
        return
    _see(probe, "driver", hosts[rank], "the driver")
    storage = open_storage(probe.write)
    mine = _path(probe, str(rank))
    storage.write(mine, probe.token.encode())
    try:
        store.set(f"probe/written/{rank}", "")
        if rank == 0:
            for other, host in enumerate(hosts):
                store.wait([f"probe/written/{other}"])
                _see(probe, str(other), hosts[0], f"rank {other} on {host}")
            store.set("probe/seen", "")
        store.wait(["probe/seen"])
    finally:
        storage.delete(mine)


def _compare(store: dist.Store, rank: int, hosts: Sequence[str], folder: str, path: str) -> None:
    try:
        digest = hashlib.sha256(open_storage(folder).read(path)).hexdigest()
    except FileNotFoundError:
        raise PathNotShared(f"{hosts[rank]} cannot see {folder}/{path}: use a path that all hosts share") from None
    key = f"probe/read/{hashlib.sha256(f'{folder}/{path}'.encode()).hexdigest()}"
    if rank == 0:
        store.set(key, digest)
    elif store.get(key).decode() != digest:
        raise PathNotShared(
            f"{hosts[rank]} sees another {folder}/{path} than {hosts[0]} does: use a path that all hosts share"
        )


def _see(probe: Probe, writer: str, host: str, who: str) -> None:
    assert probe.write is not None
    try:
        found = open_storage(probe.write).read(_path(probe, writer))
    except FileNotFoundError:
        found = b""
    if found != probe.token.encode():
        raise PathNotShared(
            f"{host} cannot see what {who} wrote in {probe.write}: use a folder that all hosts share, "
            "such as s3://, hdfs:// or a network file system"
        )


def _path(probe: Probe, writer: str) -> str:
    return f"_probe-{probe.token}-{writer}"
