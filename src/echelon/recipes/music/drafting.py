"""One song by guesses and their check, in compiled code: what float32 weights say, and twice as fast.

A song alone waits for its weights: each code needs all of them once. So, as in speculative decoding (Leviathan et al.,
arXiv:2211.17192), weights rounded to 8 bits, which fit into a second-level cache, guess up to `DRAFT` codes; then the
exact weights are read once to say what they think of all of these. What they draw with the same random numbers is
kept, up to and including the first code that was guessed wrong. So the song is the one that `kernel.go_on` makes, to
the bit: how well is guessed decides only how fast it is made.

A layer's ring holds `DRAFT` more of its inputs than its dilation. The guesses write theirs into it, the check
overwrites them with the right ones. What earlier taps give from before the draft is made once for both.

Raises on import:
    EchelonError: numba is not installed.
"""

from __future__ import annotations

import numpy as np

from echelon.recipes.music.eight_bits import bytes_of, multiply_bytes
from echelon.recipes.music.kernel import begin, choose, head, multiply, outputs_of
from echelon.recipes.music.lanes import add, compiled, copy, kept, rectify, through_gate

DRAFT = 16
"""Codes that are guessed at most before they are checked."""
GROWTH = 4
"""A draft is as long as the last one was right, up to the next multiple of this."""


@compiled
def _input(p, m, layer, time):  # type: ignore[no-untyped-def]
    """Where what a layer got at some time lies."""
    return p.rings + 4 * (m.starts[layer] + time % (m.dilations[layer] + DRAFT)) * p.width


@compiled
def _earlier(p, m, layer, time, rows):  # type: ignore[no-untyped-def]
    """What the earlier tap of a layer gives to codes from a time on."""
    pending = p.pending + 4 * layer * DRAFT * p.gates
    for row in range(rows):
        copy(p.gate_bias + 4 * layer * p.gates, pending + 4 * row * p.gates, p.gates)
    taps = p.past + layer * p.residual * p.gates * (2 if p.is_halved else 4)
    size = m.dilations[layer] + DRAFT
    # A ring may end between two rows.
    before = min(rows, size - (time - m.dilations[layer]) % size)
    x = _input(p, m, layer, time - m.dilations[layer])
    multiply(taps, p.is_halved, x, p.width, p.residual, pending, p.gates, p.gates, before)
    if before < rows:
        pending += 4 * before * p.gates
        x = _input(p, m, layer, time - m.dilations[layer] + before)
        multiply(taps, p.is_halved, x, p.width, p.residual, pending, p.gates, p.gates, rows - before)


@compiled
def _guess(d, p, m, time, row, code, space):  # type: ignore[no-untyped-def]
    """Feeds a code to the draft, whose logits then are those of the code after it."""
    begin(d, 0, code)
    w, x = d.stream, d.running + 4 * d.skips
    past = bytes_of(d.gates, d.width)
    for layer in range(d.layers):
        copy(x, _input(p, m, layer, time), d.width)
        if m.dilations[layer] < DRAFT:
            copy(d.gate_bias + 4 * layer * d.gates, d.pending, d.gates)
            before = _input(p, m, layer, time - m.dilations[layer])
            multiply_bytes(d.past + layer * past, before, d.width, space, d.pending, d.gates)
        else:
            copy(p.pending + 4 * (layer * DRAFT + row) * d.gates, d.pending, d.gates)
        w = multiply_bytes(w, x, d.width, space, d.pending, d.gates)
        through_gate(d.pending, d.gated, d.width)
        add(d.residual_bias + 4 * layer * d.width, x, d.width)
        w = multiply_bytes(w, d.gated, d.width, space, d.running, outputs_of(d, layer))
    rectify(d.running, d.hidden, d.skips)
    w = multiply_bytes(w, d.hidden, d.skips, space, d.mixed, d.mixes)
    rectify(d.mixed, d.mixed, d.mixes)
    multiply_bytes(w, d.mixed, d.skips, space, d.logits, d.outputs)


@compiled
def _check(p, m, time, codes, rows):  # type: ignore[no-untyped-def]
    """Feeds codes, of each of which the logits of the one after it are made."""
    for row in range(rows):
        begin(p, row, np.int64(codes[row]))
    w, x = p.stream, p.running + 4 * p.skips
    for layer in range(p.layers):
        pending = p.pending + 4 * layer * DRAFT * p.gates
        for row in range(rows):
            copy(x + 4 * row * p.both, _input(p, m, layer, time + row), p.width)
        if m.dilations[layer] < DRAFT:
            _earlier(p, m, layer, time, rows)
        w = multiply(w, p.is_halved, x, p.both, p.residual, pending, p.gates, p.gates, rows)
        for row in range(rows):
            through_gate(pending + 4 * row * p.gates, p.gated + 4 * row * p.width, p.width)
            add(p.residual_bias + 4 * layer * p.width, x + 4 * row * p.both, p.width)
        w = multiply(w, p.is_halved, p.gated, p.width, p.residual, p.running, p.both, outputs_of(p, layer), rows)
    head(p, w, rows)


@kept
def draft_on(d, p, guessed, m, space, last, given, uniforms, temperature, top_k, codes):  # type: ignore[no-untyped-def]
    """Continues one song, as `kernel.go_on` does.

    Args:
        d, guessed: places and memory of the draft, see `packed.places_of_draft`. p, m: of what checks it, see
            `packed.remember_ahead`. space: for rounded numbers, uint8 [the larger of width and skips]. last, given,
            uniforms, codes: as there, of one song: [1], [n] or of no length, [n], [n].
    """
    fed, done, most = np.empty(DRAFT + 1, np.uint8), 0, DRAFT
    while done < len(codes):
        time, rows = m.time[0], min(DRAFT if len(given) else most, len(codes) - done)
        for layer in range(p.layers):
            if m.dilations[layer] >= DRAFT:
                _earlier(p, m, layer, time, rows)
        fed[0] = last[0]
        for row in range(rows):
            if len(given):
                fed[row + 1] = given[done + row]
            else:
                _guess(d, p, m, time + row, row, np.int64(fed[row]), space.ctypes.data)
                uniform = uniforms[done + row]
                fed[row + 1] = choose(guessed.logits[0], p.classes, uniform, temperature, top_k, guessed.scratch)
        _check(p, m, time, fed, rows)
        kept_rows, right = 0, True
        while right and kept_rows < rows:
            code = np.int64(fed[kept_rows + 1])
            if not len(given):
                uniform = uniforms[done + kept_rows]
                code = choose(m.logits[kept_rows], p.classes, uniform, temperature, top_k, m.scratch)
            right = code == fed[kept_rows + 1]
            codes[done + kept_rows] = code
            kept_rows += 1
        done += kept_rows
        last[0] = codes[done - 1]
        m.time[0] += kept_rows
        # Where guesses are often wrong, long drafts would be made in vain.
        most = min(DRAFT, (kept_rows // GROWTH + 1) * GROWTH)
