"""Predict, condition, smooth: the recursions of a linear-Gaussian state-space model, written once in torch.

Covariance form with Joseph's update (Bucy and Joseph 1968), which keeps filtered covariances positive semidefinite
under rounding; backward sweep in the adjoint form of Bryson and Frazier (1963; also de Jong 1989), which inverts only
innovation covariances. Zero process noise, singular covariances and missing steps are therefore ordinary cases.
Covariances depend on the parameters and on which steps are observed, not on the values: they keep the batch dims of
the parameters and are computed once for all sequences that share them.
"""

import math
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from pyro_models.distributions.gaussian_numerics import factor_definite, symmetrize
from pyro_models.distributions.gaussian_path import GaussianPath
from pyro_models.distributions.state_space import StateSpace


class Moments(NamedTuple):
    """Mean and covariance of a state; the covariance may have fewer batch dims than the mean."""

    mean: Tensor
    covariance: Tensor


class Conditioned(NamedTuple):
    """One update by an observation: the new moments and the quantities that the backward sweep needs.

    `emission` = L^{-1} C and `innovation` = L^{-1} (a - C m - d) are whitened by the factor L of the innovation
    covariance S = C P C^T + R; `keep` = I - G C with the gain G. All are 0 (keep: I) where the step is missing.
    """

    moments: Moments
    emission: Tensor
    innovation: Tensor
    keep: Tensor
    log_prob: Tensor


class Adjoint(NamedTuple):
    """What later observations add about a state x: E[x | all] = m + P vector, Cov[x | all] = P - P matrix P."""

    vector: Tensor
    matrix: Tensor


def apply(matrix: Tensor, vector: Tensor) -> Tensor:
    """Matrix times vector over broadcast batch dims."""
    return (matrix @ vector.unsqueeze(-1)).squeeze(-1)


def predict(
    state: Moments,
    matrix: Float[Tensor, "*#params state state"],
    covariance: Float[Tensor, "*#params state state"],
    offset: Float[Tensor, "*#offset state"] | None,
) -> Moments:
    """m^- = A m + b,  P^- = A P A^T + Q."""
    mean = apply(matrix, state.mean)
    if offset is not None:
        mean = mean + offset
    return Moments(mean, symmetrize(matrix @ state.covariance @ matrix.mT + covariance))


def condition(
    state: Moments,
    matrix: Float[Tensor, "*#params obs state"],
    covariance: Float[Tensor, "*#params obs obs"],
    offset: Float[Tensor, "*#offset obs"] | None,
    value: Float[Tensor, "*#values obs"],
    observed: Bool[Tensor, "*#seen"] | None,
) -> Conditioned:
    """Update by a = C z + d + N(0, R): G = P C^T S^{-1}, J = I - G C, m + G e, J P J^T + G R G^T.

    A step that is not observed has C = 0, R = I and e = 0 instead, so S = I and G = 0 there. This precedes the
    factorisation: S may be singular at such a step, and the gradient of its factor would be NaN even where unused. The
    value there must be finite but is not used.
    """
    residual = value - apply(matrix, state.mean)
    if offset is not None:
        residual = residual - offset
    if observed is not None:
        residual = torch.where(observed[..., None], residual, 0.0)
        matrix = torch.where(observed[..., None, None], matrix, 0.0)
        covariance = torch.where(observed[..., None, None], covariance, torch.eye(covariance.shape[-1]).to(covariance))
    cross = matrix @ state.covariance
    factor = factor_definite(symmetrize(cross @ matrix.mT + covariance))
    gain = torch.cholesky_solve(cross, factor).mT
    emission = torch.linalg.solve_triangular(factor, matrix, upper=False)
    # the factor is applied by its inverse's action on one vector, so the residual may have more batch dims than S
    inverse = torch.linalg.solve_triangular(factor, torch.eye(factor.shape[-1]).to(factor), upper=False)
    innovation = apply(inverse, residual)
    log_prob = (
        -0.5 * innovation.square().sum(-1)
        - factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)
        - 0.5 * value.shape[-1] * math.log(2 * math.pi)
    )
    if observed is not None:
        log_prob = torch.where(observed, log_prob, 0.0)
    keep = torch.eye(gain.shape[-2]).to(gain) - gain @ matrix
    updated = keep @ state.covariance @ keep.mT + gain @ covariance @ gain.mT
    return Conditioned(
        Moments(state.mean + apply(gain, residual), symmetrize(updated)), emission, innovation, keep, log_prob
    )


def product_of_gaussians(
    first: Moments, mean: Float[Tensor, "*#batch size"], variance: Float[Tensor, "*#batch size"]
) -> Moments:
    """Moments of the density proportional to N(x; m, P) N(x; mean, diag variance); both variances are positive."""
    gain = torch.linalg.solve(first.covariance + torch.diag_embed(variance), first.covariance).mT
    return Moments(first.mean + apply(gain, mean - first.mean), symmetrize(gain * variance.unsqueeze(-2)))


def smooth(later: Adjoint, update: Conditioned) -> Adjoint:
    """Carry the adjoint of the filtered state back through the update: r = C^T S^{-1} e + J^T r', same for N."""
    transposed = update.keep.mT
    return Adjoint(
        apply(update.emission.mT, update.innovation) + apply(transposed, later.vector),
        symmetrize(update.emission.mT @ update.emission + transposed @ later.matrix @ update.keep),
    )


def filter_steps(model: StateSpace, values: Tensor) -> tuple[list[Moments], list[Conditioned]]:
    """Predicted moments and updates at every step; `values` (*batch, time, obs) finite also where missing."""
    state = Moments(model.initial_mean, model.initial_covariance)
    predicted: list[Moments] = []
    updates: list[Conditioned] = []
    for step in range(model.num_steps):
        if step > 0:
            state = predict(state, *model.transition(step - 1))
        predicted.append(state)
        observed = None if model.observed is None else model.observed[..., step]
        updates.append(condition(state, *model.emission(step), values[..., step, :], observed))
        state = updates[-1].moments
    return predicted, updates


def marginal_log_prob(model: StateSpace, values: Tensor) -> Tensor:
    """Log p(a) = sum_t log N(a_t; C_t m_t^- + d_t, S_t) over the observed steps, in nats."""
    _, updates = filter_steps(model, values)
    return torch.stack(torch.broadcast_tensors(*(update.log_prob for update in updates)), -1).sum(-1)


def filter_states(model: StateSpace, values: Tensor, batch: torch.Size) -> GaussianPath:
    """Distributions of z_t given a_1 .. a_t."""
    predicted, updates = filter_steps(model, values)
    step_log_prob = _stack([update.log_prob for update in updates], batch, 0)
    return GaussianPath(
        mean=_stack([update.moments.mean for update in updates], batch, 1),
        covariance=_stack([update.moments.covariance for update in updates], batch, 2),
        log_prob=step_log_prob.sum(-1),
        predicted_mean=_stack([state.mean for state in predicted], batch, 1),
        predicted_covariance=_stack([state.covariance for state in predicted], batch, 2),
        step_log_prob=step_log_prob,
    )


def smooth_states(model: StateSpace, values: Tensor, batch: torch.Size) -> GaussianPath:
    """Distributions of z_t given all of a, and the covariances of neighbours.

    With the adjoint r, N of the filtered state: mean m + P r, covariance P - P N P; with r^-, N^- of the predicted one,
    Cov[z_t, z_{t+1} | a] = P_t A^T (I - N^-_{t+1} P^-_{t+1}).
    """
    predicted, updates = filter_steps(model, values)
    later = Adjoint(torch.zeros_like(model.initial_mean), torch.zeros_like(model.initial_covariance))
    means: list[Tensor] = []
    covariances: list[Tensor] = []
    neighbours: list[Tensor] = []
    identity = torch.eye(model.state_dim).to(model.initial_mean)
    for step in reversed(range(model.num_steps)):
        mean, covariance = updates[step].moments
        means.append(mean + apply(covariance, later.vector))
        covariances.append(symmetrize(covariance - covariance @ later.matrix @ covariance))
        earlier = smooth(later, updates[step])
        if step > 0:
            matrix, _, _ = model.transition(step - 1)
            kept = identity - earlier.matrix @ predicted[step].covariance
            neighbours.append(updates[step - 1].moments.covariance @ matrix.mT @ kept)
            later = Adjoint(apply(matrix.mT, earlier.vector), symmetrize(matrix.mT @ earlier.matrix @ matrix))
    empty = covariances[0].new_zeros((*batch, 0, model.state_dim, model.state_dim))
    log_prob = torch.stack(torch.broadcast_tensors(*(update.log_prob for update in updates)), -1).sum(-1)
    return GaussianPath(
        mean=_stack(means[::-1], batch, 1),
        covariance=_stack(covariances[::-1], batch, 2),
        log_prob=log_prob.expand(batch),
        predicted_mean=_stack([state.mean for state in predicted], batch, 1),
        predicted_covariance=_stack([state.covariance for state in predicted], batch, 2),
        lag_one_covariance=_stack(neighbours[::-1], batch, 2) if neighbours else empty,
    )


def prior_states(model: StateSpace, batch: torch.Size) -> GaussianPath:
    """Distributions of z_t before any observation."""
    states = [Moments(model.initial_mean, model.initial_covariance)]
    for step in range(model.num_steps - 1):
        states.append(predict(states[-1], *model.transition(step)))
    return GaussianPath(
        mean=_stack([state.mean for state in states], batch, 1),
        covariance=_stack([state.covariance for state in states], batch, 2),
    )


def smoothed_mean(model: StateSpace, values: Tensor) -> Float[Tensor, "*batch time state"]:
    """E[z_t | a] alone: the backward sweep without its covariances."""
    _, updates = filter_steps(model, values)
    later = torch.zeros_like(model.initial_mean)
    means: list[Tensor] = []
    for step in reversed(range(model.num_steps)):
        mean, covariance = updates[step].moments
        means.append(mean + apply(covariance, later))
        if step > 0:
            update = updates[step]
            earlier = apply(update.emission.mT, update.innovation) + apply(update.keep.mT, later)
            later = apply(model.transition(step - 1)[0].mT, earlier)
    return torch.stack(torch.broadcast_tensors(*means[::-1]), -2)


def _stack(steps: list[Tensor], batch: torch.Size, event_dims: int) -> Tensor:
    """Per-step values, with any batch dims, as one tensor (*batch, time, *event)."""
    return torch.stack(torch.broadcast_tensors(*steps), -event_dims - 1).expand(
        *batch, -1, *steps[0].shape[steps[0].dim() - event_dims :]
    )
