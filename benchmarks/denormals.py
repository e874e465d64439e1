"""What it gains to take denormal numbers for zero: a training step of an LSTM that is judged by its last state.

    python benchmarks/denormals.py

Forward and backward pass of the network for reviews over texts of 400 words, with new weights, as a training begins:
what flows back from the last word falls below 1e-38 long before the first. The same step with and without, in turn, on
one thread, in CPU time. As torch initialises an LSTM, so that about half is forgotten in every step, and as the recipe
does, which opens the gates and has less to gain.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext

import torch
from measured import Outcome, in_turn, told

from echelon.denormals import flushed_denormals
from echelon.recipes.reviews.models.choice import network
from echelon.recipes.reviews.settings import USUAL

ROWS, LENGTH, WORDS = 64, 400, 10_003
HIDDEN = USUAL["lstm"].sizes.hidden


def stepper(opened: bool, flushed: bool) -> Callable[[], float]:
    """What takes a step, and gives its CPU seconds. opened: whether the forget gates are open at first."""
    torch.manual_seed(0)
    model = network("lstm", WORDS, 2, USUAL["lstm"].sizes)
    for name, parameter in model.named_parameters():
        if "bias_ih" in name and not opened:
            torch.nn.init.uniform_(parameter, -(HIDDEN**-0.5), HIDDEN**-0.5)
    tokens, lengths = torch.randint(3, WORDS, (ROWS, LENGTH)), torch.full((ROWS,), LENGTH)

    def step() -> float:
        model.zero_grad()
        begin = time.process_time()
        with flushed_denormals() if flushed else nullcontext():
            model(tokens, lengths).square().sum().backward()
        return time.process_time() - begin

    return step


def measured(what: str, opened: bool, limit: float | None, rounds: int) -> Outcome:
    sides = stepper(opened, flushed=False), stepper(opened, flushed=True)
    for side in sides:
        side()
    seconds = in_turn(sides, rounds)
    before, after = (statistics.median(side) for side in zip(*seconds, strict=True))
    gain = statistics.median(one / other for one, other in seconds)
    rest = f"{1e3 * before:.0f} and {1e3 * after:.0f} ms of CPU time a step"
    return Outcome(f"{what}: as it is / denormals as zero", gain, limit, unit=" ×", rest=rest)


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--rounds", type=int, default=5)
    chosen = arguments.parse_args()
    torch.set_num_threads(1)
    outcomes = [
        measured("torch's initial weights", False, 2.0, chosen.rounds),
        measured("forget gates open at first", True, None, chosen.rounds),
    ]
    return told(f"An LSTM of 2 × {HIDDEN} units on {ROWS} texts of {LENGTH} words", outcomes)


if __name__ == "__main__":
    sys.exit(main())
