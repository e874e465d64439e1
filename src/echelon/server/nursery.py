"""A process that has imported all that a server needs, and forks one whenever the driver wants it.

    python -m echelon.server.nursery FILE-DESCRIPTOR [MODULE…]

To import torch takes seconds; to fork it, milliseconds. It is begun once by a driver, ends with it, and has no thread,
so that a fork of it is as good as a new process. What it is asked is one byte and the descriptors of a server's
standard input, output and errors and of the pipe for what that has to say; see `echelon.server.child`.
"""

from __future__ import annotations

import gc
import os
import select
import signal
import socket
import sys
import threading
import traceback
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module

from echelon.server.child import ENDED, serve_post, told

ASK = b"+"
DESCRIPTORS = 4
"""That come with a question: the new standard input, output and errors, and where to speak."""


def main() -> None:
    """Forks servers until the driver has closed its end, as it has when it ended, however it did."""
    control = socket.socket(fileno=int(sys.argv[1]))
    woken, waking = os.pipe()
    for end in (woken, waking):
        os.set_blocking(end, False)
    signal.set_wakeup_fd(waking, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    for name in sys.argv[2:]:
        import_module(name)
    gc.collect()
    gc.freeze()
    speaking: dict[int, int] = {}
    while True:
        ready, _, _ = select.select([control.fileno(), woken], [], [])
        if woken in ready:
            os.read(woken, 1 << 10)
            _tell_of_ends(speaking)
        if control.fileno() in ready:
            asked, given, _, _ = socket.recv_fds(control, 1, DESCRIPTORS)
            if not asked:
                return
            pid = _forked(given, lambda: _leave(control, woken, waking, *speaking.values()))
            speaking[pid] = given.pop()
            for descriptor in given:
                os.close(descriptor)


def _forked(given: list[int], leave: Callable[[], None]) -> int:
    """The process of a new server."""
    if pid := os.fork():
        return pid
    code = 1
    try:
        leave()
        os.setsid()  # Ctrl-C is for the driver, which ends this one
        for number, descriptor in enumerate(given[:-1]):
            os.dup2(descriptor, number)
            os.close(descriptor)
        code = serve_post(given[-1])
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _leave(control: socket.socket, *descriptors: int) -> None:
    """What a server does not share with the process that it was forked from."""
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    control.close()
    for descriptor in descriptors:
        os.close(descriptor)


def _tell_of_ends(speaking: dict[int, int]) -> None:
    """Says in the place of servers that have ended how they did."""
    for pid in list(speaking):
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            end = speaking.pop(pid)
            with suppress(BrokenPipeError):  # nobody listens any more
                os.write(end, told(ENDED, code=os.waitstatus_to_exitcode(status)))
            os.close(end)


if __name__ == "__main__":
    assert threading.active_count() == 1
    main()
