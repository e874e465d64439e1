"""New songs as files: several on the threads of this process, many by tasks of Spark."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from echelon.data.storage import Storage
from echelon.errors import EchelonError
from echelon.recipes.music.generation import GROUP, Codes, songs_of
from echelon.recipes.music.mulaw import decode
from echelon.recipes.music.packed import Precision, Weights, pack
from echelon.recipes.music.sampling import Drawing
from echelon.recipes.music.wav import wav_of
from echelon.recipes.music.wavenet import WaveNet
from echelon.train.checkpoint import Checkpoint
from echelon.train.run import RunFolder
from echelon.train.trained import load_trained
from echelon.world import threads

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from echelon.spark.watching import OnProgress

MADE = "songs.json"
"""What was made and how; written last."""
_FILE = re.compile(r"song-\d{3,}\.wav")
_LOOK_SECONDS = 0.1

OnSamples = Callable[[int], None]
"""Is told how many samples there are of all songs together, ten times a second."""


@dataclass(frozen=True)
class Order:
    """What is to be made, as it is sent to tasks.

    rate: samples a second. samples: of each song, beside those of `start`, which it goes on from and begins with. out:
    the folder for the files.
    """

    run: str
    checkpoint: Checkpoint
    rate: int
    samples: int
    drawing: Drawing
    start: NDArray[np.uint8] | None
    precision: Precision
    out: Storage


Made = Mapping[str, Any]
"""Of one song: "file", "song" (its number), "seconds", "peak" (of 1)."""


def check_free(out: Storage, overwrite: bool) -> None:
    """Looks whether songs may be written to a folder, and removes earlier ones if they may be replaced.

    Raises:
        EchelonError: there are songs, which may not.
    """
    present = [entry.path for entry in out.list(recursive=False) if entry.path == MADE or _FILE.fullmatch(entry.path)]
    if present and not overwrite:
        raise EchelonError(
            f"{out.url} has songs already ({present[0]}, {len(present)} files in all): choose another folder, or "
            "replace them with --overwrite"
        )
    for path in sorted(present, key=lambda path: path != MADE):
        out.delete(path)


def groups_of(numbers: Sequence[int], parts: int) -> list[tuple[int, ...]]:
    """Songs in groups that are made together: one for each part, or more where these would be too large."""
    count = max(min(parts, len(numbers)), -(-len(numbers) // GROUP))
    bounds = [len(numbers) * part // count for part in range(count + 1)]
    return [tuple(numbers[begin:end]) for begin, end in pairwise(bounds)]


def make_here(order: Order, songs: int, workers: int, on_samples: OnSamples) -> list[Made]:
    """Makes songs 0 … songs - 1 on threads; an interruption ends them soon, and leaves whole files only.

    workers: how many threads.
    """
    weights = _weights(order)
    groups = groups_of(range(songs), workers)
    done, stop = [0] * len(groups), threading.Event()

    def make(place: int) -> list[Made]:
        def progress(samples: int) -> None:
            if stop.is_set():
                raise _Stopped
            done[place] = samples * len(groups[place])

        return _written(order, weights, groups[place], progress)

    with ThreadPoolExecutor(min(workers, len(groups)), "songs") as pool:
        futures = [pool.submit(make, place) for place in range(len(groups))]
        try:
            _watch(futures, lambda: on_samples(sum(done)))
        finally:
            stop.set()
            pool.shutdown(wait=True, cancel_futures=True)
    return [made for future in futures for made in future.result()]


def make_on_spark(
    session: SparkSession, order: Order, songs: int, workers: int, on_progress: OnProgress | None = None
) -> list[Made]:
    """The same by tasks, each of which loads the model once and continues its songs together."""
    from echelon.spark.job import run_tasks

    groups = groups_of(range(songs), workers)
    answers = run_tasks(session, _Task(order), groups, description="Echelon: songs", on_progress=on_progress)
    return [made for answer in answers for made in json.loads(answer)]


@dataclass(frozen=True)
class _Task:
    order: Order

    def __call__(self, numbers: tuple[int, ...]) -> bytes:
        with threads(1):
            return json.dumps(_written(self.order, _weights(self.order), numbers, None)).encode()


class _Stopped(Exception):
    """Ends a thread's songs."""


def _watch(futures: Sequence[Future[Any]], look: Callable[[], None]) -> None:
    """Returns when all are done, or raises what the first one raised."""
    waiting: Iterable[Future[Any]] = futures
    while waiting:
        done, waiting = wait(waiting, _LOOK_SECONDS, FIRST_EXCEPTION)
        look()
        for future in done:
            future.result()


def _weights(order: Order) -> Weights:
    trained = load_trained(RunFolder(order.run), checkpoint=order.checkpoint)
    assert isinstance(trained.model, WaveNet)
    return pack(trained.model, order.precision)


def _written(order: Order, weights: Weights, numbers: Sequence[int], progress: OnSamples | None) -> list[Made]:
    songs = songs_of(weights, numbers, order.samples, order.drawing, order.start, progress)
    return [_write(order, number, codes) for number, codes in zip(numbers, songs, strict=True)]


def _write(order: Order, number: int, codes: Codes) -> Made:
    whole = codes if order.start is None else np.concatenate([order.start, codes])
    file = f"song-{number:03d}.wav"
    order.out.write(file, wav_of(whole, order.rate))
    peak = float(np.abs(decode(whole)).max()) if len(whole) else 0.0
    return {"file": file, "song": number, "seconds": len(whole) / order.rate, "peak": peak}
