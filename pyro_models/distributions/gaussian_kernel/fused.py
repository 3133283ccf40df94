"""The fused CPU kernel of the Gaussian marginal: both sweeps over time, in numba.

Sequences lie in SIMD lanes: every scalar of the recursion is a vector of `LANES` doubles, a *slot* of one flat work
array. Covariances are swept once for all sequences that share their parameters and missing steps; means once per
sequence. The reverse sweep repeats the forward one and keeps its states, so only the arguments are kept between the
two calls. The equations are in `steps`.
"""

# ruff: noqa: ANN001, ANN202 (numba infers the types)

import math
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import no_type_check

import numba

from pyro_models.distributions.gaussian_kernel.memory import accumulate, load, store
from pyro_models.distributions.gaussian_kernel.steps import (
    WorkLayout,
    clear_adjoints,
    negate_value,
    predict_covariance,
    predict_mean,
    predict_moved_mean,
    pull_covariance,
    pull_mean,
    pull_prediction_covariance,
    pull_prediction_mean,
    shift_residual,
    skip_missing,
    skip_residual,
    smooth_mean,
    sum_emission,
    sum_emission_noise,
    sum_matrix,
    sum_noise,
    symmetrize_obs,
    symmetrize_state,
    tilt_adjoint,
    tilt_mean,
    update_covariance,
    update_mean,
)
from pyro_models.distributions.gaussian_kernel.vectors import LANES

# numba's disk cache watches this file only: the digest makes it notice a change of the vector code as well
_REVISION = zlib.crc32(b"".join(path.read_bytes() for path in sorted(Path(__file__).parent.glob("*.py"))))

LOG_PROB, GRADIENT, SMOOTH = 0, 1, 2  # what a sweep is for


@no_type_check
def _jit(function):
    """Compile on the first call, and keep the result where some cache folder is writable."""
    options = {"nogil": True, "error_model": "numpy"}
    try:
        return numba.njit(cache=True, **options)(function)
    except RuntimeError:  # numba finds no folder to cache in
        return numba.njit(**options)(function)


@no_type_check
def build_sweep(state: int, obs: int) -> Callable[..., None]:
    """The kernel for one pair of sizes; numba compiles it for float32 or float64 tensors on the first call.

    Its arguments:
        w: work array of `work_slots` slots.
        kind: any number of the tensors' dtype.
        addresses: (23,), where the tensors begin in memory, all contiguous, as arrays (row, time, size): a, initial
            mean and covariance, transition matrix and covariance, emission matrix and covariance, transition and
            emission offset; log p; the gradients of the first nine; tilt, smoothed mean and its two multipliers.
        observed: flat (row, time), or anything if there is no mask.
        times: (9,), number of steps of each array; 1 holds for every step.
        given: (3,), whether the transition offset, emission offset and `observed` exist.
        table: (array, group, repeat, lane) flattened, the row of each of the first nine arrays, of `observed` and of
            log p that the sequence in a lane uses. All repeats of a group share covariances.
        weight: (group, repeat, lane) flattened, 0 in lanes that only repeat another sequence.
        groups, repeats: sizes of `table`.
        wanted: (9,), which gradients are added to.
        shared: (9,), whether all lanes of every group use one row of an array.
        task: LOG_PROB writes log p; GRADIENT reads its adjoint and adds to gradients; SMOOTH writes, for every sequence
            and step, E[z_t], the adjoint of the predicted state and S^-1 e - G'r (see `gaussian_smoother`).
        tilted: in SMOOTH, the density of the path is first multiplied by exp(sum_t tilt_t'z_t).
    """
    n, p = state, obs
    nn, pn, pp = n * n, p * n, p * p
    layout = WorkLayout(state, obs)
    at, repeat_at, step_at = layout.work, layout.repeat, layout.step
    identity, one, two, seen, unseen = at.identity, at.one, at.two, at.seen, at.unseen
    count, determinant, all_weights, half_weights = at.count, at.determinant, at.weight, at.half
    matrix, noise, emission, given_emission = at.matrix, at.noise, at.emission, at.given_emission
    emission_noise, given_noise = at.emission_noise, at.given_noise
    predicted, mean, residual, d_value, d_mean = at.predicted, at.mean, at.residual, at.d_value, at.d_mean
    d_updated, d_predicted, d_matrix = at.d_updated, at.d_predicted, at.d_matrix
    d_emission, d_noise = at.d_emission, at.d_noise
    sums = at.sum_matrix, at.sum_noise, at.sum_emission, at.sum_emission_noise
    sums_size = layout.work_size - at.sum_matrix
    weight_at, half_at, quadratic_at = repeat_at.weight, repeat_at.half, repeat_at.quadratic
    moves_at, offsets_at = repeat_at.sum_transition, repeat_at.sum_emission
    gain_at, inverse_at, updated_at = step_at.gain, step_at.inverse, step_at.updated
    work_size, repeat_size = layout.work_size, layout.repeat_size
    step_size, path_size = layout.step_size, layout.path_size
    revision = _REVISION

    @_jit
    def sweep(w, kind, addresses, observed, times, given, table, weight, groups, repeats, wanted, shared, task, tilted):
        backward = task != LOG_PROB
        num_steps, masked = times[0], given[2]
        # what holds for every step is loaded once per group; emissions of missing steps are blanked step by step
        first = work_size + repeats * repeat_size + 0 * revision
        stride = step_size + repeats * path_size
        array = groups * repeats * LANES
        w[: first * LANES] = 0.0
        for k in range(n):
            w[(identity + k * (n + 1)) * LANES : (identity + k * (n + 1) + 1) * LANES] = 1.0
        w[one * LANES : (one + 1) * LANES] = 1.0
        w[two * LANES : (two + 1) * LANES] = 2.0
        w[seen * LANES : (seen + 1) * LANES] = 1.0
        for group in range(groups):
            lanes = group * repeats * LANES
            w[count * LANES : (count + 1) * LANES] = 0.0
            w[determinant * LANES : (determinant + 1) * LANES] = 1.0
            w[(determinant + 1) * LANES : (determinant + 2) * LANES] = 0.0
            w[work_size * LANES : first * LANES] = 0.0
            load(w, predicted, nn, kind, addresses[2], table, 2 * array + lanes, 1, 0)
            load(w, matrix, nn, kind, addresses[3], table, 3 * array + lanes, times[3], 0)
            load(w, noise, nn, kind, addresses[4], table, 4 * array + lanes, times[4], 0)
            load(w, emission, pn, kind, addresses[5], table, 5 * array + lanes, times[5], 0)
            load(w, given_emission, pn, kind, addresses[5], table, 5 * array + lanes, times[5], 0)
            load(w, emission_noise, pp, kind, addresses[6], table, 6 * array + lanes, times[6], 0)
            load(w, given_noise, pp, kind, addresses[6], table, 6 * array + lanes, times[6], 0)
            symmetrize_state(w, n, p, (predicted,))
            symmetrize_state(w, n, p, (noise,))
            symmetrize_obs(w, n, p, (emission_noise,))
            symmetrize_obs(w, n, p, (given_noise,))
            for t in range(num_steps):
                here = first + t * stride if backward else first
                before = here - stride if backward else first
                if t > 0:
                    if times[3] > 1:
                        load(w, matrix, nn, kind, addresses[3], table, 3 * array + lanes, times[3], t - 1)
                    if times[4] > 1:
                        load(w, noise, nn, kind, addresses[4], table, 4 * array + lanes, times[4], t - 1)
                        symmetrize_state(w, n, p, (noise,))
                    predict_covariance(w, n, p, (before + updated_at,))
                if times[5] > 1:
                    held = given_emission if masked else emission
                    load(w, held, pn, kind, addresses[5], table, 5 * array + lanes, times[5], t)
                if times[6] > 1:
                    held = given_noise if masked else emission_noise
                    load(w, held, pp, kind, addresses[6], table, 6 * array + lanes, times[6], t)
                    symmetrize_obs(w, n, p, (held,))
                if masked:
                    for lane in range(LANES):
                        is_seen = 1.0 if observed[table[9 * array + lanes + lane] * num_steps + t] else 0.0
                        w[seen * LANES + lane] = is_seen
                        w[unseen * LANES + lane] = 1.0 - is_seen
                    skip_missing(w, n, p, (first,))
                update_covariance(w, n, p, (here + gain_at, here + inverse_at, here + updated_at))
                for repeat in range(repeats):
                    members, own = lanes + repeat * LANES, work_size + repeat * repeat_size
                    path = step_size + repeat * path_size
                    if t == 0:
                        load(w, mean, n, kind, addresses[1], table, array + members, 1, 0)
                    elif given[0]:
                        load(w, mean, n, kind, addresses[7], table, 7 * array + members, times[7], t - 1)
                        predict_moved_mean(w, n, p, (before + path,))
                    else:
                        predict_mean(w, n, p, (before + path,))
                    load(w, residual, p, kind, addresses[0], table, members, num_steps, t)
                    if given[1]:
                        load(w, d_value, p, kind, addresses[8], table, 8 * array + members, times[8], t)
                        shift_residual(w, n, p, (first,))
                    if masked:
                        skip_residual(w, n, p, (first,))
                    update_mean(
                        w,
                        n,
                        p,
                        (here + gain_at, here + inverse_at, here + path, here + path + n, own + quadratic_at),
                    )
                    if tilted:
                        load(w, d_mean, n, kind, addresses[19], table, 10 * array + members, num_steps, t)
                        tilt_mean(w, n, p, (here + updated_at, here + path))
            if task == LOG_PROB:
                for repeat in range(repeats):
                    quadratic = work_size + repeat * repeat_size + quadratic_at
                    for lane in range(LANES):
                        logarithm = math.log(w[determinant * LANES + lane])
                        logarithm += w[(determinant + 1) * LANES + lane] * math.log(2.0)
                        logarithm += w[count * LANES + lane] * p * math.log(2.0 * math.pi)
                        w[d_value * LANES + lane] = -0.5 * (w[quadratic * LANES + lane] + logarithm)
                    store(w, d_value, 1, kind, addresses[9], table, 10 * array + lanes + repeat * LANES, 1, 0)
                continue
            w[d_updated * LANES : (d_updated + nn) * LANES] = 0.0
            w[sums[0] * LANES : (sums[0] + sums_size) * LANES] = 0.0
            w[all_weights * LANES : (all_weights + 1) * LANES] = 0.0
            for repeat in range(repeats):
                members, own = lanes + repeat * LANES, work_size + repeat * repeat_size
                if task == GRADIENT:
                    load(w, own + weight_at, 1, kind, addresses[9], table, 10 * array + members, 1, 0)
                for lane in range(LANES):
                    own_weight = w[(own + weight_at) * LANES + lane] * weight[members + lane]
                    if task == SMOOTH:
                        own_weight = 1.0
                    w[(own + weight_at) * LANES + lane] = own_weight
                    w[(own + half_at) * LANES + lane] = 0.5 * own_weight
                    w[all_weights * LANES + lane] += own_weight
                    w[half_weights * LANES + lane] = 0.5 * w[all_weights * LANES + lane]
            for t in range(num_steps - 1, -1, -1):
                here, before = first + t * stride, first + (t - 1) * stride
                # loading the matrices again is faster than keeping them
                if times[3] > 1 and t > 0:
                    load(w, matrix, nn, kind, addresses[3], table, 3 * array + lanes, times[3], t - 1)
                if times[5] > 1:
                    held = given_emission if masked else emission
                    load(w, held, pn, kind, addresses[5], table, 5 * array + lanes, times[5], t)
                if masked:
                    for lane in range(LANES):
                        is_seen = observed[table[9 * array + lanes + lane] * num_steps + t]
                        w[seen * LANES + lane] = 1.0 if is_seen else 0.0
                    skip_missing(w, n, p, (first,))
                clear_adjoints(w, n, p, (first,))
                for repeat in range(repeats):
                    members, own = lanes + repeat * LANES, work_size + repeat * repeat_size
                    path = step_size + repeat * path_size
                    if task == SMOOTH:
                        smooth_mean(w, n, p, (here + updated_at, here + path, own))
                        store(w, mean, n, kind, addresses[20], table, 10 * array + members, num_steps, t)
                        if tilted:
                            load(w, d_mean, n, kind, addresses[19], table, 10 * array + members, num_steps, t)
                            tilt_adjoint(w, n, p, (own,))
                    pull_mean(
                        w,
                        n,
                        p,
                        (
                            here + gain_at,
                            here + path,
                            here + path + n,
                            own,
                            own + weight_at,
                            own + half_at,
                            own + offsets_at,
                        ),
                    )
                    if task == SMOOTH:
                        store(w, d_mean, n, kind, addresses[21], table, 10 * array + members, num_steps, t)
                        negate_value(w, n, p, (first,))
                        store(w, residual, p, kind, addresses[22], table, 10 * array + members, num_steps, t)
                    if wanted[0]:
                        accumulate(w, d_value, p, kind, addresses[10], table, members, num_steps, t, shared[0])
                    if wanted[8] and times[8] > 1:
                        negate_value(w, n, p, (first,))
                        accumulate(
                            w, residual, p, kind, addresses[18], table, 8 * array + members, times[8], t, shared[8]
                        )
                    if t > 0:
                        pull_prediction_mean(w, n, p, (before + path, own, own + moves_at))
                        if wanted[7] and times[7] > 1:
                            accumulate(
                                w,
                                d_mean,
                                n,
                                kind,
                                addresses[17],
                                table,
                                7 * array + members,
                                times[7],
                                t - 1,
                                shared[7],
                            )
                    elif wanted[1]:
                        accumulate(w, d_mean, n, kind, addresses[11], table, array + members, 1, 0, shared[1])
                if task == SMOOTH:
                    continue
                pull_covariance(w, n, p, (here + gain_at, here + inverse_at, here + updated_at))
                if times[5] == 1:
                    sum_emission(w, n, p, (first,))
                elif wanted[5]:
                    accumulate(w, d_emission, pn, kind, addresses[15], table, 5 * array + lanes, times[5], t, shared[5])
                if times[6] == 1:
                    sum_emission_noise(w, n, p, (first,))
                elif wanted[6]:
                    accumulate(w, d_noise, pp, kind, addresses[16], table, 6 * array + lanes, times[6], t, shared[6])
                if t > 0:
                    pull_prediction_covariance(w, n, p, (before + updated_at,))
                    if times[3] == 1:
                        sum_matrix(w, n, p, (first,))
                    elif wanted[3]:
                        accumulate(
                            w, d_matrix, nn, kind, addresses[13], table, 3 * array + lanes, times[3], t - 1, shared[3]
                        )
                    if times[4] == 1:
                        sum_noise(w, n, p, (first,))
                    elif wanted[4]:
                        accumulate(
                            w,
                            d_predicted,
                            nn,
                            kind,
                            addresses[14],
                            table,
                            4 * array + lanes,
                            times[4],
                            t - 1,
                            shared[4],
                        )
                elif wanted[2]:
                    accumulate(w, d_predicted, nn, kind, addresses[12], table, 2 * array + lanes, 1, 0, shared[2])
            if wanted[3] and times[3] == 1:
                accumulate(w, sums[0], nn, kind, addresses[13], table, 3 * array + lanes, 1, 0, shared[3])
            if wanted[4] and times[4] == 1:
                accumulate(w, sums[1], nn, kind, addresses[14], table, 4 * array + lanes, 1, 0, shared[4])
            if wanted[5] and times[5] == 1:
                accumulate(w, sums[2], pn, kind, addresses[15], table, 5 * array + lanes, 1, 0, shared[5])
            if wanted[6] and times[6] == 1:
                accumulate(w, sums[3], pp, kind, addresses[16], table, 6 * array + lanes, 1, 0, shared[6])
            for repeat in range(repeats):
                members, own = lanes + repeat * LANES, work_size + repeat * repeat_size
                if wanted[7] and times[7] == 1:
                    accumulate(w, own + moves_at, n, kind, addresses[17], table, 7 * array + members, 1, 0, shared[7])
                if wanted[8] and times[8] == 1:
                    accumulate(w, own + offsets_at, p, kind, addresses[18], table, 8 * array + members, 1, 0, shared[8])

    return sweep


def work_slots(state: int, obs: int, num_steps: int, repeats: int) -> int:
    """Slots of the work array for a backward sweep (num_steps) or a forward one (num_steps = 1)."""
    layout = WorkLayout(state, obs)
    paths = layout.step_size + repeats * layout.path_size
    return layout.work_size + repeats * layout.repeat_size + num_steps * paths
