"""The fused CPU kernel of the Gaussian marginal: both sweeps over time, in numba.

Sequences lie in SIMD lanes: every scalar of the recursion is a vector of `LANES` doubles, a *slot* of one flat work
array. Covariances are swept once for all sequences that share their parameters and missing steps; means once per
sequence. The reverse sweep repeats the forward one and keeps its states, so that nothing but the arguments survives
between the two calls. The equations are in `gaussian_kernel_steps`.
"""

# ruff: noqa: ANN001, ANN202 (numba infers the types)

import zlib
from collections.abc import Callable
from pathlib import Path
from typing import no_type_check

from pyro_models.distributions import gaussian_kernel_memory, gaussian_kernel_steps, gaussian_kernel_vectors
from pyro_models.distributions.gaussian_kernel_memory import (
    accumulate,
    add,
    blank,
    fill,
    jit,
    load,
    load_weight,
    subtract,
    write_log_prob,
)
from pyro_models.distributions.gaussian_kernel_steps import (
    WorkLayout,
    predict_covariance,
    predict_mean,
    pull_covariance,
    pull_mean,
    pull_prediction_covariance,
    pull_prediction_mean,
    update_covariance,
    update_mean,
)

# numba's disk cache watches this file only: the digest makes it notice a change of the vector code as well
_REVISION = zlib.crc32(
    b"".join(
        Path(module.__file__).read_bytes()
        for module in (gaussian_kernel_memory, gaussian_kernel_steps, gaussian_kernel_vectors)
    )
)


@no_type_check
def build_sweep(state: int, obs: int) -> Callable[..., None]:
    """The kernel for one pair of sizes; numba compiles it for float32 or float64 arrays on the first call.

    Its arguments, all contiguous:
        w: work array of `work_slots` slots.
        arrays: flat (row, time, size) arrays: a, initial mean and covariance, transition matrix and covariance,
            emission matrix and covariance, transition and emission offset. An absent offset is anything.
        observed: flat (row, time), or anything.
        rows: (10, sequence), the row of each array (`observed` last) that a sequence uses.
        times: (9,), number of steps of each array; 1 holds for every step.
        given: (3,), whether the transition offset, emission offset and `observed` exist.
        sequence: (group, repeat, lane), which sequence lies where; all repeats of a group share covariances.
        weight: like `sequence`, 0 in lanes that only repeat another sequence.
        log_prob: (sequence,), written by the forward sweep; its adjoint for the backward sweep.
        grads: like `arrays`; gradients are added where `wanted` (9,). Not touched by the forward sweep.
        shared: (9,), whether all lanes of every group use one row of an array.
        backward: which of the two sweeps.
    """
    n, p = state, obs
    layout = WorkLayout(n, p)
    at, repeat_at, step_at = layout.work, layout.repeat, layout.step
    identity, two, seen, count, determinant = at.identity, at.two, at.seen, at.count, at.determinant
    all_weights, half_weights, predicted, mean, residual = at.weight, at.half, at.predicted, at.mean, at.residual
    fixed_matrix, noise, fixed_emission, emission_noise = at.matrix, at.noise, at.emission, at.emission_noise
    d_updated, d_predicted, d_matrix, d_emission, d_noise = (
        at.d_updated,
        at.d_predicted,
        at.d_matrix,
        at.d_emission,
        at.d_noise,
    )
    outer, inner, d_value, d_mean = at.outer, at.inner, at.d_value, at.d_mean
    sums, sums_size = at.sum_matrix, layout.work_size - at.sum_matrix
    sum_matrix, sum_noise, sum_emission, sum_emission_noise = (
        at.sum_matrix,
        at.sum_noise,
        at.sum_emission,
        at.sum_emission_noise,
    )
    weight_at, half_at, quadratic_at = repeat_at.weight, repeat_at.half, repeat_at.quadratic
    moves_at, offsets_at = repeat_at.sum_transition, repeat_at.sum_emission
    emission_at, gain_at, inverse_at, updated_at = step_at.emission, step_at.gain, step_at.inverse, step_at.updated
    work_size, repeat_size, step_size, path_size = (
        layout.work_size,
        layout.repeat_size,
        layout.step_size,
        layout.path_size,
    )
    revision = _REVISION

    @jit()
    def sweep(w, arrays, observed, rows, times, given, sequence, weight, log_prob, grads, wanted, shared, backward):
        groups, repeats, num_steps = sequence.shape[0], sequence.shape[1], times[0]
        masked = given[2]
        # what holds for every step is loaded once per group; emissions of missing steps are blanked step by step
        moving, emitting, noisy = times[3] > 1, times[5] > 1 or masked, times[6] > 1 or masked
        first = work_size + repeats * repeat_size + 0 * revision
        stride = step_size + repeats * path_size
        fill(w, identity, n * n, 0.0)
        for k in range(n):
            fill(w, identity + k * (n + 1), 1, 1.0)
        fill(w, two, 1, 2.0)
        fill(w, seen, 1, 1.0)
        for group in range(groups):
            lanes = sequence[group, 0]
            fill(w, count, 1, 0.0)
            fill(w, determinant, 1, 1.0)
            fill(w, determinant + 1, 1, 0.0)
            fill(w, work_size, repeats * repeat_size, 0.0)
            load(w, predicted, n * n, arrays[2], rows[2], lanes, 1, 0)
            load(w, fixed_matrix, n * n, arrays[3], rows[3], lanes, times[3], 0)
            load(w, noise, n * n, arrays[4], rows[4], lanes, times[4], 0)
            load(w, fixed_emission, p * n, arrays[5], rows[5], lanes, times[5], 0)
            load(w, emission_noise, p * p, arrays[6], rows[6], lanes, times[6], 0)
            for t in range(num_steps):
                here = first + t * stride if backward else first
                before = here - stride if backward else first
                matrix = here if moving else fixed_matrix
                emission = here + emission_at if emitting else fixed_emission
                if t > 0:
                    if moving:
                        load(w, matrix, n * n, arrays[3], rows[3], lanes, times[3], t - 1)
                    if times[4] > 1:
                        load(w, noise, n * n, arrays[4], rows[4], lanes, times[4], t - 1)
                    predict_covariance(w, n, p, (matrix, before + updated_at))
                if emitting:
                    load(w, emission, p * n, arrays[5], rows[5], lanes, times[5], t)
                if noisy:
                    load(w, emission_noise, p * p, arrays[6], rows[6], lanes, times[6], t)
                if masked:
                    fill(w, seen, 1, 1.0)
                    blank(w, seen, 1, 0, lanes, rows[9], observed, num_steps, t)
                    blank(w, emission, p * n, 0, lanes, rows[9], observed, num_steps, t)
                    blank(w, emission_noise, p * p, p, lanes, rows[9], observed, num_steps, t)
                add(w, count, seen, 1)
                update_covariance(w, n, p, (emission, here + gain_at, here + inverse_at, here + updated_at))
                for repeat in range(repeats):
                    members, own = sequence[group, repeat], work_size + repeat * repeat_size
                    path = here + step_size + repeat * path_size
                    if t == 0:
                        load(w, mean, n, arrays[1], rows[1], members, 1, 0)
                    else:
                        fill(w, mean, n, 0.0)
                        if given[0]:
                            load(w, mean, n, arrays[7], rows[7], members, times[7], t - 1)
                        predict_mean(w, n, p, (matrix, path - here + before))
                    load(w, residual, p, arrays[0], rows[0], members, num_steps, t)
                    if given[1]:
                        load(w, d_value, p, arrays[8], rows[8], members, times[8], t)
                        subtract(w, residual, d_value, p)
                    if masked:
                        blank(w, residual, p, 0, members, rows[9], observed, num_steps, t)
                    update_mean(
                        w, n, p, (emission, here + gain_at, here + inverse_at, path, path + n, own + quadratic_at)
                    )
            if not backward:
                for repeat in range(repeats):
                    quadratic = work_size + repeat * repeat_size + quadratic_at
                    write_log_prob(w, log_prob, sequence[group, repeat], quadratic, determinant, count, p)
                continue
            fill(w, all_weights, 2, 0.0)
            fill(w, d_updated, n * n, 0.0)
            fill(w, sums, sums_size, 0.0)
            for repeat in range(repeats):
                own = work_size + repeat * repeat_size
                load_weight(w, own + weight_at, own + half_at, log_prob, sequence[group, repeat], weight[group, repeat])
                add(w, all_weights, own + weight_at, 2)
            for t in range(num_steps - 1, -1, -1):
                here, before = first + t * stride, first + (t - 1) * stride
                matrix = here if moving else fixed_matrix
                emission = here + emission_at if emitting else fixed_emission
                fill(w, d_matrix, n * n, 0.0)
                fill(w, d_emission, p * n, 0.0)
                fill(w, outer, n * p, 0.0)
                fill(w, inner, p * p, 0.0)
                for repeat in range(repeats):
                    members, own = sequence[group, repeat], work_size + repeat * repeat_size
                    path = here + step_size + repeat * path_size
                    pull_mean(w, n, p, (emission, here + gain_at, path, path + n, own, own + weight_at, own + half_at))
                    if wanted[0]:
                        accumulate(w, d_value, p, grads[0], rows[0], members, num_steps, t, shared[0])
                    if times[8] == 1:
                        subtract(w, own + offsets_at, d_value, p)
                    elif wanted[8]:
                        fill(w, residual, p, 0.0)
                        subtract(w, residual, d_value, p)
                        accumulate(w, residual, p, grads[8], rows[8], members, times[8], t, shared[8])
                    if t > 0:
                        pull_prediction_mean(w, n, p, (matrix, path - here + before, own))
                        if times[7] == 1:
                            add(w, own + moves_at, d_mean, n)
                        elif wanted[7]:
                            accumulate(w, d_mean, n, grads[7], rows[7], members, times[7], t - 1, shared[7])
                    elif wanted[1]:
                        accumulate(w, d_mean, n, grads[1], rows[1], members, 1, 0, shared[1])
                if masked:
                    fill(w, seen, 1, 1.0)
                    blank(w, seen, 1, 0, lanes, rows[9], observed, num_steps, t)
                pull_covariance(w, n, p, (emission, here + gain_at, here + inverse_at, here + updated_at))
                if times[5] == 1:
                    add(w, sum_emission, d_emission, p * n)
                elif wanted[5]:
                    accumulate(w, d_emission, p * n, grads[5], rows[5], lanes, times[5], t, shared[5])
                if times[6] == 1:
                    add(w, sum_emission_noise, d_noise, p * p)
                elif wanted[6]:
                    accumulate(w, d_noise, p * p, grads[6], rows[6], lanes, times[6], t, shared[6])
                if t > 0:
                    pull_prediction_covariance(w, n, p, (matrix, before + updated_at))
                    if times[3] == 1:
                        add(w, sum_matrix, d_matrix, n * n)
                    elif wanted[3]:
                        accumulate(w, d_matrix, n * n, grads[3], rows[3], lanes, times[3], t - 1, shared[3])
                    if times[4] == 1:
                        add(w, sum_noise, d_predicted, n * n)
                    elif wanted[4]:
                        accumulate(w, d_predicted, n * n, grads[4], rows[4], lanes, times[4], t - 1, shared[4])
                elif wanted[2]:
                    accumulate(w, d_predicted, n * n, grads[2], rows[2], lanes, 1, 0, shared[2])
            if wanted[3] and times[3] == 1:
                accumulate(w, sum_matrix, n * n, grads[3], rows[3], lanes, 1, 0, shared[3])
            if wanted[4] and times[4] == 1:
                accumulate(w, sum_noise, n * n, grads[4], rows[4], lanes, 1, 0, shared[4])
            if wanted[5] and times[5] == 1:
                accumulate(w, sum_emission, p * n, grads[5], rows[5], lanes, 1, 0, shared[5])
            if wanted[6] and times[6] == 1:
                accumulate(w, sum_emission_noise, p * p, grads[6], rows[6], lanes, 1, 0, shared[6])
            for repeat in range(repeats):
                members, own = sequence[group, repeat], work_size + repeat * repeat_size
                if wanted[7] and times[7] == 1:
                    accumulate(w, own + moves_at, n, grads[7], rows[7], members, 1, 0, shared[7])
                if wanted[8] and times[8] == 1:
                    accumulate(w, own + offsets_at, p, grads[8], rows[8], members, 1, 0, shared[8])

    return sweep


def work_slots(state: int, obs: int, num_steps: int, repeats: int) -> int:
    """Slots of the work array for a backward sweep (num_steps) or a forward one (num_steps = 1)."""
    layout = WorkLayout(state, obs)
    paths = layout.step_size + repeats * layout.path_size
    return layout.work_size + repeats * layout.repeat_size + num_steps * paths
