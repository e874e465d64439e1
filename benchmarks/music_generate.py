"""Making songs with a WaveNet of 2 × 10 layers, 64 channels from layer to layer and 128 to the head, at 16 kHz.

    python benchmarks/music_generate.py [--run RUN]

On one core: one song and eight songs together, with weights of float32 and of bfloat16, beside the same network in
PyTorch on one thread making one song: one that remembers, a code at a time; the plain loop, which for each new code
gives the network all that it looks back on; and the same computing only what the last prediction depends on. Then four
songs on four threads, and many songs by tasks of Spark on one, two and four cores. All make the same codes of the same
network, which is new or that of a run. Of each side the fastest of some rounds counts, since a core that others use
tells nothing, and the median is told too. Limits: 1.6 × real time with float32, 2 × with bfloat16, and 1,000 × the
plain loop, for one song each. One code reads all weights once: what one song alone reaches is decided by the
second-level cache, where float32 needs 2.5 MB; beyond it, by how often 8-bit weights guess right, which depends on
what the network has learned (`--run`). The same song without guesses is told beside it. About two minutes on four
cores.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from measured import Outcome, in_turn, told

import echelon
from echelon.data.storage import open_storage
from echelon.data.write import write_dataset
from echelon.recipes.music.baselines import packed
from echelon.recipes.music.columns import CODE_COUNTS, PAIR_COUNTS, schema_of
from echelon.recipes.music.generation import follow, songs_of
from echelon.recipes.music.learner import MusicLearner
from echelon.recipes.music.mulaw import SILENCE
from echelon.recipes.music.packed import Precision, pack
from echelon.recipes.music.sampling import Drawing, StepByStep, choose
from echelon.recipes.music.songs import Order, make_here, make_on_spark
from echelon.recipes.music.wavenet import WaveNet
from echelon.train.config import RunConfig
from echelon.train.run import RunFolder
from echelon.train.trained import load_trained, newest_of

RATE = 16_000
TOGETHER = 8
REAL_TIME: dict[Precision, float] = {"fp32": 1.6, "bf16": 2.0}
TIMES_THE_LOOP = 1000.0
DRAWING = Drawing(seed=1)


@dataclass(frozen=True)
class Side:
    """A way to make codes. make: makes some of each song, and says how many there are of all together."""

    name: str
    make: Callable[[], int]

    def speed(self) -> float:
        """Codes a second."""
        begin = time.perf_counter()
        return self.make() / (time.perf_counter() - begin)


def compiled(model: WaveNet, precision: Precision, songs: int, samples: int) -> Side:
    weights = pack(model, precision)
    numbers = range(songs)
    return Side(
        f"{precision}, {'one song' if songs == 1 else f'{songs} songs together'}",
        lambda: songs_of(weights, numbers, samples, DRAWING).size,
    )


def without_guesses(model: WaveNet, samples: int) -> Side:
    weights = pack(model, "fp32")
    exact = weights._replace(rough=weights.rough[:0])
    return Side("fp32, one song without guesses", lambda: songs_of(exact, [0], samples, DRAWING).size)


def eager(model: WaveNet, samples: int) -> Side:
    def make() -> int:
        one, code = StepByStep(model), SILENCE
        for uniform in DRAWING.uniforms(0, 0, samples):
            code = choose(one.feed(code).numpy(), float(uniform), DRAWING)
        return samples

    return Side("PyTorch that remembers", make)


def plain(model: WaveNet, name: str, keep: int | None, samples: int) -> Side:
    """From the middle of a song, where the network looks back on as much as it can. keep: predictions to compute."""

    @torch.no_grad()
    def make() -> int:
        codes = torch.full((model.receptive_field,), SILENCE)
        for uniform in DRAWING.uniforms(0, 0, samples):
            logits = model(codes[None], keep)[0, :, -1]
            codes = torch.cat([codes[1:], torch.tensor([choose(logits.numpy(), float(uniform), DRAWING)])])
        return samples

    return Side(name, make)


def real_time(name: str, speeds: Sequence[float], limit: float | None = None) -> Outcome:
    rest = f"{max(speeds):,.0f} codes/s, median {statistics.median(speeds):,.0f}"
    return Outcome(f"{name}, × real time", max(speeds) / RATE, limit, unit=" ×", rest=rest)


def on_one_core(model: WaveNet, samples: int, rounds: int) -> list[Outcome]:
    torch.set_num_threads(1)
    kernels = {(p, n): compiled(model, p, n, samples) for p in REAL_TIME for n in (1, TOGETHER)}
    others = (
        eager(model, 400),
        plain(model, "PyTorch, the plain loop", None, 6),
        plain(model, "PyTorch, the plain loop for the last prediction", 1, 6),
    )
    sides = [*kernels.values(), without_guesses(model, samples), *others]
    for side in sides:
        side.make()
    speeds = dict(zip(sides, zip(*in_turn([side.speed for side in sides], rounds), strict=True), strict=True))
    outcomes = [real_time(side.name, speeds[side], REAL_TIME[p]) for (p, _), side in kernels.items()]
    outcomes += [real_time(side.name, speeds[side]) for side in sides[len(kernels) :]]
    for precision in REAL_TIME:
        ours = max(speeds[kernels[precision, 1]])
        cached, loop, last = (ours / max(speeds[side]) for side in others)
        rest = f"{cached:.1f} × PyTorch that remembers, {last:,.0f} × the loop for the last prediction"
        outcomes.append(
            Outcome(f"{precision}, one song, beside the plain loop", loop, TIMES_THE_LOOP, unit=" ×", rest=rest)
        )
    return outcomes


def errors(model: WaveNet, samples: int) -> list[Outcome]:
    """Of the logits, along a song of the network's own, beside those of one pass of the model."""
    codes = songs_of(pack(model, "fp32"), [0], samples, DRAWING)
    inputs = np.concatenate([[SILENCE], codes[0, :-1]]).astype(np.int64)
    with torch.no_grad():
        wanted = model(torch.from_numpy(inputs)[None])[0].T
    bits = torch.nn.functional.cross_entropy(wanted, torch.from_numpy(codes[0].astype(np.int64))).item() / np.log(2)
    outcomes = []
    for precision, limit in (("fp32", 1e-4), ("bf16", None)):
        made = torch.from_numpy(follow(pack(model, precision), codes)[0])
        own = torch.nn.functional.cross_entropy(made, torch.from_numpy(codes[0].astype(np.int64))).item() / np.log(2)
        rest = f"logits from {wanted.min():.2f} to {wanted.max():.2f}; {own - bits:+.2g} bits a code"
        error = float((made - wanted).abs().max())
        outcomes.append(Outcome(f"{precision}, error of a logit", error, limit, at_least=False, rest=rest))
    return outcomes


def several(order: Order, songs: int, cores: Sequence[int], rounds: int) -> list[Outcome]:
    """On threads of this process, and by tasks of Spark."""
    outcomes = []
    for threads in (1, 4):
        speeds = []
        for _ in range(rounds):
            begin = time.perf_counter()
            make_here(order, threads, threads, lambda samples: None)
            speeds.append(threads * order.samples / (time.perf_counter() - begin))
        name = "one thread, a song" if threads == 1 else f"{threads} threads, a song each"
        outcomes.append(real_time(f"{order.precision}, {name}", speeds))
    from echelon.spark.session import session

    seconds = order.samples / order.rate
    for count in cores:
        spark = session(f"local[{count},8]", count, gang=False)
        make_on_spark(spark, order, count, count)  # starts Python's workers
        took = []
        for _ in range(rounds):
            begin = time.perf_counter()
            make_on_spark(spark, order, songs, count)
            took.append(time.perf_counter() - begin)
        spark.stop()
        rest = f"{songs} songs of {seconds:g} s, {order.precision}: {songs * seconds / min(took):.2f} × real time"
        outcomes.append(
            Outcome(f"Spark, {count} core{'s' if count > 1 else ''}, songs/min", 60 * songs / min(took), rest=rest)
        )
    return outcomes


def new_run(folder: str) -> str:
    """Of a network that has taken one step."""
    codes = np.random.default_rng(0).integers(0, 256, 64).astype(np.uint8)
    row = {"samples": [codes], "context": [0], "song": ["a"], "offset": [0], "key": ["a@0"]}
    pairs = np.ones((256, 256), np.int64)
    info = {"recipe": "music", "rate": RATE, "window": 64, "context": 1, "normalised": True}
    dataset = write_dataset(
        f"{folder}/dataset", schema_of(), {"train": [row]}, info=info,
        assets={PAIR_COUNTS: pairs, CODE_COUNTS: pairs.sum(0)},
    )  # fmt: skip
    learner = MusicLearner(RATE, 64, 1, True, 1, packed(pairs), residual=64, skip=128)
    config = RunConfig(batch_size=1, max_steps=1, eval_every="off")
    return echelon.fit(learner, dataset, config, run=f"{folder}/run").url


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", help="a run of music, in place of a new network of the sizes above")
    parser.add_argument("--samples", type=int, default=RATE // 2, help="codes of each song in a round")
    parser.add_argument("--songs", type=int, default=16, help="songs that Spark makes")
    parser.add_argument("--cores", type=int, nargs="*", default=[1, 2, 4], help="of Spark; none to leave it out")
    parser.add_argument("--rounds", type=int, default=5)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        run = chosen.run or new_run(folder)
        checkpoint = newest_of(RunFolder(run))
        model = load_trained(RunFolder(run), checkpoint=checkpoint).model
        assert isinstance(model, WaveNet)
        outcomes = on_one_core(model, chosen.samples, chosen.rounds) + errors(model, 4000)
        out = open_storage(f"{folder}/songs")
        order = Order(run, checkpoint, RATE, 2 * chosen.samples, DRAWING, None, "fp32", out)
        outcomes += several(order, chosen.songs, chosen.cores, max(1, chosen.rounds // 2))
    return told("Songs of a WaveNet", outcomes)


if __name__ == "__main__":
    sys.exit(main())
