"""`echelon music generate`."""

from __future__ import annotations

import logging
import math
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

import echelon
from echelon.data.files import files_at
from echelon.data.storage import Storage, open_storage
from echelon.driver import Place
from echelon.errors import DataError, EchelonError
from echelon.recipes.music.audio import check_decoders
from echelon.recipes.music.learner import MusicLearner
from echelon.recipes.music.listening import Wish, codes_of, listen
from echelon.recipes.music.sampling import Drawing
from echelon.recipes.music.wav import MOST_SAMPLES
from echelon.train.config import option
from echelon.train.run import RunFolder
from echelon.train.trained import newest_of
from echelon.world import processors

if TYPE_CHECKING:
    from echelon.recipes.music.generation import Codes
    from echelon.recipes.music.songs import Made, Order

SILENCE = "silence"
_LINE_SECONDS = 10.0
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SongOptions:
    """The songs."""

    songs: int = option(1, "how many")
    seconds: float = option(10.0, "length of each, without what it begins with")
    seed: int = option(0, "of the random numbers: the same seed gives the same songs, wherever they are made")
    temperature: float = option(1.0, "below 1 more of what is probable, above 1 less; 0 for the most probable only")
    top_k: int | None = option(None, "draw from so many of the most probable codes (default: from all 256)")
    start: str = option(SILENCE, "a file of sound that the songs begin with and go on from, or silence")
    start_seconds: float = option(1.0, "how much is heard of that file, from its beginning")
    weights: Literal["fp32", "bf16"] = option(
        "fp32", "how weights are stored while songs are made: fp32, or bf16, which is faster"
    )
    threads: int | None = option(None, "threads that share the songs here (default: one for each core)")

    def __post_init__(self) -> None:
        for name in ("songs", "threads"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise EchelonError(f"--{name} must be at least 1, got {value}")
        for name in ("seconds", "start_seconds"):
            if not 0 < getattr(self, name) < math.inf:
                raise EchelonError(f"--{name.replace('_', '-')} must be more than 0, got {getattr(self, name)}")
        _ = self.drawing

    @property
    def drawing(self) -> Drawing:
        return Drawing(self.seed, self.temperature, self.top_k)


def generate(
    run: Annotated[str, typer.Argument(help="the folder of a run", metavar="RUN")],
    out: Annotated[str, typer.Argument(help="folder for the songs (path or URL)", metavar="OUT")],
    options: SongOptions,
    place: Place,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="replace songs that are there")] = False,
) -> str:
    """Makes new songs, as WAV files of 16 bits and a songs.json that says how they were made."""
    # Compiles nothing yet, but takes what only this command needs.
    from echelon.recipes.music.songs import MADE, check_free

    target = open_storage(out)
    order = _order(run, target, options, place)
    check_free(target, overwrite)
    begun = time.monotonic()
    made = _made(order, options, place)
    took = time.monotonic() - begun
    target.write_json(MADE, _told(order, options, made))
    seconds = options.songs * order.samples / order.rate
    return (
        f"{len(made):,} song{'s' if len(made) > 1 else ''} in {target.url}: {seconds:,.1f} s of new sound in "
        f"{took:,.1f} s, {seconds / took:.2f} × real time"
    )


def _order(run: str, target: Storage, options: SongOptions, place: Place) -> Order:
    """
    Raises:
        EchelonError: there is no such run, or what is wanted of it cannot be had.
    """
    from echelon.recipes.music.songs import Order

    folder = RunFolder(run)
    learner = folder.learner
    if not isinstance(learner, MusicLearner):
        raise EchelonError(f"{folder.url} is a run of {type(learner).__name__}, which makes no songs")
    if place.on_spark and options.threads is not None:
        raise EchelonError(
            f"--threads {options.threads} is for songs that are made here, and --workers or --master have them made by "
            "tasks of Spark: leave one of them out"
        )
    rate = learner.sample_rate
    samples = _samples_of(options, rate)
    start = None if options.start == SILENCE else _clip(options.start, options.start_seconds, learner)
    return Order(folder.url, newest_of(folder), rate, samples, options.drawing, start, options.weights, target)


def _told(order: Order, options: SongOptions, made: Sequence[Made]) -> Mapping[str, Any]:
    """How songs were made."""
    return {
        "run": order.run,
        "step": order.checkpoint.step,
        "rate": order.rate,
        "options": asdict(options),
        "start_seconds": 0.0 if order.start is None else len(order.start) / order.rate,
        "songs": list(made),
        "echelon": echelon.__version__,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _samples_of(options: SongOptions, rate: int) -> int:
    """What is new of each song.

    Raises:
        EchelonError: it would not fit into a file.
    """
    most = MOST_SAMPLES / rate
    if options.seconds + (0.0 if options.start == SILENCE else options.start_seconds) > most:
        raise EchelonError(
            f"--seconds {options.seconds:g} is too long for a WAV file: at {rate:,} samples a second at most "
            f"{most:,.0f} s fit, with what the songs begin with"
        )
    return max(1, round(options.seconds * rate))


def _made(order: Order, options: SongOptions, place: Place) -> Sequence[Made]:
    from echelon.recipes.music.songs import make_here, make_on_spark

    rate, total = order.rate, options.songs * order.samples
    if not place.on_spark:
        with _shown(lambda samples, seconds: _of_sound(samples / rate, total / rate, seconds)) as show:
            return make_here(order, options.songs, options.threads or processors(), lambda made: show(made, total))
    from echelon.spark.session import session

    with _shown(lambda tasks, seconds: f"{tasks:.0f} tasks are done") as show:
        spark = session(place.master, place.workers, place.conf, gang=False)
        return make_on_spark(spark, order, options.songs, place.workers, lambda tasks: show(tasks.done, tasks.planned))


def _of_sound(made: float, wanted: float, seconds: float) -> str:
    return f"{made:,.1f} of {wanted:,.1f} s of sound, {made / max(seconds, 1e-9):.2f} × real time"


@contextmanager
def _shown(words: Callable[[float, float], str]) -> Iterator[Callable[[float, float], None]]:
    """Gives what shows how much there is of how much: a bar on a terminal, now and then a line anywhere else.

    words: what is said, of how much there is and of the seconds since it began.
    """
    console, begun, told = Console(stderr=True), time.monotonic(), time.monotonic()
    columns = TextColumn("songs"), BarColumn(), TextColumn("{task.description}"), TimeRemainingColumn()
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bars:
        bar = bars.add_task("", total=None)

        def show(done: float, total: float) -> None:
            nonlocal told
            now = time.monotonic()
            bars.update(bar, completed=done, total=total or None, description=words(done, now - begun))
            if not console.is_terminal and now - told >= _LINE_SECONDS:
                told = now
                console.print(f"songs: {words(done, now - begun)}", highlight=False)

        yield show


def _clip(path: str, seconds: float, learner: MusicLearner) -> Codes:
    """What the songs begin with: the beginning of a file of sound, as loud as the songs that were learned from.

    Raises:
        EchelonError: it cannot be read, or has no sound.
    """
    check_decoders()
    storage, files = files_at(path)
    if len(files) != 1:
        raise EchelonError(f"--start {path} must be one file of sound, or {SILENCE}; there are {len(files)} such files")
    name = Path(files[0].path).name
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile() as spool:
        here = Path(folder) / name
        here.write_bytes(storage.read(files[0].path))
        try:
            heard = listen(str(here), Wish(learner.sample_rate, seconds=seconds), spool)
        except DataError as error:
            raise DataError(f"--start {path}: {error}") from None
        codes = list(codes_of(spool, heard, normalise=learner.normalised))
    if not codes:
        raise DataError(f"--start {path}: no sound could be had of it ({heard.lost or 'it is empty'})")
    if heard.samples < round(seconds * learner.sample_rate):
        had = heard.samples / learner.sample_rate
        _log.warning("%s has only %.2f s of the %g s that are wanted to begin with", path, had, seconds)
    return np.concatenate(codes)
