"""Sides of a comparison, asked from here: every side is a process, and every wait has a deadline."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Any, cast

import psutil
from environment import HERE, CannotMeasure, variables

END_SECONDS = 30.0


class Side:
    """A side's process, as a context manager.

    name: how it is called in tables. script: in this folder. log: where all that its libraries print goes. failure:
    what is raised when it fails: a peer's failure means that it cannot be measured, ours is one of the benchmark.
    """

    def __init__(
        self, name: str, python: Path, script: str, log: Path, failure: type[Exception] = CannotMeasure
    ) -> None:
        self.name, self._log, self._failure = name, log, failure
        with log.open("w") as errors:
            # A session of its own, so that its group can be ended even when the process itself has gone before.
            self._process = subprocess.Popen(
                [python, HERE / script],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env=variables(python),
                cwd=log.parent,
                start_new_session=True,
            )
        self._requests, self._answers = cast(IO[str], self._process.stdin), cast(IO[str], self._process.stdout)

    def __enter__(self) -> Side:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Ends the process and all that it started."""
        started = self._tree()
        with suppress(OSError):
            self._requests.close()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(END_SECONDS if kind is None else 0)
        self._kill(started)
        self._process.wait(END_SECONDS)
        self._answers.close()

    def _kill(self, started: list[psutil.Process]) -> None:
        """Ends the group, and of the processes those that have left it, as Spark's Python workers do."""
        for process in started:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def ask(self, verb: str, seconds: float, **arguments: Any) -> dict[str, Any]:
        """What the side answers.

        Args:
            seconds: after so many it is ended.

        Raises:
            failure: it failed, ended or did not answer in time; quotes its last lines.
        """
        late = threading.Timer(seconds, lambda: self._kill(self._tree()))
        late.start()
        try:
            print(json.dumps({"do": verb, **arguments}), file=self._requests, flush=True)
            line = self._answers.readline()
        except OSError:
            line = ""
        finally:
            late.cancel()
        answer = json.loads(line) if line else {"failed": f"no answer to '{verb}' within {seconds:g} s\n{self._tail()}"}
        if "failed" in answer:
            raise self._failure(f"{self.name}: {answer['failed'].strip()}")
        return answer["done"]

    def cpu_seconds(self) -> float:
        """CPU time of all processes of this side until now, of those that ended too."""
        total = 0.0
        for process in self._tree():
            with suppress(psutil.NoSuchProcess):
                total += sum(process.cpu_times()[:4])
        return total

    def _tree(self) -> list[psutil.Process]:
        with suppress(psutil.NoSuchProcess):
            process = psutil.Process(self._process.pid)
            return [process, *process.children(recursive=True)]
        return []

    def _tail(self) -> str:
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-20:])
