"""What continues songs: the kernel for a group of them, or guesses and their check for one alone."""

from __future__ import annotations

import os
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from echelon.recipes.music.drafting import draft_on
from echelon.recipes.music.kernel import go_on
from echelon.recipes.music.packed import (
    Memory,
    Weights,
    places_of,
    places_of_draft,
    remember,
    remember_ahead,
)
from echelon.recipes.music.sampling import COLDEST, Drawing

Codes = NDArray[np.uint8]


class Voice(Protocol):
    """Songs that all began alike."""

    def sing(self, uniforms: NDArray[np.float32], drawing: Drawing) -> Codes:
        """What comes next, uint8 [songs, n]. uniforms: a number from [0, 1) for each code, float32 [songs, n]."""

    @property
    def logits(self) -> NDArray[np.float32]:
        """Of the last codes, among others."""


def voice_of(weights: Weights, songs: int, begun: Codes) -> Voice:
    """begun: the codes that all songs begin with, with the silence before them, uint8 [1 + t]."""
    return Alone(weights, begun) if songs == 1 and drafts_pay(weights) else Together(weights, songs, begun)


def drafts_pay(weights: Weights) -> bool:
    """Whether there are weights to guess with, and the exact ones do not fit into a core's cache."""
    return len(weights.rough) > 0 and weights.stream.nbytes + weights.past.nbytes > _second_level()


class Together:
    """A group of songs, with each weight read once for all of them."""

    def __init__(self, weights: Weights, songs: int, begun: Codes) -> None:
        self.memory = after(weights, begun, songs)
        self._classes, self._last = len(weights.embedding), np.repeat(begun[-1:], songs)
        self._places = places_of(weights, self.memory)
        self._weights = weights

    def sing(self, uniforms: NDArray[np.float32], drawing: Drawing) -> Codes:
        songs = len(self._last)
        codes, given = np.empty(uniforms.shape, np.uint8), np.empty((songs, 0), np.uint8)
        unwanted = np.empty((songs, 0, self._classes), np.float32)
        how = _how(drawing, self._classes)
        go_on(self._places, self.memory, self._last, given, uniforms, *how, codes, unwanted)
        return codes

    @property
    def logits(self) -> NDArray[np.float32]:
        return self.memory.logits


class Alone:
    """One song, see `drafting`."""

    def __init__(self, weights: Weights, begun: Codes) -> None:
        self._weights, self._guessed, self._memory = weights, remember(weights, 1), remember_ahead(weights)
        self._draft, self._places = places_of_draft(weights, self._guessed), places_of(weights, self._memory)
        self._space = np.empty(max(self._places.width, self._places.skips), np.uint8)
        seen = _seen(weights, begun)
        self._classes, self._last, given = len(weights.embedding), seen[:1].copy(), seen[1:].copy()
        self._go_on(given, np.empty(0, np.float32), Drawing(), np.empty_like(given))

    def sing(self, uniforms: NDArray[np.float32], drawing: Drawing) -> Codes:
        codes = np.empty(uniforms.shape, np.uint8)
        self._go_on(np.empty(0, np.uint8), uniforms[0], drawing, codes[0])
        return codes

    def _go_on(self, given: Codes, uniforms: NDArray[np.float32], drawing: Drawing, codes: Codes) -> None:
        both = self._draft, self._places, self._guessed, self._memory
        draft_on(*both, self._space, self._last, given, uniforms, *_how(drawing, self._classes), codes)

    @property
    def logits(self) -> NDArray[np.float32]:
        return self._memory.logits


def after(weights: Weights, begun: Codes, songs: int) -> Memory:
    """What is remembered of songs that all begin alike, when their newest code is still to be fed.

    Not by one pass of the network in torch: its roundings depend on the processor and the threads, and after one draw
    that falls on the other side a song is another one.
    """
    memory = remember(weights, songs)
    if len(begun) > 1:
        one = remember(weights, 1)
        give(weights, one, _seen(weights, begun)[None], np.empty((1, 0, len(weights.embedding)), np.float32))
        for kept, of_one in ((memory.rings, one.rings), (memory.pending, one.pending), (memory.time, one.time)):
            kept[:] = of_one
    return memory


def give(weights: Weights, memory: Memory, inputs: Codes, logits: NDArray[np.float32]) -> None:
    """Feeds all codes of songs but the last, uint8 [songs, 1 + n]."""
    given, none = np.ascontiguousarray(inputs[:, 1:]), np.empty((len(inputs), 0), np.float32)
    places, classes = places_of(weights, memory), len(weights.embedding)
    go_on(places, memory, inputs[:, 0].copy(), given, none, 0.0, classes, np.empty_like(given), logits)


def _seen(weights: Weights, begun: Codes) -> Codes:
    """Further back no layer looks."""
    return begun[-1 - int(weights.dilations.sum()) :]


def _how(drawing: Drawing, classes: int) -> tuple[float, int]:
    temperature = 0.0 if drawing.temperature < COLDEST else float(drawing.temperature)
    return temperature, min(drawing.top_k or classes, classes)


def _second_level() -> int:
    """Bytes of a core's second-level cache; what most have where the system does not say."""
    try:
        told = os.sysconf("SC_LEVEL2_CACHE_SIZE")
    except (ValueError, OSError):
        told = 0
    return told if told > 0 else 1 << 20
