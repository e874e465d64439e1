"""Sums of products over the vector registers of a processor, as functions that numba compiles into its own.

They get addresses of float32 numbers and not arrays, since numba would spend more time on counting who uses these than
on the sums.

They are written in LLVM's language, since what is added up has to stay in registers, of which numba knows nothing. No
order of sums and no rounding is left to the compiler: all processors with fused multiplication give the same.

Raises on import:
    EchelonError: numba is not installed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from echelon.errors import EchelonError

try:
    import llvmlite.binding as llvm
    from llvmlite import ir
    from numba import njit, types
    from numba.core import cgutils
    from numba.extending import intrinsic
except ImportError as error:
    raise EchelonError("making songs needs numba: pip install 'echelon[music]'") from error

LANES = 16 if llvm.get_host_cpu_features().get("avx512f") else 8
"""Numbers of a vector register."""
VECTORS = 4
PANEL = LANES * VECTORS
"""Outputs whose weights lie together; what a product has more is filled up with zeros."""
ROWS = LANES // 4
"""Rows of inputs for which a panel is read once: their sums just fit into the registers."""
CACHE_LINE = 64
"""Bytes."""

FLOAT, BYTE, INT, INDEX = ir.FloatType(), ir.IntType(8), ir.IntType(32), ir.IntType(64)
VECTOR, WORDS = ir.VectorType(FLOAT, LANES), ir.VectorType(INT, LANES)

MODULES = ("lanes.py", "eight_bits.py", "packed.py", "kernel.py")
"""What compiled functions are made of."""

compiled = njit(nogil=True)


def kept(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compiled, and kept on the disk where there is a place for it.

    Whether what was kept is still valid numba sees by the function's own file, so its name tells of the others that it
    is made of, and of those with what it is given.
    """
    others = (Path(__file__).with_name(name).read_bytes() for name in MODULES)
    function.__qualname__ += "_" + hashlib.sha256(b"".join(others)).hexdigest()[:8]
    try:
        return njit(nogil=True, cache=True)(function)
    except RuntimeError:
        return njit(nogil=True)(function)


class Code:
    """Writes the body of a function."""

    def __init__(self, builder: Any, arguments: Any) -> None:
        self.builder, self.arguments = builder, arguments

    def numbers(self, argument: int) -> Any:
        """The numbers at the address that is an argument."""
        return self.builder.inttoptr(self.arguments[argument], FLOAT.as_pointer())

    def load(self, pointer: Any, *steps: Any, kind: Any = VECTOR) -> Any:
        return self.builder.load(self._vector(pointer, kind, steps), align=4)

    def store(self, vector: Any, pointer: Any, *steps: Any) -> None:
        self.builder.store(vector, self._vector(pointer, VECTOR, steps), align=4)

    def _vector(self, pointer: Any, kind: Any, steps: Any) -> Any:
        for step in steps:
            pointer = self.builder.gep(pointer, [step])
        return self.builder.bitcast(pointer, kind.as_pointer())

    def call(self, name: str, *vectors: Any) -> Any:
        """fmuladd(a, b, c) = a · b + c, minnum, maxnum, floor."""
        kind = ir.FunctionType(VECTOR, [VECTOR] * len(vectors))
        function = cgutils.get_or_insert_function(self.builder.module, kind, f"llvm.{name}.v{LANES}f32")
        return self.builder.call(function, vectors)

    def fetch(self, address: Any) -> None:
        """Asks for the line of the caches at an address, which will be read."""
        byte = BYTE.as_pointer()
        kind = ir.FunctionType(ir.VoidType(), [byte, INT, INT, INT])
        function = cgutils.get_or_insert_function(self.builder.module, kind, "llvm.prefetch.p0")
        self.builder.call(function, [self.builder.inttoptr(address, byte), INT(0), INT(2), INT(1)])

    def all(self, value: float) -> Any:
        return ir.Constant(VECTOR, [float(np.float32(value))] * LANES)

    def repeated(self, number: Any) -> Any:
        empty = ir.Constant(ir.VectorType(number.type, LANES), ir.Undefined)
        first = self.builder.insert_element(empty, number, INT(0))
        return self.builder.shuffle_vector(first, empty, ir.Constant(WORDS, [0] * LANES))

    def halves(self, words: Any) -> tuple[Any, Any]:
        """Two vectors of bfloat16 in one of words, as float32: those in the lower halves, and those in the upper."""
        low = self.builder.shl(words, ir.Constant(WORDS, [16] * LANES))
        high = self.builder.and_(words, ir.Constant(WORDS, [0xFFFF0000] * LANES))
        return self.builder.bitcast(low, VECTOR), self.builder.bitcast(high, VECTOR)

    def polynomial(self, x: Any, *coefficients: float) -> Any:
        """The highest power first."""
        total = self.all(coefficients[0])
        for coefficient in coefficients[1:]:
            total = self.call("fmuladd", total, x, self.all(coefficient))
        return total


def _accumulate(panels: int, rows: int, halved: bool) -> Callable[..., None]:
    """A function that adds the products of some rows of inputs with neighbouring panels to as many rows of outputs.

    Its arguments: the address of the panels, [panels, count, PANEL]; of the inputs, numbers from row to row, numbers
    of a row; of the outputs, numbers from row to row; and an address from which a quarter of a panel is asked for
    meanwhile, the same part of each line, to be near when its turn comes. halved: whether a word of a panel holds two
    weights.
    """

    @intrinsic
    def accumulate(typing: Any, w: Any, x: Any, x_step: Any, count: Any, y: Any, y_step: Any, ahead: Any) -> Any:
        words = PANEL // 2 if halved else PANEL

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            code = Code(builder, arguments)
            weights, inputs, outputs = code.numbers(0), code.numbers(1), code.numbers(4)
            x_step, count, y_step, asked = arguments[2], arguments[3], arguments[5], arguments[6]

            def read(panel: int, line: Any) -> list[Any]:
                begin = builder.mul(count, INDEX(panel * words))
                steps, kind = range(0, words, LANES), WORDS if halved else VECTOR
                found = [code.load(weights, begin, line, INDEX(step), kind=kind) for step in steps]
                return [half for pair in found for half in code.halves(pair)] if halved else found

            def place(row: int, vector: int) -> tuple[Any, ...]:
                return outputs, builder.mul(y_step, INDEX(row)), INDEX(vector * LANES)

            places = [(row, vector) for row in range(rows) for vector in range(panels * VECTORS)]
            sums = {each: cgutils.alloca_once(builder, VECTOR) for each in places}
            for each in places:
                builder.store(code.load(*place(*each)), sums[each])
            with cgutils.for_range(builder, count) as loop:
                line = builder.mul(loop.index, INDEX(words))
                for begin in range(0, words if rows == ROWS else 0, CACHE_LINE):
                    code.fetch(builder.add(asked, builder.add(builder.mul(line, INDEX(4)), INDEX(begin))))
                lines = [vector for panel in range(panels) for vector in read(panel, line)]
                for row in range(rows):
                    at = builder.add(builder.mul(x_step, INDEX(row)), loop.index)
                    factor = code.repeated(builder.load(builder.gep(inputs, [at])))
                    for vector, weight in enumerate(lines):
                        total = sums[row, vector]
                        builder.store(code.call("fmuladd", weight, factor, builder.load(total)), total)
            for each in places:
                code.store(builder.load(sums[each]), *place(*each))
            return context.get_dummy_value()

        return types.void(*[types.int64] * 7), generate

    return accumulate


def _by_vectors(operation: Callable[[Code, Callable[[Any], Any], Any], Any]) -> Callable[..., None]:
    """A function that makes numbers of y by an operation on vectors of x, and of x so many numbers on.

    Its arguments: the addresses of x and of y, and how many numbers, a multiple of LANES.
    """

    @intrinsic
    def go(typing: Any, x: Any, y: Any, width: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            code, width = Code(builder, arguments), arguments[2]
            inputs, outputs = code.numbers(0), code.numbers(1)
            with cgutils.for_range(builder, builder.udiv(width, INDEX(LANES))) as loop:
                step = builder.mul(loop.index, INDEX(LANES))
                code.store(operation(code, lambda on: code.load(inputs, step, on), (outputs, step)), outputs, step)
            return context.get_dummy_value()

        return types.void(*[types.int64] * 3), generate

    return go


def _gate(code: Code, read: Callable[[Any], Any], place: Any) -> Any:
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
    over, under = parts(read(INDEX(0)))
    other, below = parts(builder.fmul(half, read(code.arguments[2])))
    opened = builder.fmul(half, builder.fadd(below, other))
    return builder.fdiv(builder.fmul(over, opened), builder.fmul(under, below))


def _power(code: Code, read: Callable[[Any], Any], place: Any) -> Any:
    """exp(x) of x ≤ 0, to 2e-7 of itself (Cephes' expf: Moshier, 1989); of less than -87 as of that."""
    builder = code.builder
    x = code.call("maxnum", read(INDEX(0)), code.all(-87.0))
    n = code.call("floor", code.call("fmuladd", x, code.all(1.44269504088896341), code.all(0.5)))
    r = code.call("fmuladd", n, code.all(-0.693359375), x)
    r = code.call("fmuladd", n, code.all(2.12194440e-4), r)
    rest = code.polynomial(r, 1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1,
                           5.0000001201e-1, 1.0, 1.0)  # fmt: skip
    exponent = builder.add(builder.fptosi(n, WORDS), ir.Constant(WORDS, [127] * LANES))
    return builder.fmul(rest, builder.bitcast(builder.shl(exponent, ir.Constant(WORDS, [23] * LANES)), VECTOR))


two_panels, panel, panel_of_rows = (_accumulate(*each, halved=False) for each in ((2, 1), (1, 1), (1, ROWS)))
two_halved, halved, halved_of_rows = (_accumulate(*each, halved=True) for each in ((2, 1), (1, 1), (1, ROWS)))
panel_of_two, halved_of_two = _accumulate(1, 2, halved=False), _accumulate(1, 2, halved=True)
through_gate = _by_vectors(_gate)
copy = _by_vectors(lambda code, read, place: read(INDEX(0)))
add = _by_vectors(lambda code, read, place: code.builder.fadd(read(INDEX(0)), code.load(*place)))
powers = _by_vectors(_power)
rectify = _by_vectors(lambda code, read, place: code.call("maxnum", read(INDEX(0)), code.all(0.0)))
larger = _by_vectors(lambda code, read, place: code.call("maxnum", read(INDEX(0)), read(code.arguments[2])))
