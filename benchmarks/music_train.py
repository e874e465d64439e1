"""A training step of the music recipe's WaveNet beside the same by torch's own convolutions, on one thread of a
processor.

    python benchmarks/music_train.py [--model full]

One window of 8,192 codes with 2,048 before it: logits of its own codes, their cross-entropy, and the backward pass.
Both sides have the same weights, leave out what no target needs, and give the same logits and gradients, which is
verified first. CPU time counts; sides take turns, and medians are told. Freed memory is kept for both, as in a
training. Limit: our side needs at most two thirds of the CPU time. About a minute.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from measured import Outcome, in_turn, told
from torch import Tensor

from echelon.allocation import kept_memory
from echelon.denormals import flushed_denormals
from echelon.recipes.music import wavenet
from echelon.recipes.music.mulaw import CODES
from echelon.recipes.music.settings import SIZES
from echelon.recipes.music.wavenet import WaveNet

WINDOW, CONTEXT = 8192, 2048
LIMIT = 1.5


@contextmanager
def by_convolutions() -> Iterator[None]:
    """The model as it is on a GPU."""
    ours = wavenet._on_processor
    wavenet._on_processor = lambda x: False
    try:
        yield
    finally:
        wavenet._on_processor = ours


def step(model: WaveNet, codes: Tensor) -> float:
    """CPU seconds of a forward and a backward pass; the gradients stay."""
    model.zero_grad()
    begin = time.process_time()
    logits = model(codes[:, :-1], keep=WINDOW)
    F.cross_entropy(logits, codes[:, -WINDOW:], reduction="sum").backward()
    return time.process_time() - begin


def plain_step(model: WaveNet, codes: Tensor) -> float:
    with by_convolutions():
        return step(model, codes)


def verify(model: WaveNet, codes: Tensor) -> None:
    """In double precision: in single precision rounding alone puts some values on the other side of a ReLU."""
    found = []
    for side in (step, plain_step):
        side(model, codes)
        found.append(torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None]))
    if (found[0] - found[1]).norm() > 1e-9 * found[1].norm():
        raise RuntimeError("the sides do not compute the same")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=list(SIZES), help="default: both")
    parser.add_argument("--rounds", type=int, default=5)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    outcomes = []
    for name in [chosen.model] if chosen.model else SIZES:
        torch.manual_seed(0)
        sizes = SIZES[name]
        model = WaveNet(CODES, sizes.residual, sizes.skip, sizes.stacks, sizes.layers)
        codes = torch.randint(0, CODES, (1, CONTEXT + WINDOW + 1))
        sides: list[Callable[[], float]] = [
            lambda model=model, codes=codes: step(model, codes),
            lambda model=model, codes=codes: plain_step(model, codes),
        ]
        verify(model.double(), codes)
        model.float()
        with kept_memory(), flushed_denormals():
            for side in sides:
                side()
            times = in_turn(sides, chosen.rounds)
        ours, theirs = (statistics.median(each) for each in zip(*times, strict=True))
        rest = f"{WINDOW / ours:,.0f} samples a second of CPU, torch's convolutions {WINDOW / theirs:,.0f}"
        outcomes.append(Outcome(f"{name}: torch's convolutions / ours", theirs / ours, LIMIT, unit=" ×", rest=rest))
    return told("A training step of WaveNet", outcomes)


if __name__ == "__main__":
    sys.exit(main())
