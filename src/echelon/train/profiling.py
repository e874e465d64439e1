"""Profiles a few steps of rank 0: a trace of torch's operators and the Python calls."""

from __future__ import annotations

import cProfile
import tempfile
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile

from echelon.train.run import RunFolder

WARM_UP_STEPS = 3


class Profile:
    """Watches `steps` steps after the first few, which pay for allocations, and when training has ended writes

    profile/trace.json (open it in chrome://tracing or Perfetto) and profile/steps.prof (open it with pstats or
    snakeviz). Not earlier: a large trace takes longer to write than the others wait in a step.
    """

    def __init__(self, run: RunFolder, steps: int) -> None:
        self._run, self._steps, self._seen = run, steps, 0
        if not steps:
            return
        activities = [ProfilerActivity.CPU] + ([ProfilerActivity.CUDA] if torch.cuda.is_available() else [])
        self._torch = profile(activities=activities, record_shapes=True)
        self._python = cProfile.Profile()

    def step(self) -> None:
        """Call it after every step."""
        if not self._steps or self._seen > WARM_UP_STEPS + self._steps:
            return
        self._seen += 1
        if self._seen == WARM_UP_STEPS:
            self._torch.start()
            self._python.enable()
        elif self._seen == WARM_UP_STEPS + self._steps:
            self._stop()

    def close(self) -> None:
        """Writes what was seen."""
        steps, self._steps = self._steps, 0
        if not steps or self._seen < WARM_UP_STEPS:
            return
        if self._seen < WARM_UP_STEPS + steps:
            self._stop()
        self._write()

    def _stop(self) -> None:
        self._python.disable()
        self._torch.stop()

    def _write(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            trace, calls = Path(folder, "trace.json"), Path(folder, "steps.prof")
            self._torch.export_chrome_trace(str(trace))
            self._python.dump_stats(str(calls))
            for path in (trace, calls):
                self._run.storage.write(f"profile/{path.name}", path.read_bytes())
