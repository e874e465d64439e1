"""New codes one after another, in compiled code: what a `WaveNet` says, from its weights and what it remembers.

One code of one song needs every weight once, 2.5 MB at the usual size, and hardly more arithmetic than that: what
bounds it is how fast the caches deliver. So

- weights lie in the order in which they are used, as panels of `PANEL` outputs for each input;
- what the earlier tap of a dilated convolution gives is known up to `dilation` codes before it is needed. It is made
  for `BLOCK` codes at once, so that its weights are read once in so many codes;
- a group of songs can be continued together, with each weight read once for all of them;
- weights can be stored as bfloat16, which halves what is read. Sums are of float32 all the same;
- a song alone whose weights fit into no near cache is made by guesses, see `drafting`.

Each sum adds in one order, however many songs there are, so that a song does not depend on its company. All is
compiled at the first call in some seconds, and kept on the disk. `packed.Places` and `packed.Memory` say what `p` and
`m` are.

Raises on import:
    EchelonError: numba is not installed.
"""

from __future__ import annotations

import numpy as np

from echelon.recipes.music.lanes import (
    LANES,
    PANEL,
    ROWS,
    add,
    compiled,
    copy,
    halved,
    halved_of_rows,
    halved_of_two,
    kept,
    larger,
    panel,
    panel_of_rows,
    panel_of_two,
    powers,
    rectify,
    through_gate,
    two_halved,
    two_panels,
)  # fmt: skip

BLOCK = 16
"""Codes for which the earlier taps are made at once, where the dilation is as long."""


@compiled
def multiply(w, is_halved, x, x_step, count, y, y_step, outputs, rows):  # type: ignore[no-untyped-def]
    """Adds to rows of y the products of rows of x with the panels at w; where the next ones begin."""
    size = count * PANEL * (2 if is_halved else 4)
    done, panels = 0, outputs // PANEL
    if rows == 1:
        while panels - done >= 2:
            if is_halved:
                two_halved(w, x, x_step, count, y + 4 * done * PANEL, y_step, w)
            else:
                two_panels(w, x, x_step, count, y + 4 * done * PANEL, y_step, w)
            w += 2 * size
            done += 2
    while done < panels:
        row = 0
        while row < rows:
            from_x, to_y = x + 4 * row * x_step, y + 4 * (row * y_step + done * PANEL)
            if rows - row >= ROWS:
                # A quarter of each line of the next panel, and the next quarter with the next rows.
                ahead = w + size + (row // ROWS % 4) * (size // count // 4)
                if is_halved:
                    halved_of_rows(w, from_x, x_step, count, to_y, y_step, ahead)
                else:
                    panel_of_rows(w, from_x, x_step, count, to_y, y_step, ahead)
                row += ROWS
            elif rows - row >= 2:
                if is_halved:
                    halved_of_two(w, from_x, x_step, count, to_y, y_step, w)
                else:
                    panel_of_two(w, from_x, x_step, count, to_y, y_step, w)
                row += 2
            else:
                if is_halved:
                    halved(w, from_x, x_step, count, to_y, y_step, w)
                else:
                    panel(w, from_x, x_step, count, to_y, y_step, w)
                row += 1
        w += size
        done += 1
    return w


@compiled
def outputs_of(p, layer):  # type: ignore[no-untyped-def]
    """How many a layer's projections have. After the last one comes no other that would get something."""
    return p.both if layer + 1 < p.layers else -(-p.skips // PANEL) * PANEL


@compiled
def _layer(p, layer, dilation, start, time, w):  # type: ignore[no-untyped-def]
    """One layer for the code that is being fed; where the weights of the next one begin.

    Dilations and blocks are powers of 2, so that nothing is divided.
    """
    block = min(dilation, BLOCK)
    place = time & (block - 1)
    ring = p.rings + 4 * (start + (time & (dilation - 1))) * p.songs * p.width
    pending = p.pending + 4 * layer * BLOCK * p.songs * p.gates
    if place == 0:
        rows = block * p.songs
        for row in range(rows):
            copy(p.gate_bias + 4 * layer * p.gates, pending + 4 * row * p.gates, p.gates)
        begin = p.past + layer * p.residual * p.gates * (2 if p.is_halved else 4)
        multiply(begin, p.is_halved, ring, p.width, p.residual, pending, p.gates, p.gates, rows)
    pending += 4 * place * p.songs * p.gates
    for song in range(p.songs):
        copy(p.running + 4 * (song * p.both + p.skips), ring + 4 * song * p.width, p.width)
    w = multiply(w, p.is_halved, ring, p.width, p.residual, pending, p.gates, p.gates, p.songs)
    for song in range(p.songs):
        through_gate(pending + 4 * song * p.gates, p.gated + 4 * song * p.width, p.width)
        add(p.residual_bias + 4 * layer * p.width, p.running + 4 * (song * p.both + p.skips), p.width)
    return multiply(w, p.is_halved, p.gated, p.width, p.residual, p.running, p.both, outputs_of(p, layer), p.songs)


@compiled
def begin(p, song, code):  # type: ignore[no-untyped-def]
    """What all sums of a song begin with, when a code is fed."""
    running = p.running + 4 * song * p.both
    copy(p.skip_bias, running, p.skips)
    copy(p.embedding + 4 * code * p.width, running + 4 * p.skips, p.width)
    copy(p.mix_bias, p.mixed + 4 * song * p.mixes, p.mixes)
    copy(p.out_bias, p.logits + 4 * song * p.outputs, p.outputs)


@compiled
def head(p, w, rows):  # type: ignore[no-untyped-def]
    """From what the layers gave to the logits."""
    for song in range(rows):
        rectify(p.running + 4 * song * p.both, p.hidden + 4 * song * p.skips, p.skips)
    w = multiply(w, p.is_halved, p.hidden, p.skips, p.skip, p.mixed, p.mixes, p.mixes, rows)
    rectify(p.mixed, p.mixed, rows * p.mixes)
    multiply(w, p.is_halved, p.mixed, p.mixes, p.skip, p.logits, p.outputs, p.outputs, rows)


@compiled
def _least_of(values, length, count):  # type: ignore[no-untyped-def]
    """The smallest of the `count` largest of the first values; moves them about (Hoare's selection)."""
    low, high, wanted = 0, length - 1, count - 1
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


@compiled
def _of_eight(values, first):  # type: ignore[no-untyped-def]
    """A sum whose parts do not wait for one another."""
    low = (np.float64(values[first]) + values[first + 1]) + (np.float64(values[first + 2]) + values[first + 3])
    high = (np.float64(values[first + 4]) + values[first + 5]) + (np.float64(values[first + 6]) + values[first + 7])
    return low + high


@compiled
def _drawn(weights, uniform):  # type: ignore[no-untyped-def]
    """The first code up to which more than a part of all weights lies, or -1 where rounding leaves none."""
    total, reached = 0.0, 0.0
    for first in range(0, len(weights), 8):
        total += _of_eight(weights, first)
    wanted = uniform * total
    for first in range(0, len(weights), 8):
        after = reached + _of_eight(weights, first)
        if after > wanted:
            for code in range(first, first + 8):
                reached += weights[code]
                if reached > wanted and weights[code] > 0:
                    return code
        reached = after
    return -1


@compiled
def _drop(weights, logits, classes, least, top_k):  # type: ignore[no-untyped-def]
    """Takes the weight of all but the `top_k` largest logits, the smallest of which is `least`."""
    ties = top_k
    for code in range(classes):
        ties -= logits[code] > least
    for code in range(classes):
        ties -= logits[code] == least
        if logits[code] < least or (logits[code] == least and ties < 0):
            weights[code] = 0


@compiled
def _largest(values, length, scratch):  # type: ignore[no-untyped-def]
    """Halves are compared with halves, by whole vectors. Of what are no numbers something comes of it."""
    if length == len(scratch) and length % (2 * LANES) == 0:
        x, y = values.ctypes.data, scratch.ctypes.data
        while length % (2 * LANES) == 0:
            length //= 2
            larger(x, y, length)
            x = y
        values = scratch
    top = values[0]
    for place in range(1, length):
        if values[place] > top:
            top = values[place]
    return top


@compiled
def _place_of(value, values, length):  # type: ignore[no-untyped-def]
    """Where it first is, 0 if nowhere."""
    for place in range(length):
        if values[place] == value:
            return place
    return 0


@kept
def choose(logits, classes, uniform, temperature, top_k, scratch):  # type: ignore[no-untyped-def]
    """The code that a number from [0, 1) draws, as `sampling.choose` does.

    logits: float32 [classes], or more, which do not count. temperature: 0 for the most probable code. top_k: as many
    as there are for all. scratch: float32 [classes, filled up to whole vectors], whose contents are lost.
    """
    top = _largest(logits, classes, scratch)
    if temperature == 0:
        return _place_of(top, logits, classes)
    least = -np.float32(np.inf)
    if top_k < classes:
        for code in range(classes):
            scratch[code] = logits[code]
        least = _least_of(scratch, classes, top_k)
    for code in range(classes):
        scratch[code] = (logits[code] - top) / np.float32(temperature)
    powers(scratch.ctypes.data, scratch.ctypes.data, len(scratch))
    for code in range(classes, len(scratch)):
        scratch[code] = 0
    if top_k < classes:
        _drop(scratch, logits, classes, least, top_k)
    code = _drawn(scratch, uniform)
    return _place_of(top, logits, classes) if code < 0 else code


@kept
def go_on(p, m, last, given, uniforms, temperature, top_k, codes, logits):  # type: ignore[no-untyped-def]
    """Continues a group of songs.

    Args:
        last: the newest code of each song, uint8 [songs]; replaced. given: uint8 [songs, n], the codes that come in any
            case; of no length to draw them. uniforms: a number from [0, 1) for each draw, float32 [songs, n]. codes:
            gets what comes, uint8 [songs, n]. logits: gets those before each code, float32 [songs, n, classes]; of no
            length if they are not wanted.
    """
    for step in range(codes.shape[1]):
        for song in range(len(last)):
            begin(p, song, np.int64(last[song]))
        w = p.stream
        for layer in range(len(m.dilations)):
            w = _layer(p, layer, m.dilations[layer], m.starts[layer], m.time[0], w)
        head(p, w, p.songs)
        m.time[0] += 1
        for song in range(len(last)):
            if logits.shape[1]:
                for code in range(p.classes):
                    logits[song, step, code] = m.logits[song, code]
            if given.shape[1]:
                last[song] = given[song, step]
            else:
                last[song] = choose(m.logits[song], p.classes, uniforms[song, step], temperature, top_k, m.scratch)
            codes[song, step] = last[song]
