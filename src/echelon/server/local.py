"""One worker and its server in this very process: plain training, with the checkpoints of a parameter server."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing

from echelon.data.manifest import open_dataset
from echelon.errors import CommunicationError
from echelon.server.opening import open_server
from echelon.server.worker import work_for
from echelon.train.events import EventLog
from echelon.train.progress import Progress
from echelon.train.run import Event, RunFolder
from echelon.train.worker import Job
from echelon.world import single_world


def serve_here(job: Job, attempt: int, on_event: Callable[[Event], None]) -> Progress:
    """Trains until the end, as the only worker; a run that was begun by more of them, too.

    Raises:
        EchelonError: as `echelon.server.opening.open_server`. Exception: what the learner raises.
    """
    with closing(EventLog(RunFolder(job.run), attempt, on_event)) as log:
        conductor = open_server(job, open_dataset(job.dataset), log, attempt, workers=1)
        try:
            work_for(conductor, job, single_world(attempt))
        finally:
            conductor.close()
        if not conductor.ended:
            raise CommunicationError("the only worker has ended before the training")
        return conductor.progress
