"""Between the arrays of the caller and the SIMD lanes of the work array."""

# ruff: noqa: ANN001, ANN201, ANN202, ANN002 (numba infers the types; the signatures are in the decorators)

import math
from typing import no_type_check

import numba

from pyro_models.distributions.gaussian_kernel_vectors import LANES


@no_type_check
def jit(*signatures):
    """Compile, for the signatures or on the first call, and keep the result where some cache folder is writable."""

    def decorate(function):
        options = {"nogil": True, "error_model": "numpy"}
        try:
            return numba.njit(list(signatures) or None, cache=True, **options)(function)
        except RuntimeError:  # numba finds no folder to cache in
            return numba.njit(list(signatures) or None, **options)(function)

    return decorate


# signatures by hand: numba would compile these once for every constant that they are called with
@no_type_check
@jit(
    "void(f8[::1], i8, i8, f4[::1], i8[::1], i8[::1], i8, i8)",
    "void(f8[::1], i8, i8, f8[::1], i8[::1], i8[::1], i8, i8)",
)
def load(w, slot, size, source, rows, lanes, time, step):
    """Slots <- the rows of the lanes' sequences at one step of an array (row, time, size)."""
    for lane in range(LANES):
        base = (rows[lanes[lane]] * time + (step if time > 1 else 0)) * size
        for k in range(size):
            w[(slot + k) * LANES + lane] = source[base + k]


@no_type_check
@jit(
    "void(f8[::1], i8, i8, f4[::1], i8[::1], i8[::1], i8, i8, b1)",
    "void(f8[::1], i8, i8, f8[::1], i8[::1], i8[::1], i8, i8, b1)",
)
def accumulate(w, slot, size, target, rows, lanes, time, step, shared):
    """An array (row, time, size) += slots, at the rows of the lanes' sequences; `shared`: all lanes have one row."""
    step = step if time > 1 else 0
    if shared:
        base = (rows[lanes[0]] * time + step) * size
        for k in range(size):
            total = 0.0
            for lane in range(LANES):
                total += w[(slot + k) * LANES + lane]
            target[base + k] += total
        return
    for lane in range(LANES):
        base = (rows[lanes[lane]] * time + step) * size
        for k in range(size):
            target[base + k] += w[(slot + k) * LANES + lane]


@no_type_check
@jit("void(f8[::1], i8, i8, f8)")
def fill(w, slot, size, value):
    """Slots <- one number."""
    for k in range(slot * LANES, (slot + size) * LANES):
        w[k] = value


@no_type_check
@jit("void(f8[::1], i8, i8, i8)")
def add(w, slot, other, size):
    """Slots += other slots."""
    for k in range(size * LANES):
        w[slot * LANES + k] += w[other * LANES + k]


@no_type_check
@jit("void(f8[::1], i8, i8, i8)")
def subtract(w, slot, other, size):
    """Slots -= other slots."""
    for k in range(size * LANES):
        w[slot * LANES + k] -= w[other * LANES + k]


@no_type_check
@jit("void(f8[::1], i8, i8, f4[::1], i8[::1], f8[::1])", "void(f8[::1], i8, i8, f8[::1], i8[::1], f8[::1])")
def load_weight(w, slot, half, adjoint, lanes, weight):
    """Slot <- the adjoint of log p of the lanes' sequences, and half of it; 0 in lanes that repeat another sequence."""
    for lane in range(LANES):
        w[slot * LANES + lane] = adjoint[lanes[lane]] * weight[lane]
        w[half * LANES + lane] = 0.5 * w[slot * LANES + lane]


@no_type_check
@jit("void(f8[::1], f4[::1], i8[::1], i8, i8, i8, i8)", "void(f8[::1], f8[::1], i8[::1], i8, i8, i8, i8)")
def write_log_prob(w, log_prob, lanes, quadratic, determinant, count, obs):
    """Log p = -(sum of e'v + log|S| + obs log 2 pi over the observed steps) / 2."""
    for lane in range(LANES):
        logarithm = math.log(w[determinant * LANES + lane]) + w[(determinant + 1) * LANES + lane] * math.log(2.0)
        constant = w[count * LANES + lane] * obs * math.log(2.0 * math.pi)
        log_prob[lanes[lane]] = -0.5 * (w[quadratic * LANES + lane] + logarithm + constant)


@no_type_check
@jit("void(f8[::1], i8, i8, i8, i8[::1], i8[::1], b1[::1], i8, i8)")
def blank(w, slot, size, side, lanes, rows, observed, time, step):
    """Where the step is missing: 0 in a matrix of `size` slots, the identity if `side` > 0 is its number of rows."""
    for lane in range(LANES):
        if not observed[rows[lanes[lane]] * time + step]:
            for k in range(size):
                w[(slot + k) * LANES + lane] = 0.0
            for k in range(side):
                w[(slot + k * (side + 1)) * LANES + lane] = 1.0
