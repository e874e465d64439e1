"""Failures and slow workers on purpose, to rehearse what a cluster does.

    kill:1@20   rank 1 is killed (SIGKILL) at the beginning of global step 20
    fail:1@20   it raises there, as a learner might
    hang:1@20   it does nothing there any more
    slow:2x1.8  rank 2 takes 1.8 times as long to compute, in every step

Several are given with commas between them. A kill, a failure or a hang happens on the first attempt of a run only, so
that a recovery comes through; a slow worker stays slow.
"""

from __future__ import annotations

import os
import re
import signal
import time
from dataclasses import dataclass

from echelon.errors import EchelonError
from echelon.world import World

KILL, FAIL, HANG, SLOW = "kill", "fail", "hang", "slow"
HANG_SECONDS = 3600.0
"""How long a worker hangs. Its peers give up much earlier, but a process that nobody ends shall not stay for ever."""


class RehearsedError(Exception):
    """A failure that was asked for with --fault."""


@dataclass(frozen=True)
class Fault:
    """One thing that goes wrong on a rank: in a global step, counted from 1; or, if it is slow, by a factor always."""

    kind: str
    rank: int
    step: int = 0
    factor: float = 1.0

    def __str__(self) -> str:
        return f"{self.kind}:{self.rank}" + (f"x{self.factor:g}" if self.kind == SLOW else f"@{self.step}")


def parse_faults(text: str | None) -> tuple[Fault, ...]:
    """Reads what --fault takes.

    Raises:
        EchelonError: it is no fault, or a factor is less than 1.
    """
    return tuple(_parse(part.strip()) for part in text.split(",")) if text else ()


def _parse(text: str) -> Fault:
    if match := re.fullmatch(r"(kill|fail|hang):(\d+)@([1-9]\d*)", text):
        return Fault(match[1], int(match[2]), int(match[3]))
    match = re.fullmatch(r"slow:(\d+)x(\d+(?:\.\d+)?)", text)
    if match and float(match[2]) >= 1:
        return Fault(SLOW, int(match[1]), factor=float(match[2]))
    raise EchelonError(
        f"{text!r} is no fault: write kill:1@20, fail:1@20 or hang:1@20 (rank 1, step 20), "
        "or slow:2x1.8 (rank 2, a factor of at least 1)"
    )


def remark_on(faults: tuple[Fault, ...], world: World) -> str:
    """What goes wrong on purpose in this attempt, or ""; and what cannot, since there is no such rank."""
    mine = [fault for fault in faults if fault.kind == SLOW or world.attempt == 1]
    absent = [str(fault) for fault in mine if fault.rank >= world.size]
    present = [str(fault) for fault in mine if fault.rank < world.size]
    told = [f"rehearsing {', '.join(present)}"] if present else []
    told += [f"no rank of {world.size} workers has the fault {', '.join(absent)}"] if absent else []
    return "; ".join(told)


class Rehearsal:
    """The faults of one worker. False if it has none."""

    def __init__(self, faults: tuple[Fault, ...], world: World) -> None:
        own = [fault for fault in faults if fault.rank == world.rank]
        self._world = world
        self._sudden = {fault.step: fault for fault in own if fault.kind != SLOW and world.attempt == 1}
        self._factor = max((fault.factor for fault in own if fault.kind == SLOW), default=1.0)
        self._computing = self._slept = 0.0

    def __bool__(self) -> bool:
        return bool(self._sudden) or self._factor > 1

    def before(self, step: int) -> None:
        """What happens at the beginning of a global step.

        A slow worker rests before it computes what others wait for, and as long as its step before would ask for.

        Raises:
            RehearsedError: the worker fails here.
        """
        if step in self._sudden:
            self._suffer(self._sudden[step])
        self._slept = (self._factor - 1) * self._computing
        if self._slept:
            time.sleep(self._slept)

    def after(self, computing: float) -> None:
        """Learns how many seconds a step took, what `before` slept included."""
        self._computing = max(computing - self._slept, 0.0)

    def _suffer(self, fault: Fault) -> None:
        if fault.kind == KILL:
            os.kill(os.getpid(), signal.SIGKILL)
        if fault.kind == HANG:
            time.sleep(HANG_SECONDS)
        raise RehearsedError(f"{self._world}: --fault {fault}")
