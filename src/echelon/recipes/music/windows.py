"""A song as windows: some consecutive codes of it, with those before them to predict from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from echelon.data.schema import Values
from echelon.recipes.music.columns import CONTEXT, KEY, OFFSET, SAMPLES, SONG
from echelon.recipes.music.mulaw import CODES, SILENCE

Codes = NDArray[np.uint8]
_COUNTED_AT_ONCE = 32


@dataclass(frozen=True)
class Window:
    """One row. samples: codes, the first `context` of which only come along. offset: the place in the song of the first
    other one.
    """

    samples: Codes
    context: int
    offset: int


def windows_of(pieces: Iterable[Codes], window: int, context: int) -> Iterator[Window]:
    """The windows of a song whose codes come in pieces of any size, in bounded memory. The last may be shorter.

    window: codes of a window that are its own, each being one window's own. context: codes before these, at most.
    """
    held, offset, before = np.empty(0, np.uint8), 0, 0
    for piece in pieces:
        held = np.concatenate([held, piece])
        start = 0
        while len(held) - start >= before + window:
            yield Window(held[start : start + before + window], before, offset)
            offset += window
            kept = min(context, offset)
            start += before + window - kept
            before = kept
        held = held[start:]
    if len(held) > before:
        yield Window(held, before, offset)


def values_of(song: str, windows: Sequence[Window]) -> dict[str, Values]:
    """The columns of a dataset of some windows of a song."""
    return {
        SAMPLES: [window.samples for window in windows],
        CONTEXT: np.array([window.context for window in windows], np.int32),
        SONG: [song] * len(windows),
        OFFSET: np.array([window.offset for window in windows], np.int64),
        KEY: [f"{song}@{window.offset}" for window in windows],
    }


def pairs_of(samples: Sequence[Codes], contexts: Sequence[int]) -> NDArray[np.int64]:
    """How often each code that is a window's own follows each other one, int64 [256, 256] by the code before it and
    itself; before the first code of a song is `SILENCE`.
    """
    counts = np.zeros(CODES * CODES, np.int64)
    given = zip(samples, contexts, strict=True)
    # A few at once, so that what is counted stays in the processor's cache.
    while some := [_pairs(*one) for one in islice(given, _COUNTED_AT_ONCE)]:
        counts += np.bincount(np.concatenate(some), minlength=len(counts))
    return counts.reshape(CODES, CODES)


def _pairs(samples: Codes, context: int) -> NDArray[np.uint16]:
    """256 times the code before each own one and itself."""
    pairs = np.empty(len(samples) - context, np.uint16)
    if context:
        pairs[:] = samples[context - 1 : -1]
    else:
        pairs[0], pairs[1:] = SILENCE, samples[:-1]
    pairs <<= 8
    pairs |= samples[context:]
    return pairs
