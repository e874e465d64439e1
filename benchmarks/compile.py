"""What torch.compile makes of a training step: the models of images on made images of CIFAR-10's shape.

    python benchmarks/compile.py

The same steps as they are and compiled, a few of each in turn, in one process with one thread: forward pass, backward
pass and optimizer. Beside the gain stands what compiling costs before the first step. No limit: it depends on the model
and the device whether --compile pays.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable

import torch
from measured import Outcome, in_turn, told

from echelon.data.batch import Batch
from echelon.device import default_device
from echelon.errors import EchelonError
from echelon.recipes.images.learner import ImagesLearner
from echelon.train.compiled import compile_model, require_compiler
from echelon.train.precision import autocast

ROWS, CHUNK = 100, 5
MODELS = ("quick", "resnet")


def stepper(model_name: str, precision: str, compiled: bool, device: torch.device) -> Callable[[], float]:
    """What takes a few steps, and gives the seconds of one."""
    classes = [str(label) for label in range(10)]
    learner = ImagesLearner(classes, [32, 32], total_steps=1, schedule="constant", lr=0.01, model_name=model_name)
    torch.manual_seed(0)
    model = learner.model().to(device)
    optimizer = learner.optimizer(model)
    columns = {"image": torch.randint(0, 256, (ROWS, 3, 32, 32), dtype=torch.uint8), "label": torch.arange(ROWS) % 10}
    batch = Batch(columns, torch.arange(ROWS), {}).to(device)
    if compiled:
        compile_model(model)

    def step() -> None:
        optimizer.zero_grad()
        with autocast(precision, device):
            total, weight = learner.loss(model, batch)
        (total / weight).backward()
        optimizer.step()
        float(total.detach())  # as the training loop, which waits for the device here

    def steps() -> float:
        start = time.perf_counter()
        for _ in range(CHUNK):
            step()
        return (time.perf_counter() - start) / CHUNK

    return steps


def measured(model_name: str, precision: str, rounds: int, device: torch.device) -> Outcome:
    what = f"{model_name}, {precision}: compiled / as it is, steps/s"
    plain, compiled = (stepper(model_name, precision, way, device) for way in (False, True))
    plain()
    start = time.perf_counter()
    compiled()
    first = time.perf_counter() - start
    seconds = in_turn((plain, compiled), rounds)
    before, after = (1e3 * statistics.median(side) for side in zip(*seconds, strict=True))
    gain = statistics.median(one / other for one, other in seconds)
    return Outcome(what, gain, rest=f"{after:.1f} and {before:.1f} ms a step; the first {CHUNK} took {first:.1f} s")


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--rounds", type=int, default=10, help=f"of {CHUNK} steps of each side")
    chosen = arguments.parse_args()
    torch.set_num_threads(1)
    device = default_device()
    try:
        require_compiler(device)
        outcomes = [
            measured(name, precision, chosen.rounds, device) for name in MODELS for precision in ("fp32", "bf16")
        ]
    except EchelonError as error:
        outcomes = [Outcome("compiled / as it is", None, rest=str(error))]
    return told(f"torch.compile on {device}", outcomes)


if __name__ == "__main__":
    sys.exit(main())
