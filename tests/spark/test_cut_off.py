"""A host that is cut off from the network: each host of a standalone cluster is a network namespace of this machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from cluster import Host, Network, standalone_cluster

from echelon.train.checkpoint import newest
from echelon.train.run import RunFolder

NET = "10.213.7"


@pytest.fixture
def network() -> Iterator[tuple[Network, str]]:
    """Two hosts on a bridge, and the link whose end takes the second away."""
    tag = f"e{os.getpid()}"

    def ip(*arguments: str) -> None:
        subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True)

    with ExitStack() as stack:

        def make(*arguments: str, undo: tuple[str, ...]) -> None:
            ip(*arguments)
            stack.callback(subprocess.run, ["ip", *undo], capture_output=True)

        try:
            make("link", "add", f"{tag}b", "type", "bridge", undo=("link", "del", f"{tag}b"))
            ip("addr", "add", f"{NET}.1/24", "dev", f"{tag}b")
            ip("link", "set", f"{tag}b", "up")
            hosts = []
            for number in (2, 3):
                space, link = f"{tag}n{number}", f"{tag}v{number}"
                make("netns", "add", space, undo=("netns", "del", space))
                make("link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", space,
                     undo=("link", "del", link))  # fmt: skip
                ip("link", "set", link, "master", f"{tag}b", "up")
                for device, address in (("lo", "127.0.0.1/8"), ("eth0", f"{NET}.{number}/24")):
                    ip("-n", space, "addr", "replace", address, "dev", device)
                    ip("-n", space, "link", "set", device, "up")
                hosts.append(Host(f"{NET}.{number}", ("ip", "netns", "exec", space)))
        except (OSError, subprocess.CalledProcessError) as error:
            pytest.skip(f"network namespaces cannot be made here: {getattr(error, 'stderr', '') or error}")
        yield Network(Host(f"{NET}.1"), tuple(hosts)), f"{tag}v3"


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_a_host_that_is_cut_off_is_gone_on_without(tmp_path: Path, network: tuple[Network, str]) -> None:
    hosts, link = network
    with standalone_cluster(tmp_path, workers=2, network=hosts) as master:
        script = str(Path(__file__).with_name("cut_off.py"))
        command = [sys.executable, script, master, hosts.driver.address, str(tmp_path), link]
        done = subprocess.run(command, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr[-3000:]
    seen = json.loads(done.stdout.splitlines()[-1])
    assert (seen["steps"], seen["workers"]) == (120, 1)
    assert seen["causes"][-1].endswith("going on with 1 of 2 workers")
    # Noticed by Spark's heartbeats, then waited for in case it comes back.
    assert seen["seconds"] < 90
    # What is cut off still runs and sees the storage; the checkpoints are those of the newer attempt.
    checkpoint = newest(RunFolder(str(tmp_path / "run")))
    assert checkpoint is not None
    assert (checkpoint.attempt, checkpoint.step) == (seen["attempt"], 120)
