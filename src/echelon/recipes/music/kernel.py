"""New codes one after another, in compiled code: what a `WaveNet` says, from its weights and what it remembers.

One code of one song needs every weight once, 2.5 MB at the usual size, and hardly more arithmetic than that: what
bounds it is how fast the caches deliver. So

- weights lie in the order in which they are used, as panels of `PANEL` outputs for each input;
- what the earlier tap of a dilated convolution gives is known up to `dilation` codes before it is needed. It is made
  for `BLOCK` codes at once, so that its weights are read once in so many codes;
- a group of songs can be continued together, with each weight read once for all of them;
- weights can be stored as bfloat16, which halves what is read. Sums are of float32 all the same.

Each sum adds in one order, however many songs there are, so that a song does not depend on its company. All is
compiled at the first call for a kind of weights, in some seconds, and kept on the disk. `packed.Weights` and
`packed.Memory` say what `w` and `m` are.

Raises on import:
    EchelonError: numba is not installed.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numba import njit

from echelon.recipes.music import lanes
from echelon.recipes.music.lanes import (
    PANEL,
    ROWS,
    add,
    copy,
    panel,
    panel_of_rows,
    rectify,
    through_gate,
    two_panels,
)  # fmt: skip

BLOCK = 8
"""Codes for which the earlier taps are made at once, where the dilation is as long."""

_compiled = njit(nogil=True)


def _kept(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compiled, and kept on the disk where there is a place for it.

    Whether what was kept is still valid numba sees by this file only, so its name tells of the other one.
    """
    function.__qualname__ += "_" + hashlib.sha256(Path(lanes.__file__).read_bytes()).hexdigest()[:8]
    try:
        return njit(nogil=True, cache=True)(function)
    except RuntimeError:
        return njit(nogil=True)(function)


@_compiled
def _multiply(w, at, line, x, x_at, x_step, count, y, y_at, y_step, outputs, rows):  # type: ignore[no-untyped-def]
    """Adds to rows of y the products of rows of x with the panels from `at` on; where the next ones begin."""
    done, panels = 0, outputs // PANEL
    if rows == 1:
        while panels - done >= 2:
            two_panels(w, at, x, x_at, x_step, count, y, y_at + done * PANEL, y_step)
            at += 2 * count * line
            done += 2
    while done < panels:
        row, to = 0, y_at + done * PANEL
        while rows - row >= ROWS:
            panel_of_rows(w, at, x, x_at + row * x_step, x_step, count, y, to + row * y_step, y_step)
            row += ROWS
        while row < rows:
            panel(w, at, x, x_at + row * x_step, x_step, count, y, to + row * y_step, y_step)
            row += 1
        at += count * line
        done += 1
    return at


@_compiled
def _layer(w, m, layer, at):  # type: ignore[no-untyped-def]
    """One layer for the code that is being fed; where the weights of the next one begin."""
    songs, both = m.running.shape
    gates, width, time = m.pending.shape[3], m.gated.shape[1], m.time[0]
    dilation = w.dilations[layer]
    block = min(dilation, BLOCK)
    ring, pending = (w.starts[layer] + time % dilation) * songs * width, layer * BLOCK * songs * gates
    if time % block == 0:
        rows, begin = block * songs, layer * w.residual * (gates // PANEL) * w.line
        for row in range(rows):
            copy(w.gate_bias, layer * gates, m.pending, pending + row * gates, gates)
        _multiply(w.past, begin, w.line, m.rings, ring, width, w.residual, m.pending, pending, gates, gates, rows)
    pending += time % block * songs * gates
    for song in range(songs):
        copy(m.running, song * both + w.skips, m.rings, ring + song * width, width)
    at = _multiply(w.stream, at, w.line, m.rings, ring, width, w.residual, m.pending, pending, gates, gates, songs)
    for song in range(songs):
        through_gate(m.pending, pending + song * gates, m.gated, song * width, width)
        add(w.residual_bias, layer * width, m.running, song * both + w.skips, width)
    # After the last layer comes no other that would get something.
    outputs = both if layer + 1 < len(w.dilations) else -(-w.skips // PANEL) * PANEL
    return _multiply(w.stream, at, w.line, m.gated, 0, width, w.residual, m.running, 0, both, outputs, songs)


@_compiled
def _feed(w, m, codes):  # type: ignore[no-untyped-def]
    """Makes the logits of what follows one more code of each song, uint8 [songs]."""
    songs, both = m.running.shape
    width, mixed, outputs = m.gated.shape[1], m.mixed.shape[1], m.logits.shape[1]
    for song in range(songs):
        copy(w.skip_bias, 0, m.running, song * both, w.skips)
        copy(w.embedding, codes[song] * width, m.running, song * both + w.skips, width)
        copy(w.mix_bias, 0, m.mixed, song * mixed, mixed)
        copy(w.out_bias, 0, m.logits, song * outputs, outputs)
    at = 0
    for layer in range(len(w.dilations)):
        at = _layer(w, m, layer, at)
    m.time[0] += 1
    for song in range(songs):
        rectify(m.running, song * both, m.hidden, song * w.skips, w.skips)
    at = _multiply(w.stream, at, w.line, m.hidden, 0, w.skips, w.skip, m.mixed, 0, mixed, mixed, songs)
    for song in range(songs):
        rectify(m.mixed, song * mixed, m.mixed, song * mixed, mixed)
    _multiply(w.stream, at, w.line, m.mixed, 0, mixed, w.skip, m.logits, 0, outputs, outputs, songs)


@_compiled
def _least_of(values, count):  # type: ignore[no-untyped-def]
    """The smallest of the `count` largest values; moves them about (Hoare's selection)."""
    low, high, wanted = 0, len(values) - 1, count - 1
    while low < high:
        pivot, left, right = values[(low + high) // 2], low, high
        while left <= right:
            while values[left] > pivot:
                left += 1
            while values[right] < pivot:
                right -= 1
            if left <= right:
                values[left], values[right] = values[right], values[left]
                left += 1
                right -= 1
        if wanted <= right:
            high = right
        elif wanted >= left:
            low = left
        else:
            break
    return values[wanted]


@_kept
def choose(logits, uniform, temperature, top_k, scratch):  # type: ignore[no-untyped-def]
    """The code that a number from [0, 1) draws, as `sampling.choose` does.

    logits: float32 [at least classes]. temperature: 0 for the most probable code. top_k: as many as there are for all.
    scratch: float32 [classes], whose contents are lost.
    """
    classes, best = len(scratch), 0
    for code in range(classes):
        scratch[code] = logits[code]
        if logits[code] > logits[best]:
            best = code
    if temperature == 0:
        return best
    least = _least_of(scratch, top_k) if top_k < classes else -np.inf
    ties, total = top_k, 0.0
    for code in range(classes):
        ties -= logits[code] > least
    for code in range(classes):
        ties -= logits[code] == least
        chosen = logits[code] > least or (logits[code] == least and ties >= 0)
        scratch[code] = math.exp((logits[code] - logits[best]) / np.float32(temperature)) if chosen else np.float32(0)
        total += scratch[code]
    wanted, reached = uniform * total, 0.0
    for code in range(classes):
        reached += scratch[code]
        if reached > wanted:
            return code
    return best


@_kept
def go_on(w, m, last, given, uniforms, temperature, top_k, codes, logits):  # type: ignore[no-untyped-def]
    """Continues a group of songs.

    Args:
        last: the newest code of each song, uint8 [songs]; replaced. given: uint8 [songs, n], the codes that come in any
            case; of no length to draw them. uniforms: a number from [0, 1) for each draw, float32 [songs, n]. codes:
            gets what comes, uint8 [songs, n]. logits: gets those before each code, float32 [songs, n, classes]; of no
            length if they are not wanted.
    """
    for step in range(codes.shape[1]):
        _feed(w, m, last)
        for song in range(len(last)):
            if logits.shape[1]:
                logits[song, step] = m.logits[song, : logits.shape[2]]
            if given.shape[1]:
                last[song] = given[song, step]
            else:
                last[song] = choose(m.logits[song], uniforms[song, step], temperature, top_k, m.scratch)
            codes[song, step] = last[song]
