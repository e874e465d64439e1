"""SparkNet's question: how long to a target accuracy, by how often workers agree and how fast their network is.

    python benchmarks/bandwidth.py                                  # every strategy on three networks, and the bytes
    python benchmarks/bandwidth.py --json FOUND --networks 100 --strategies allreduce,averaging-10 --rounds 2
    python benchmarks/bandwidth.py --json FOUND --networks none --plot docs/bandwidth.svg    # what FOUND has

With --json every training is written down at once, and those that are there already are not done again, so that the
whole table can be measured in pieces.

Three hosts, each a network namespace of this machine with one worker in it, train with AllReduce, with Averaging every
1, 5, 10 and 50 steps and with DiLoCo in fp32 and int8; unshaped, at 1 Gbit/s and at 100 Mbit/s in each direction. In a
round all strategies have the same seed: the same initial weights, and the same rows in every step; in the next round
another one. All have the same learning rate.

**The model.** What there is to win depends on how many bytes a model has for its computations. SparkNet's AlexNet has
61 M parameters and takes 724 M multiplications an image, 12 for each parameter: its fully connected layers hold 96 % of
all parameters. cifar10_quick, whose fully connected layer has 64 units, takes 85. So here that layer has 1,024 units,
as wide for its images as AlexNet's: 1.14 M parameters, 93 % of them fully connected, 12 multiplications each. `--hidden
64` is cifar10_quick itself.

**The clock** is that of training: all steps and exchanges from the first step on until the exchange of the step that is
evaluated is done. Evaluations do not count, since how often one looks has nothing to do with how workers agree; the
clock with them is told beside it. Every strategy is evaluated after every --eval-steps steps, a multiple of all rounds,
so that none ends sooner for being looked at more often.

Limits: at 100 Mbit/s the best strategy reaches the target at least 8 times as soon as AllReduce. If AllReduce does not
reach it within --seconds, what it took until then counts for it, which is less than its own. And AllReduce in fp32
sends at least 380 times the bytes of DiLoCo in int8 with rounds of 100 steps, which would be 398 times if only numbers
travelled; by the counters of the links, headers included, from the difference between trainings of 200 and of 600
steps, which has nothing of the start.

The data are the batches of CIFAR-10 in --data, or made images. Needs root; not measured without.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from measured import Outcome, console, told
from rich.table import Table
from three_hosts.found import Cell, Found, Measured, cells
from three_hosts.images import write_images
from three_hosts.plot import draw
from three_hosts.training import ALLREDUCE, HOSTS, NETWORKS, STRATEGIES, Setting, train

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "spark"))
from hosts import Network, NoNetwork, hosts_apart

LIMIT, TRAFFIC_LIMIT = 8.0, 380.0
FEW_BYTES = "diloco-int8-100"
SLOWEST = "100"
TRAFFIC_STEPS = (200, 600)


def measure(asked: argparse.Namespace, found: Found, network: Network, folder: Path) -> Found:
    """What is asked for and not yet found; written down piece by piece."""
    dataset = write_images(f"{folder}/data", asked.data)
    done = {each.key for each in found.measured}
    for round in range(asked.rounds):
        for net in asked.networks:
            for name in asked.strategies:
                if (name, net, round) in done:
                    continue
                for host in network.hosts:
                    host.shape(NETWORKS[net])
                run = folder / f"{name}-{net}-{round}"
                training = train(network.hosts, run, dataset, found.setting, name, seed=round)
                more = Measured(name, net, round, training)
                found = replace(found, measured=(*found.measured, more)).write(asked.json)
    if not asked.traffic:
        return found
    for host in network.hosts:
        host.shape(None)
    for name in (ALLREDUCE, FEW_BYTES):
        if name not in dict(found.traffic):
            few, many = (
                train(network.hosts, folder / f"{name}-{steps}", dataset, found.setting, name, steps=steps).sent
                for steps in TRAFFIC_STEPS
            )
            of_a_step = (many - few) / (TRAFFIC_STEPS[1] - TRAFFIC_STEPS[0])
            found = replace(found, traffic=(*found.traffic, (name, of_a_step))).write(asked.json)
    return found


def show(found: Found) -> None:
    table = Table("network", "strategy", "to the target", "with evaluations", "steps", "ms a step", "sent")
    for cell in cells(found):
        sign = "" if cell.reached else "not within "
        steps = ", ".join(f"{steps:,}" for steps in cell.steps)
        table.add_row(cell.network, cell.strategy, f"{sign}{cell.training:.1f} s", f"{cell.whole:.1f} s", steps,
                      f"{1e3 * cell.step_seconds:.1f}", f"{cell.sent / 1e6:,.1f} MB")  # fmt: skip
    console().print(table)


def outcomes(found: Found, why: str) -> list[Outcome]:
    slow = [cell for cell in cells(found) if cell.network == SLOWEST]
    base = next((cell for cell in slow if cell.strategy == ALLREDUCE), None)
    others = [cell for cell in slow if cell.reached and cell is not base]
    what = f"at {SLOWEST} Mbit/s: AllReduce / the best"
    sent = dict(found.traffic)
    fewer = sent[ALLREDUCE] / sent[FEW_BYTES] if len(sent) == 2 else None
    each = ", ".join(f"{name} {of_a_step / 1e3:,.1f} kB a step" for name, of_a_step in sent.items())
    return [
        _sooner(what, LIMIT, base, others, lambda cell: cell.training, why),
        _sooner(f"{what}, evaluations included", None, base, others, lambda cell: cell.whole, why),
        Outcome("bytes of AllReduce / of DiLoCo, int8, H = 100", fewer, TRAFFIC_LIMIT, unit=" ×", rest=each or why),
    ]


def _sooner(
    what: str, limit: float | None, base: Cell | None, others: Sequence[Cell], clock: Callable[[Cell], float], why: str
) -> Outcome:
    if base is None or not others:
        return Outcome(what, None, limit, rest=why)
    best = min(others, key=clock)
    rest = f"{best.strategy} {clock(best):.1f} s, AllReduce {clock(base):.1f} s" + ("" if base.reached else " and more")
    return Outcome(what, clock(base) / clock(best), limit, unit=" ×", rest=rest)


def _names(text: str) -> list[str]:
    return [] if text == "none" else text.split(",")


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder of data_batch_1.bin … (default: made images)")
    parser.add_argument("--target", type=float, default=0.9, help="accuracy on the test images")
    parser.add_argument("--hidden", type=int, default=1024, help="units of the fully connected layer")
    parser.add_argument("--rows", type=int, default=16, help="of a step on each worker")
    parser.add_argument("--lr", type=float, default=0.005)
    parser.add_argument("--outer-momentum", type=float, default=0.5, help="of DiLoCo")
    parser.add_argument("--eval-steps", type=int, default=50, help="steps between two evaluations")
    parser.add_argument("--seconds", type=float, default=60.0, help="most of each training")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--strategies", type=_names, default=STRATEGIES, help=f"of {','.join(STRATEGIES)}")
    parser.add_argument("--networks", type=_names, default=[*NETWORKS], help=f"of {','.join(NETWORKS)}, or none")
    parser.add_argument("--traffic", action=argparse.BooleanOptionalAction, default=True, help="count bytes of a step")
    parser.add_argument("--json", type=Path, help="file for what was found, and was found before")
    parser.add_argument("--plot", type=Path, help="file for the plot (.svg, .png)")
    asked = parser.parse_args()
    if unknown := sorted(set(asked.networks) - set(NETWORKS)):
        parser.error(f"there is no network {', '.join(unknown)}: choose of {', '.join(NETWORKS)}")
    return asked


def main() -> int:
    asked = parsed()
    setting = Setting(asked.hidden, asked.rows, asked.lr, asked.outer_momentum, asked.target, asked.eval_steps,
                      asked.seconds, asked.data.name if asked.data else "made")  # fmt: skip
    for name in asked.strategies:
        setting.strategy(name)
    found, why = Found.read(asked.json, setting), "not measured there, or no other reached the target"
    try:
        with tempfile.TemporaryDirectory() as folder, hosts_apart(HOSTS) as network:
            found = measure(asked, found, network, Path(folder))
    except NoNetwork as error:
        why = str(error)
    show(found)
    if asked.plot:
        draw(found, asked.plot)
    load = f"load {os.getloadavg()[0]:.0f} on {len(os.sched_getaffinity(0))} cores"
    return told(f"Three hosts and their network ({load})", outcomes(found, why))


if __name__ == "__main__":
    sys.exit(main())
