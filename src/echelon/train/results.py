"""What results.json says of a run."""

from __future__ import annotations

from typing import Any

from echelon.train.progress import Progress

RUNNING, FINISHED, FAILED = "running", "finished", "failed"


def results_of(
    state: str, progress: Progress, *, steps_per_epoch: int, workers: int, attempts: int, error: str = ""
) -> dict[str, Any]:
    """The figures of a run. seconds: of training, over all attempts; reading, computing, synchronising: per worker."""
    return {
        "state": state,
        "error": error,
        "steps": progress.step,
        "epochs": progress.step / max(steps_per_epoch, 1),
        "seconds": progress.seconds,
        "rows": progress.rows,
        "rows_per_second": progress.rows / progress.seconds if progress.seconds else 0.0,
        "bytes_sent": progress.bytes_sent,
        "seconds_reading": progress.reading,
        "seconds_computing": progress.computing,
        "seconds_synchronising": progress.synchronising,
        "attempts": attempts,
        "workers": workers,
        "metrics": progress.metrics,
        "baseline": progress.baseline,
        "stopped_by": progress.stopped_by,
    }
