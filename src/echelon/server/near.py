"""The server's end for workers on its own machine: a socket in a folder that only this user may enter.

What passes there never leaves the kernel, so it is not encrypted: of a model of some hundred thousand numbers that
takes ten times as long as to hand it over. Who may enter the folder could read the keys of a run in this user's
processes as well.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

BOOT, NETWORK = Path("/proc/sys/kernel/random/boot_id"), Path("/proc/self/ns/net")
LONGEST_PATH = 100
"""Bytes that the path of a socket may have, with room for what libraries put before it (sockaddr_un has 108)."""


@dataclass(frozen=True)
class Near:
    """path: of the socket. machine: the start of the system and the network (Linux's namespace) in which it is."""

    path: str
    machine: str

    @property
    def reachable(self) -> bool:
        """Whether this process is on that machine, may enter, and belongs to the same network.

        A process that sees the folder, but is in another network, is taken for another machine: containers and virtual
        hosts share folders, and what cuts a host off must cut it off from the server.
        """
        return this_machine() == self.machine and os.path.exists(self.path)


def near_end(folder: str) -> Near | None:
    """A socket in a folder of mode 700; None where this system cannot tell, or the path is too long."""
    machine, path = this_machine(), os.path.join(folder, "server")
    return Near(path, machine) if machine and len(os.fsencode(path)) <= LONGEST_PATH else None


def this_machine() -> str:
    """Another text on each machine, after each start of it, and in each of its networks; "" if the system is no
    Linux.
    """
    try:
        return f"{BOOT.read_text().strip()} {os.readlink(NETWORK)}"
    except OSError:
        return ""
