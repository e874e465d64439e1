"""Hosts of a network: namespaces of this machine with addresses of their own, on one bridge.

Each host's link can be cut and mended, made slow, and asked how much it carried. Needs root and `ip netns`.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

LATENCY = "200ms"
"""How long a packet may wait where a link is slow, before it is dropped."""


class NoNetwork(Exception):
    """This machine or this user cannot make network namespaces."""


@dataclass(frozen=True)
class Host:
    """An address, what a command must begin with to run there, and its link, seen from outside ("" for none)."""

    address: str
    enter: tuple[str, ...] = ()
    link: str = ""

    def cut(self) -> None:
        """Takes it off the network; what runs there goes on."""
        _run("ip", "link", "set", self.link, "down")

    def mend(self) -> None:
        _run("ip", "link", "set", self.link, "up")

    def shape(self, megabits: float | None) -> None:
        """Lets so many megabits a second pass in each direction; None for as many as can."""
        for place, device in (((), self.link), (self.enter, "eth0")):
            subprocess.run([*place, "tc", "qdisc", "del", "dev", device, "root"], capture_output=True, timeout=20)
            if megabits is not None:
                # A bucket must hold what may pass within a tick of the clock, and the largest packet there is.
                burst = max(128 * 1024, round(megabits * 1e6 / 8 / 100))
                rate = ("tbf", "rate", f"{round(megabits * 1000)}kbit", "burst", str(burst), "latency", LATENCY)
                _run(*place, "tc", "qdisc", "add", "dev", device, "root", *rate)

    def sent(self) -> int:
        """Bytes that left it, by the counter of its link; packets' headers included."""
        return int(Path(f"/sys/class/net/{self.link}/statistics/rx_bytes").read_text())


@dataclass(frozen=True)
class Network:
    """The host of the driver and the master, and those of the workers in turn."""

    driver: Host
    hosts: tuple[Host, ...]


LOOPBACK = Network(Host("127.0.0.1"), (Host("127.0.0.1"),))


@contextmanager
def hosts_apart(count: int) -> Iterator[Network]:
    """So many hosts on a bridge, beside this machine's own end of it, which is the driver's.

    All is taken away again at the end of the block.

    Raises:
        NoNetwork: says why.
    """
    tag = f"e{os.getpid()}"
    # Trainings of several processes of this machine have networks of their own.
    net = f"10.{200 + os.getpid() % 50}.{os.getpid() // 50 % 250}"
    with ExitStack() as stack:

        def make(*arguments: str, undo: tuple[str, ...]) -> None:
            _run("ip", *arguments)
            stack.callback(subprocess.run, ["ip", *undo], capture_output=True, timeout=20)

        try:
            make("link", "add", f"{tag}b", "type", "bridge", undo=("link", "del", f"{tag}b"))
            _run("ip", "addr", "add", f"{net}.1/24", "dev", f"{tag}b")
            _run("ip", "link", "set", f"{tag}b", "up")
            hosts = []
            for number in range(2, count + 2):
                space, link, address = f"{tag}n{number}", f"{tag}v{number}", f"{net}.{number}"
                make("netns", "add", space, undo=("netns", "del", space))
                make("link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", space,
                     undo=("link", "del", link))  # fmt: skip
                _run("ip", "link", "set", link, "master", f"{tag}b", "up")
                for device, own in (("lo", "127.0.0.1/8"), ("eth0", f"{address}/24")):
                    _run("ip", "-n", space, "addr", "replace", own, "dev", device)
                    _run("ip", "-n", space, "link", "set", device, "up")
                hosts.append(Host(address, ("ip", "netns", "exec", space), link))
        except (OSError, subprocess.SubprocessError) as error:
            said = str(getattr(error, "stderr", "") or error).strip()
            raise NoNetwork(f"network namespaces cannot be made here: {said}") from error
        yield Network(Host(f"{net}.1"), tuple(hosts))


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, text=True, timeout=20)
