"""Vector instructions for numba: products of small matrices whose entries are vectors, and a factorisation.

A *slot* is one vector of `LANES` doubles in a flat float64 work array; a matrix is a run of slots in row-major order.
Each function here is compiled for the literal sizes of its call into explicit vector code, straight-line where short.
"""

import math
import sys
from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

LANES = 8
_ROWS = 8  # of such a loop
_UNROLLED = 300  # multiplications above which the rows of a product are a loop instead of straight-line code
VECTOR = ir.VectorType(ir.DoubleType(), LANES)
INTEGER = ir.IntType(64)


class Slots:
    """Loads and stores of vectors in the work array, for the code generators below."""

    def __init__(self, context: Any, builder: Any, array_type: Any, array: Any) -> None:
        self.builder = builder
        data = context.make_array(array_type)(context, builder, array).data
        self.base = builder.bitcast(data, VECTOR.as_pointer())

    def _at(self, slot: Any, row: Any, stride: int, column: Any) -> Any:
        integer = lambda x: ir.Constant(INTEGER, x) if isinstance(x, int) else x  # noqa: E731
        if isinstance(row, int) and isinstance(column, int):
            index = integer(row * stride + column)
        else:
            index = self.builder.add(self.builder.mul(integer(row), integer(stride)), integer(column))
        return self.builder.gep(self.base, [self.builder.add(integer(slot), index)])

    def load(self, slot: Any, row: Any, stride: int, column: Any, transposed: bool = False) -> Any:
        """Entry (row, column) of a matrix with `stride` columns as it is stored."""
        row, column = (column, row) if transposed else (row, column)
        return self.builder.load(self._at(slot, row, stride, column), align=8)

    def store(self, value: Any, slot: Any, row: Any, stride: int, column: Any) -> None:
        """Write entry (row, column)."""
        self.builder.store(value, self._at(slot, row, stride, column), align=8)

    def fma(self, x: Any, y: Any, z: Any) -> Any:
        """X y + z, rounded once."""
        kind = ir.FunctionType(VECTOR, [VECTOR] * 3)
        function = cgutils.get_or_insert_function(self.builder.module, kind, f"llvm.fma.v{LANES}f64")
        return self.builder.call(function, [x, y, z])


class Recorder:
    """Writes the vector code of one piece of the recursion; matrices are named by their first slot."""

    def __init__(self, slots: Slots) -> None:
        self.slots = slots

    def product(self, form: str, out: Any, c: Any, a: Any, b: Any, sizes: tuple[int, int, int]) -> None:
        """Out = `form`, one of "ab", "c + ab", "c - ab", with a' and b' for transposes; sizes: rows, inner, columns.

        a*b scales a matrix by one slot (inner = 1). sym(...) computes the lower triangle of a result that is symmetric
        and mirrors it; part(ab) stands for the symmetric part (ab + b'a') / 2. Slots may coincide only where out = c,
        or out = a in a*b.
        """
        builder, (rows, _, cols) = self.slots.builder, sizes
        mirrored = "sym" in form or "part" in form
        row = lambda i, columns: self._row(form, i, columns, c, a, b, sizes)  # noqa: E731
        if math.prod(sizes) <= _UNROLLED:
            values = {(i, j): value for i in range(rows) for j, value in row(i, i + 1 if mirrored else cols).items()}
            for (i, j), value in values.items():
                self.slots.store(value, out, i, cols, j)
                if mirrored and i != j:
                    self.slots.store(value, out, j, cols, i)
            return
        for first in range(0, rows, _ROWS):  # in blocks, as the upper triangle of a symmetric result is not computed
            last = min(first + _ROWS, rows)
            with cgutils.for_range(builder, ir.Constant(INTEGER, last - first)) as loop:
                i = builder.add(loop.index, ir.Constant(INTEGER, first))
                for j, value in row(i, last if mirrored else cols).items():
                    self.slots.store(value, out, i, cols, j)
        if mirrored:
            with (
                cgutils.for_range(builder, ir.Constant(INTEGER, rows)) as below,
                cgutils.for_range(builder, below.index) as column,
            ):
                value = self.slots.load(out, below.index, cols, column.index)
                self.slots.store(value, out, column.index, cols, below.index)

    def _row(self, form: str, i: Any, columns: int, c: Any, a: Any, b: Any, sizes: tuple[int, int, int]) -> dict:
        """The first entries of row i; summed in parallel, so that no addition waits for the previous one."""
        slots, builder, (rows, inner, cols) = self.slots, self.slots.builder, sizes
        flip_a, flip_b = "a'" in form, "b'" in form
        left = lambda i, k: slots.load(a, i, rows if flip_a else inner, k, flip_a)  # noqa: E731
        right = lambda k, j: slots.load(b, k, inner if flip_b else cols, j, flip_b)  # noqa: E731
        half, totals = _constant(0.5), dict.fromkeys(range(columns))
        if "c" in form:
            totals = {j: slots.load(c, i, cols, j) for j in range(columns)}
        for k in range(inner):
            for j in range(columns):
                if "*" in form:
                    terms = [(slots.load(a, i, rows if flip_a else cols, j, flip_a), slots.load(b, 0, 1, 0))]
                else:
                    terms = [(left(i, k), right(k, j))]
                if "part" in form:
                    terms = [(builder.fmul(half, x), y) for x, y in (*terms, (left(j, k), right(k, i)))]
                for x, y in terms:
                    x = builder.fneg(x) if "-" in form else x
                    totals[j] = builder.fmul(x, y) if totals[j] is None else slots.fma(x, y, totals[j])
        return totals

    def fill(self, slot: Any, size: int, value: float) -> None:
        """Slots <- one number."""
        for k in range(size):
            self.slots.store(_constant(value), slot, k, 1, 0)

    def add(self, slot: Any, other: Any, size: int, step: int = 1) -> None:
        """Slots += other slots; every `step`-th slot for the diagonal of a matrix, whose one addend is `other`."""
        for k in range(size):
            total = self.slots.load(slot, k * step, 1, 0)
            addend = self.slots.load(other, k if step == 1 else 0, 1, 0)
            self.slots.store(self.slots.builder.fadd(total, addend), slot, k * step, 1, 0)

    def symmetrize(self, slot: Any, size: int) -> None:
        """A matrix <- its symmetric part; exact where it is symmetric already."""
        slots, builder, half = self.slots, self.slots.builder, _constant(0.5)

        def average(i: Any, j: Any) -> None:
            value = builder.fadd(slots.load(slot, i, size, j), slots.load(slot, j, size, i))
            value = builder.fmul(half, value)
            slots.store(value, slot, i, size, j)
            slots.store(value, slot, j, size, i)

        if size * size * size <= _UNROLLED:
            for i in range(size):
                for j in range(i):
                    average(i, j)
            return
        with (
            cgutils.for_range(builder, ir.Constant(INTEGER, size)) as row,
            cgutils.for_range(builder, row.index) as column,
        ):
            average(row.index, column.index)

    def factor(self, inverse: Any, s: Any, determinant: Any, size: int) -> None:
        """Inverse = s^-1 by s = M D M' (unit lower M); determinant (mantissa, exponent) *= |s|.

        NaN where a pivot is not positive and finite (or so small that doubles lose digits). A running product with its
        exponent apart needs one logarithm at the end instead of one per step.
        """
        slots, builder = self.slots, self.slots.builder
        lower: dict[tuple[int, int], Any] = {}
        scaled: dict[tuple[int, int], Any] = {}  # column j: M D below the diagonal, 1 / D on it
        total, exponent = slots.load(determinant, 0, 1, 0), None
        for j in range(size):
            for i in range(j, size):
                scaled[i, j] = slots.load(s, i, size, j)
                for k in range(j):
                    scaled[i, j] = slots.fma(builder.fneg(lower[i, k]), scaled[j, k], scaled[i, j])
            finite = builder.fcmp_ordered("<", scaled[j, j], _constant(math.inf))
            positive = builder.and_(builder.fcmp_ordered(">=", scaled[j, j], _constant(sys.float_info.min)), finite)
            pivot = builder.select(positive, scaled[j, j], _constant(math.nan))
            # apart after each pivot: the product of a few may leave the range of doubles where none of them does
            total, moved = self._split(builder.fmul(total, pivot))
            exponent = moved if exponent is None else builder.add(exponent, moved)
            scaled[j, j] = builder.fdiv(_constant(1.0), pivot)
            for i in range(j + 1, size):
                lower[i, j] = builder.fmul(scaled[i, j], scaled[j, j])
        slots.store(total, determinant, 0, 1, 0)
        grown = builder.fadd(slots.load(determinant, 1, 1, 0), builder.sitofp(exponent, VECTOR))
        slots.store(grown, determinant, 1, 1, 0)
        unit: dict[tuple[int, int], Any] = {}  # M^-1
        for j in range(size):
            unit[j, j] = _constant(1.0)
            for i in range(j + 1, size):
                unit[i, j] = builder.fneg(lower[i, j])
                for k in range(j + 1, i):
                    unit[i, j] = slots.fma(builder.fneg(lower[i, k]), unit[k, j], unit[i, j])
        for i in range(size):
            for j in range(i + 1):
                entry = _constant(0.0)
                for k in range(i, size):
                    entry = slots.fma(builder.fmul(unit[k, i], scaled[k, k]), unit[k, j], entry)
                slots.store(entry, inverse, i, size, j)
                slots.store(entry, inverse, j, size, i)

    def _split(self, value: Any) -> tuple[Any, Any]:
        """Mantissa in [1, 2) and binary exponent, integers; the mantissa is NaN where the value is not finite."""
        builder, integers = self.slots.builder, ir.VectorType(INTEGER, LANES)
        whole = lambda x: ir.Constant(integers, [x] * LANES)  # noqa: E731
        bits = builder.bitcast(value, integers)
        exponent = builder.sub(builder.and_(builder.lshr(bits, whole(52)), whole(0x7FF)), whole(1023))
        mantissa = builder.or_(builder.and_(bits, whole(0xFFFFFFFFFFFFF)), whole(1023 << 52))
        finite = builder.fcmp_ordered("<", value, _constant(math.inf))  # no for NaN
        return builder.select(finite, builder.bitcast(mantissa, VECTOR), _constant(math.nan)), exponent


def vector_code(write: Callable[..., None]) -> Any:
    """Make `write(recorder, state, obs, places)` callable in numba code as f(w, state, obs, (slot, ...))."""

    def typing(typingctx: Any, w: Any, state: Any, obs: Any, places: Any) -> Any:
        sizes = state.literal_value, obs.literal_value
        signature = types.void(w, state, obs, places)

        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            write(Recorder(Slots(context, builder, w, args[0])), *sizes, cgutils.unpack_tuple(builder, args[3]))
            return context.get_dummy_value()

        return signature, generate

    typing.__name__ = write.__name__
    return intrinsic(prefer_literal=True)(typing)


def _constant(value: float) -> Any:
    return ir.Constant(VECTOR, [value] * LANES)
