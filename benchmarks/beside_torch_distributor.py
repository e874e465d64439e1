"""The same training by PySpark's TorchDistributor and by Echelon: 20,000 rows of 784 numbers, two workers.

    python benchmarks/beside_torch_distributor.py

TorchDistributor trains DistributedDataParallel on the rows of its partition loader, Echelon with AllReduce, both in
warm Spark sessions of their own, in turn, from the same initial weights, on the same Parquet file, with the same rows a
step and one thread a worker. Echelon shuffles the rows anew in each epoch; the partition loader cannot.

1. From the call to the first step of the slower worker: TorchDistributor takes at least 5 times as long.
2. Rows per second of a whole training of one epoch, from the call to its end: at least 5 times as many.
3. The accuracy on rows that were held back is not lower (by more than 0.005, which chance explains).

The steady state between the first and the last step is told without a limit: both sides then do the same, the same
kernels of PyTorch and gloo's sum of the same gradients in every step. It is told by the clock, and by the CPU time of
the workers, which depends less on what else the machine does. Told, too: a DataFrame instead of the file, which
Echelon writes out as a dataset first, and Averaging(10), which sums parameters in every tenth step only and has no
counterpart there. Medians of the rounds count.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "peers"))

from beside import Side
from environment import CannotMeasure, interpreter
from measured import Outcome, told
from rounds import Pair, Rows, Way, check_alike, first_step, middle, pairs, steady_rate, times
from task import Task

START_SECONDS, LIMIT, CHANCE = 180.0, 5.0, 0.005
OURS, FRAME, AVERAGING, PEER = "Parquet", "DataFrame", "Parquet, Averaging(10)", "TorchDistributor"


def measured(asked: argparse.Namespace, task: Task, folder: Path) -> list[Outcome]:
    """
    Raises:
        CannotMeasure: the peer cannot be run here.
    """
    rows = Rows.written(folder, task)
    with ExitStack() as sides:
        peer = sides.enter_context(Side(PEER, interpreter("pyspark"), "distributor.py", folder / "peer.log"))
        ours = sides.enter_context(Side("Echelon", Path(sys.executable), "ours.py", folder / "ours.log", RuntimeError))
        for side in (ours, peer):
            print(side.name, side.ask("start", START_SECONDS, workers=task.workers)["versions"], flush=True)
        ways = [
            Way(OURS, ours, {"frame": False, "sync_every": 0}),
            Way(FRAME, ours, {"frame": True, "sync_every": 0}),
            Way(AVERAGING, ours, {"frame": False, "sync_every": 10}),
            Way(PEER, peer, {"readers": asked.readers}),
        ]
        found = pairs(ways, rows, (1, asked.epochs), asked.rounds)
    check_alike(found, task)
    theirs = found.pop(PEER)
    return [line for name, each in found.items() for line in outcomes(name, each, theirs, judged=name == OURS)]


def outcomes(name: str, ours: list[Pair], peer: list[Pair], *, judged: bool) -> list[Outcome]:
    """judged: against the limits."""
    limit, epochs = (LIMIT if judged else None), ours[0].long.epochs

    def line(what: str, limit: float | None, of: Callable[[Pair], float], unit: str = " s") -> Outcome:
        mine, theirs = [of(pair) for pair in ours], [of(pair) for pair in peer]
        found = times(mine, theirs) if unit == "/s" else times(theirs, mine)
        rest = f"{middle(mine, unit)}, peer {middle(theirs, unit)}"
        return Outcome(f"{name}: {what}", found, limit, unit=" ×", rest=rest)

    correct = [statistics.median(pair.long.accuracy for pair in side) for side in (ours, peer)]
    return [
        line("to the first step", limit, lambda pair: first_step(pair.short)),
        line("rows/s of 1 epoch, whole", limit, lambda pair: pair.short.seconds),
        line(f"rows/s of {epochs} epochs, whole", None, lambda pair: pair.long.seconds),
        line(f"CPU time of {epochs} epochs, whole", None, lambda pair: pair.long.cpu),
        line("rows/s, steady state", None, lambda pair: steady_rate(pair.long), "/s"),
        line("rows/s of CPU time, steady state", None, lambda pair: steady_rate(pair.long, by_cpu=True), "/s"),
        Outcome(f"{name}: accuracy, more than there", correct[0] - correct[1], -CHANCE if judged else None,
                rest=f"{correct[0]:.3f}, peer {correct[1]:.3f}"),
    ]  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=6, help="of the longer training; the shorter one has 1")
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--readers", type=int, default=0, choices=[0, 1], help="processes that read ahead of its loop")
    asked = parser.parse_args()
    task = Task(rows=asked.rows, batch=100, workers=2)
    with tempfile.TemporaryDirectory() as folder:
        try:
            found = measured(asked, task, Path(folder))
        except CannotMeasure as why:
            found = [Outcome(PEER, None, LIMIT, unit=" ×", rest=str(why))]
    return told(f"Beside {PEER}: how many times as fast", found)


if __name__ == "__main__":
    sys.exit(main())
