"""The same training by Elephas 7.3 and by Echelon: a multilayer perceptron on 20,000 rows of 784 numbers, two workers.

    python benchmarks/beside_elephas.py
    python benchmarks/beside_elephas.py --mode asynchronous --frequency batch
    python benchmarks/beside_elephas.py --mode hogwild --frequency batch

Both sides are warm Spark sessions of their own and train in turn, from the same initial weights, on the same rows, with
the same rows a step and one thread a worker. Echelon averages once an epoch as Elephas's synchronous mode does; its
default, AllReduce in every step, is told beside it. Elephas has its rows as an RDD already, we read plain Parquet.

1. The whole call of fit: Elephas takes at least 5 times as long.
2. Rows per second of the epochs that the longer of two trainings has more (rows of these epochs / difference of the
   median times), without what both do once: at least 2 times Elephas's.
3. The accuracy on rows that were held back is not lower (by more than 0.005, which chance explains).

Beside the asynchronous modes our parameter server is judged, with a lease of as many steps as Elephas takes between two
exchanges (one, or an epoch): the whole call at least 10 times as fast, and not less accurate. Hogwild is Elephas's
asynchronous mode without its lock.

Medians of the rounds count. Where Elephas cannot be installed nothing is measured, and nothing counts as held.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent / "peers"))

from beside import Side
from environment import CannotMeasure, interpreter
from measured import Outcome, told
from rounds import Pair, Rows, Way, check_alike, epochs_between, middle, pairs, times
from task import Task

START_SECONDS, LIMIT, STEADY_LIMIT, CHANCE = 180.0, 5.0, 2.0, 0.005
ASYNCHRONOUS_LIMIT = 10.0
OURS, DEFAULT, PEER = "Echelon, Averaging once an epoch", "Echelon, AllReduce", "Elephas"
SERVER = "Echelon, parameter server"


@dataclass(frozen=True)
class Limits:
    """whole: of the whole call. steady: of rows per second. accuracy: of the difference. None is only told."""

    whole: float | None = None
    steady: float | None = None
    accuracy: float | None = None


SYNCHRONOUS = Limits(LIMIT, STEADY_LIMIT, -CHANCE)
ASYNCHRONOUS = Limits(whole=ASYNCHRONOUS_LIMIT, accuracy=0.0)


def measured(asked: argparse.Namespace, task: Task, folder: Path) -> list[Outcome]:
    """
    Raises:
        CannotMeasure: Elephas cannot be run here.
    """
    rows = Rows.written(folder, task)
    with ExitStack() as sides:
        peer = sides.enter_context(Side(PEER, interpreter("elephas"), "elephas_spark.py", folder / "elephas.log"))
        ours = sides.enter_context(Side("Echelon", Path(sys.executable), "ours.py", folder / "ours.log", RuntimeError))
        for side, chosen in ((ours, {}), (peer, {"threads": task.threads})):
            print(side.name, side.ask("start", START_SECONDS, workers=task.workers, **chosen)["versions"], flush=True)
        peer.ask("read", START_SECONDS, data=rows.path)
        chosen, judged = _ours(asked, task)
        ways = [Way(name, ours, {"frame": False, **how}) for name, how in chosen.items()]
        ways.append(Way(f"{PEER}, {asked.mode}", peer, {"mode": asked.mode, "frequency": asked.frequency}))
        found = pairs(ways, rows, (1, asked.epochs), asked.rounds)
    check_alike(found, task)
    *mine, theirs = found.values()
    return [line for name, one in zip(chosen, mine, strict=True) for line in outcomes(name, one, theirs, judged[name])]


def _ours(asked: argparse.Namespace, task: Task) -> tuple[dict[str, dict[str, Any]], dict[str, Limits]]:
    """Our ways to train, by name, and what they are judged by."""
    if asked.mode == "synchronous":
        return {OURS: {"sync_every": task.steps}, DEFAULT: {"sync_every": 0}}, {OURS: SYNCHRONOUS, DEFAULT: Limits()}
    lease = task.steps if asked.frequency == "epoch" else 1
    return {SERVER: {"sync_every": lease, "server": True}}, {SERVER: ASYNCHRONOUS}


def outcomes(name: str, ours: list[Pair], peer: list[Pair], limits: Limits) -> list[Outcome]:
    """What is compared, and the limits of it."""
    epochs = ours[0].long.epochs
    whole = [[pair.long.seconds for pair in side] for side in (ours, peer)]
    mine, theirs = epochs_between(ours), epochs_between(peer)
    cpu = [[pair.long.cpu for pair in side] for side in (ours, peer)]
    correct = [statistics.median(pair.long.accuracy for pair in side) for side in (ours, peer)]

    def line(what: str, found: float | None, limit: float | None, rest: str, unit: str = " ×") -> Outcome:
        return Outcome(f"{name}: {what}", found, limit, unit=unit, rest=rest)

    if mine is None or theirs is None:
        steady = line(
            "steady state, rows/s",
            None,
            limits.steady,
            f"{epochs} epochs took no longer than 1, so noise hides them: ask for more --epochs",
        )
    else:
        steady = line("steady state, rows/s", times(mine, theirs), limits.steady,
                      f"{middle(mine, '/s')}, Elephas {middle(theirs, '/s')}")  # fmt: skip
    return [
        line(f"fit, {epochs} epochs, whole", times(whole[1], whole[0]), limits.whole,
             f"{middle(whole[0])}, Elephas {middle(whole[1])}"),
        steady,
        line("accuracy held back, more than Elephas's", correct[0] - correct[1], limits.accuracy,
             f"{correct[0]:.3f}, Elephas {correct[1]:.3f}", unit=""),
        Outcome(f"{name}: CPU time of the whole fit", times(cpu[1], cpu[0]), unit=" ×",
                rest=f"{middle(cpu[0])}, Elephas {middle(cpu[1])}"),
    ]  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mode", default="synchronous", choices=["synchronous", "asynchronous", "hogwild"])
    parser.add_argument("--frequency", default="epoch", choices=["epoch", "batch"], help="of the asynchronous modes")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=5, help="of the longer training; the shorter one has 1")
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--batch", type=int, default=100, help="rows of a step of each worker; Elephas's default is 32")
    asked = parser.parse_args()
    task = Task(rows=asked.rows, batch=asked.batch, workers=2)
    with tempfile.TemporaryDirectory() as folder:
        try:
            found = measured(asked, task, Path(folder))
        except CannotMeasure as why:
            found = [Outcome("Elephas", None, LIMIT, unit=" ×", rest=str(why))]
    return told("Beside Elephas: how many times as fast", found)


if __name__ == "__main__":
    sys.exit(main())
