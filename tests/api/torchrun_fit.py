"""What torchrun starts in `test_fit_torchrun`: a user's script that fits on Parquet; rank 1 dies once."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from line import LineLearner
from torch import Tensor, nn

import echelon
from echelon.data.batch import Batch


class DyingLearner(LineLearner):
    """Kills rank 1 in its 13th step of the first start, or raises there if told so."""

    seen = 0

    def loss(self, model: nn.Module, batch: Batch) -> tuple[Tensor, float]:
        self.seen += model.training
        if self.seen == 13 and os.environ["RANK"] == "1" and os.environ.get("TORCHELASTIC_RESTART_COUNT") == "0":
            if HOW == "raise":
                raise ValueError("the user's own fault")
            os.kill(os.getpid(), signal.SIGKILL)
        return super().loss(model, batch)


SOURCE, FOLDER, HOW = sys.argv[1:]

if __name__ == "__main__":
    config = echelon.RunConfig(epochs=2, batch_size=20, checkpoint_every="5steps")
    run = echelon.fit(DyingLearner(), SOURCE, config, run=FOLDER)
    Path(FOLDER, f"rank-{os.environ['RANK']}.txt").write_text(str(run.evaluate(SOURCE).metrics))
