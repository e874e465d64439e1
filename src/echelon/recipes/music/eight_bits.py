"""Products of a matrix and a vector that are rounded to 8 bits, by the processor's instructions for it.

A quarter of the size of float32, and four products a lane in each instruction (AVX-512 VNNI: `vpdpbusd` adds four
products of an unsigned and a signed byte to a 32-bit integer). Both are symmetric: an output's weights are integers
from -127 to 127 times its scale, the inputs such integers times one scale for all, which their largest decides. The
instruction wants unsigned inputs, so 128 is added to them, and what that adds to each sum is in what it begins with.

A panel is, for each of `PANEL` outputs, what its sum begins with (int32), then their scales (float32), then their
weights: four neighbouring inputs of an output in a word.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import llvmlite.binding as llvm
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numpy.typing import NDArray

from echelon.recipes.music.lanes import FLOAT, INDEX, INT, LANES, PANEL, VECTOR, VECTORS, WORDS, Code, compiled

AVAILABLE = bool(llvm.get_host_cpu_features().get("avx512vnni"))
"""Whether this processor has the instructions."""
TOGETHER = 4
"""Inputs whose weights lie in a word."""
LARGEST = 127
_SHIFT = 128
_HEAD = 2
"""Words of a panel for each output before its weights."""


@compiled
def bytes_of(outputs, inputs):  # type: ignore[no-untyped-def]
    """How much the panels of a matrix take."""
    return (inputs // TOGETHER + _HEAD) * outputs * 4


def pack_bytes(matrices: list[NDArray[np.float32]]) -> NDArray[np.uint32]:
    """Matrices [outputs, inputs], outputs a multiple of PANEL, inputs of TOGETHER, as panels one after another."""
    firsts = [(matrix, first) for matrix in matrices for first in range(0, len(matrix), PANEL)]
    return np.concatenate([_panel(matrix[first : first + PANEL]) for matrix, first in firsts])


def _panel(rows: NDArray[np.float32]) -> NDArray[np.uint32]:
    largest = np.abs(rows).max(axis=1)
    scales = np.where(largest > 0, largest / LARGEST, 1).astype(np.float32)
    whole = np.rint(rows / scales[:, None]).astype(np.int8)
    begin = (-_SHIFT * whole.sum(axis=1, dtype=np.int32)).astype(np.int32)
    words = np.ascontiguousarray(whole).view(np.uint32).T
    return np.concatenate([begin.view(np.uint32), scales.view(np.uint32), words.reshape(-1)])


def _rounding() -> Callable[..., float]:
    """A function that rounds numbers, and gives their scale.

    Its arguments: the address of the numbers, where their bytes are to go, and how many, a multiple of LANES.
    """

    @intrinsic
    def round_to_bytes(typing: Any, x: Any, y: Any, width: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            code, vectors = Code(builder, arguments), builder.udiv(arguments[2], INDEX(LANES))
            inputs = code.numbers(0)
            largest = cgutils.alloca_once_value(builder, code.all(1e-30))
            with cgutils.for_range(builder, vectors) as loop:
                size = code.call("fabs", code.load(inputs, builder.mul(loop.index, INDEX(LANES))))
                builder.store(code.call("maxnum", builder.load(largest), size), largest)
            kind = ir.FunctionType(FLOAT, [VECTOR])
            reduce = cgutils.get_or_insert_function(builder.module, kind, f"llvm.vector.reduce.fmax.v{LANES}f32")
            top = builder.call(reduce, [builder.load(largest)])
            factor = code.repeated(builder.fdiv(FLOAT(float(LARGEST)), top))
            to = ir.VectorType(ir.IntType(8), LANES)
            with cgutils.for_range(builder, vectors) as loop:
                step = builder.mul(loop.index, INDEX(LANES))
                shifted = code.call("fmuladd", code.load(inputs, step), factor, code.all(_SHIFT + 0.5))
                whole = builder.trunc(builder.fptosi(shifted, WORDS), to)
                place = builder.inttoptr(builder.add(arguments[1], step), to.as_pointer())
                builder.store(whole, place, align=1)
            return builder.fdiv(top, FLOAT(float(LARGEST)))

        return types.float32(types.int64, types.int64, types.int64), generate

    return round_to_bytes


def _accumulate(panels: int) -> Callable[..., None]:
    """A function that adds the products of inputs with neighbouring panels to outputs.

    Its arguments: the addresses of the panels and of the rounded inputs, their scale, how many inputs, and the address
    of the outputs.
    """

    @intrinsic
    def accumulate(typing: Any, w: Any, x: Any, scale: Any, count: Any, y: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            code, words = Code(builder, arguments), builder.udiv(arguments[3], INDEX(TOGETHER))
            panel = code.numbers(0)
            inputs = builder.inttoptr(arguments[1], INT.as_pointer())
            scale, outputs = code.repeated(arguments[2]), code.numbers(4)
            size = builder.mul(builder.add(words, INDEX(_HEAD)), INDEX(PANEL))
            kind = ir.FunctionType(WORDS, [WORDS] * 3)
            dot = cgutils.get_or_insert_function(builder.module, kind, "llvm.x86.avx512.vpdpbusd.512")
            places = [
                (builder.mul(size, INDEX(number)), INDEX(vector * LANES))
                for number in range(panels)
                for vector in range(VECTORS)
            ]
            sums = [cgutils.alloca_once_value(builder, code.load(panel, *place, kind=WORDS)) for place in places]
            with cgutils.for_range(builder, words) as loop:
                line = builder.mul(builder.add(loop.index, INDEX(_HEAD)), INDEX(PANEL))
                factors = code.repeated(builder.load(builder.gep(inputs, [loop.index])))
                for place, total in zip(places, sums, strict=True):
                    weights = code.load(panel, *place, line, kind=WORDS)
                    builder.store(builder.call(dot, [builder.load(total), factors, weights]), total)
            for number, (place, total) in enumerate(zip(places, sums, strict=True)):
                scales = builder.fmul(code.load(panel, *place, INDEX(PANEL)), scale)
                found = builder.sitofp(builder.load(total), VECTOR)
                at = outputs, INDEX(number * LANES)
                code.store(code.call("fmuladd", found, scales, code.load(*at)), *at)
            return context.get_dummy_value()

        return types.void(types.int64, types.int64, types.float32, types.int64, types.int64), generate

    return accumulate


round_to_bytes = _rounding()
_one, _two = _accumulate(1), _accumulate(2)


@compiled
def multiply_bytes(w, x, width, space, y, outputs):  # type: ignore[no-untyped-def]
    """Adds to y the products of numbers at x with the panels at w; where the next ones begin.

    space: for the bytes of x.
    """
    scale = round_to_bytes(x, space, width)
    size = bytes_of(PANEL, width)
    done = 0
    while outputs - done >= 2 * PANEL:
        _two(w, space, scale, width, y + 4 * done)
        w += 2 * size
        done += 2 * PANEL
    if done < outputs:
        _one(w, space, scale, width, y + 4 * done)
        w += size
    return w
