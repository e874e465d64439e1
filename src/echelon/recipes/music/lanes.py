"""Sums of products over the vector registers of a processor, as functions that numba compiles into its own.

They are written in LLVM's language, since what is added up has to stay in registers, of which numba knows nothing. No
order of sums and no rounding is left to the compiler: all processors with fused multiplication give the same.

Raises on import:
    EchelonError: numba is not installed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from echelon.errors import EchelonError

try:
    import llvmlite.binding as llvm
    from llvmlite import ir
    from numba import types
    from numba.core import cgutils
    from numba.extending import intrinsic
except ImportError as error:
    raise EchelonError("making songs needs numba: pip install 'echelon[music]'") from error

LANES = 16 if llvm.get_host_cpu_features().get("avx512f") else 8
"""Numbers of a vector register."""
_VECTORS = 4
PANEL = LANES * _VECTORS
"""Outputs whose weights lie together; what a product has more is filled up with zeros."""
ROWS = LANES // 4
"""Rows of inputs for which a panel is read once: their sums just fit into the registers."""

_FLOAT, _INT, _INDEX = ir.FloatType(), ir.IntType(32), ir.IntType(64)
_VECTOR, _WORDS = ir.VectorType(_FLOAT, LANES), ir.VectorType(_INT, LANES)


class _Code:
    """Writes the body of a function."""

    def __init__(self, context: Any, builder: Any, signature: Any, arguments: Any) -> None:
        self.context, self.builder, self.types, self.arguments = context, builder, signature.args, arguments

    def begin(self, array: int, at: int) -> Any:
        """Where the element that argument `at` names of the array that is argument `array` lies."""
        kind = self.context.make_array(self.types[array])
        return self.builder.gep(kind(self.context, self.builder, self.arguments[array]).data, [self.arguments[at]])

    def load(self, pointer: Any, *steps: Any, kind: Any = _VECTOR) -> Any:
        return self.builder.load(self._vector(pointer, kind, steps), align=4)

    def store(self, vector: Any, pointer: Any, *steps: Any) -> None:
        self.builder.store(vector, self._vector(pointer, _VECTOR, steps), align=4)

    def _vector(self, pointer: Any, kind: Any, steps: Any) -> Any:
        for step in steps:
            pointer = self.builder.gep(pointer, [step])
        return self.builder.bitcast(pointer, kind.as_pointer())

    def call(self, name: str, *vectors: Any) -> Any:
        """fmuladd(a, b, c) = a · b + c, minnum, maxnum."""
        kind = ir.FunctionType(_VECTOR, [_VECTOR] * len(vectors))
        function = cgutils.get_or_insert_function(self.builder.module, kind, f"llvm.{name}.v{LANES}f32")
        return self.builder.call(function, vectors)

    def all(self, value: float) -> Any:
        return ir.Constant(_VECTOR, [float(np.float32(value))] * LANES)

    def repeated(self, number: Any) -> Any:
        empty = ir.Constant(_VECTOR, ir.Undefined)
        first = self.builder.insert_element(empty, number, _INT(0))
        return self.builder.shuffle_vector(first, empty, ir.Constant(_WORDS, [0] * LANES))

    def halves(self, words: Any) -> tuple[Any, Any]:
        """Two vectors of bfloat16 in one of words, as float32: those in the lower halves, and those in the upper."""
        low = self.builder.shl(words, ir.Constant(_WORDS, [16] * LANES))
        high = self.builder.and_(words, ir.Constant(_WORDS, [0xFFFF0000] * LANES))
        return self.builder.bitcast(low, _VECTOR), self.builder.bitcast(high, _VECTOR)

    def polynomial(self, x: Any, *coefficients: float) -> Any:
        """The highest power first."""
        total = self.all(coefficients[0])
        for coefficient in coefficients[1:]:
            total = self.call("fmuladd", total, x, self.all(coefficient))
        return total


def _accumulate(panels: int, rows: int) -> Callable[..., None]:
    """A function that adds the products of some rows of inputs with neighbouring panels to as many rows of outputs."""

    @intrinsic
    def accumulate(typing: Any, w: Any, w_at: Any, x: Any, x_at: Any, x_step: Any, count: Any, y: Any, y_at: Any,
                   y_step: Any) -> Any:  # fmt: skip
        number, halved = types.int64, w.dtype == types.uint32
        words = PANEL // 2 if halved else PANEL

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            code = _Code(context, builder, signature, arguments)
            weights, inputs, outputs = code.begin(0, 1), code.begin(2, 3), code.begin(6, 7)
            x_step, count, y_step = arguments[4], arguments[5], arguments[8]

            def read(panel: int, line: Any) -> list[Any]:
                begin = builder.mul(count, _INDEX(panel * words))
                steps, kind = range(0, words, LANES), _WORDS if halved else _VECTOR
                found = [code.load(weights, begin, line, _INDEX(step), kind=kind) for step in steps]
                return [half for pair in found for half in code.halves(pair)] if halved else found

            def place(row: int, vector: int) -> tuple[Any, ...]:
                return outputs, builder.mul(y_step, _INDEX(row)), _INDEX(vector * LANES)

            places = [(row, vector) for row in range(rows) for vector in range(panels * _VECTORS)]
            sums = {each: cgutils.alloca_once(builder, _VECTOR) for each in places}
            for each in places:
                builder.store(code.load(*place(*each)), sums[each])
            with cgutils.for_range(builder, count) as loop:
                line = builder.mul(loop.index, _INDEX(words))
                lines = [vector for panel in range(panels) for vector in read(panel, line)]
                for row in range(rows):
                    at = builder.add(builder.mul(x_step, _INDEX(row)), loop.index)
                    factor = code.repeated(builder.load(builder.gep(inputs, [at])))
                    for vector, weight in enumerate(lines):
                        total = sums[row, vector]
                        builder.store(code.call("fmuladd", weight, factor, builder.load(total)), total)
            for each in places:
                code.store(builder.load(sums[each]), *place(*each))
            return context.get_dummy_value()

        return types.void(w, number, x, number, number, number, y, number, number), generate

    return accumulate


def _by_vectors(operation: Callable[[_Code, Callable[[Any], Any], Any], Any]) -> Callable[..., None]:
    """A function that makes `width` numbers of y by an operation on vectors of x, and of x `width` numbers on."""

    @intrinsic
    def go(typing: Any, x: Any, x_at: Any, y: Any, y_at: Any, width: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            code, width = _Code(context, builder, signature, arguments), arguments[4]
            inputs, outputs = code.begin(0, 1), code.begin(2, 3)
            with cgutils.for_range(builder, builder.udiv(width, _INDEX(LANES))) as loop:
                step = builder.mul(loop.index, _INDEX(LANES))
                code.store(operation(code, lambda on: code.load(inputs, step, on), (outputs, step)), outputs, step)
            return context.get_dummy_value()

        return types.void(x, types.int64, y, types.int64, types.int64), generate

    return go


def _gate(code: _Code, read: Callable[[Any], Any], place: Any) -> Any:
    """tanh(a) · sigmoid(b), to 4e-7, by one quotient of polynomials.

    tanh(x) is x · p(x²) / q(x²) to float32 within ±7.9, where it reaches 1 (as in Eigen's `ptanh`), and sigmoid(x) =
    (1 + tanh(x / 2)) / 2.
    """
    builder, edge = code.builder, 7.90531110763549805

    def parts(x: Any) -> tuple[Any, Any]:
        x = code.call("maxnum", code.call("minnum", x, code.all(edge)), code.all(-edge))
        square = builder.fmul(x, x)
        over = code.polynomial(square, -2.76076847742355e-16, 2.00018790482477e-13, -8.60467152213735e-11,
                               5.12229709037114e-08, 1.48572235717979e-05, 6.37261928875436e-04,
                               4.89352455891786e-03)  # fmt: skip
        under = code.polynomial(
            square, 1.19825839466702e-06, 1.18534705686654e-04, 2.26843463243900e-03, 4.89352518554385e-03
        )
        return builder.fmul(x, over), under

    half = code.all(0.5)
    over, under = parts(read(_INDEX(0)))
    other, below = parts(builder.fmul(half, read(code.arguments[4])))
    opened = builder.fmul(half, builder.fadd(below, other))
    return builder.fdiv(builder.fmul(over, opened), builder.fmul(under, below))


two_panels, panel, panel_of_rows = _accumulate(2, 1), _accumulate(1, 1), _accumulate(1, ROWS)
through_gate = _by_vectors(_gate)
copy = _by_vectors(lambda code, read, place: read(_INDEX(0)))
add = _by_vectors(lambda code, read, place: code.builder.fadd(read(_INDEX(0)), code.load(*place)))
rectify = _by_vectors(lambda code, read, place: code.call("maxnum", read(_INDEX(0)), code.all(0.0)))
