"""All observations of a linear-Gaussian state-space model as one Gaussian vector, whitened once for all sequences.

Unlike a filter, it gives expectations of log p(a) under an uncertain a. Neither covariance nor whitening matrix depends
on the observations, so sequences that share parameters share one matrix.
"""

import math
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from pyro_models.distributions.gaussian_numerics import factor_definite, symmetrize
from pyro_models.distributions.gaussian_steps import apply
from pyro_models.distributions.state_space import StateSpace


class WhitenedMarginal(NamedTuple):
    """N(mean, C) of all observed a_t in one vector, with W C W' = I.

    Missing coordinates have zero rows and columns in W, so their values are not used.

    Attributes:
        mean: mean of the observations, time before coordinates.
        whitening: W, lower triangular; NaN where C is not positive definite.
        log_normalizer: log det W - (number of observed coordinates) / 2 * log(2 pi).
    """

    mean: Float[Tensor, "*batch vector"]
    whitening: Float[Tensor, "*batch vector vector"]
    log_normalizer: Float[Tensor, "*batch"]

    def log_prob(self, values: Tensor) -> Float[Tensor, "*batch"]:
        """Log N(a; mean, C), nats; values (*batch, time, obs)."""
        return self.log_normalizer - 0.5 * self._whitened(values).square().sum(-1)

    def expected_log_prob(self, mean: Tensor, variance: Tensor) -> Float[Tensor, "*batch"]:
        """E log N(a; mean, C) for a ~ N(mean, diag variance): log N(mean) - 1/2 sum_ij W_ij^2 variance_j, nats."""
        weights = self.whitening.square().sum(-2)
        return self.log_prob(mean) - 0.5 * (weights * variance.flatten(-2)).sum(-1)

    def _whitened(self, values: Tensor) -> Tensor:
        residual = values.flatten(-2) - self.mean
        if self.whitening.dim() == 3:  # (component, ...): one product for all sequences of a component
            return torch.einsum("...ki,kji->...kj", residual, self.whitening)
        return apply(self.whitening, residual)


def whiten(model: StateSpace) -> WhitenedMarginal:
    """The joint distribution of all observations, in float64, with the batch dims of the parameters.

    States solve the block-bidiagonal system h_1 = m + e_1, h_t - A_t h_{t-1} = b_t + e_t, whose forward substitution
    is the recursion of the prior; process noise may be zero. Suitable for vectors of a few hundred coordinates: time
    and memory grow with the cube and the square of their number.
    """
    model = model.double()
    steps, obs = model.num_steps, model.obs_dim
    mean, covariance = _states(model)
    emission = _over_time(model.emission_matrix, steps, 2)
    mean = apply(emission, mean.unflatten(-1, (steps, -1)))
    if model.emission_offset is not None:
        mean = mean + model.emission_offset
    emitting = _block_diagonal(emission)
    covariance = emitting @ covariance @ emitting.mT
    covariance = symmetrize(covariance + _block_diagonal(_over_time(model.emission_covariance, steps, 2)))
    seen = torch.ones_like(mean[..., 0]) if model.observed is None else model.observed.to(mean)
    seen = seen.unsqueeze(-1).expand(*seen.shape, obs).flatten(-2)
    pairs = seen.unsqueeze(-1) * seen.unsqueeze(-2)
    factor = factor_definite(torch.where(pairs > 0, covariance, torch.diag_embed(1 - seen)))
    identity = torch.eye(steps * obs, dtype=factor.dtype, device=factor.device)
    whitening = torch.linalg.solve_triangular(factor, identity, upper=False) * pairs
    log_determinant = factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)
    return WhitenedMarginal(mean.flatten(-2), whitening, -log_determinant - 0.5 * math.log(2 * math.pi) * seen.sum(-1))


def _states(model: StateSpace) -> tuple[Tensor, Tensor]:
    """Mean (*batch, time * state) and covariance of the whole path before any observation."""
    steps, state = model.num_steps, model.state_dim
    first, spread = model.initial_mean.unsqueeze(-2), model.initial_covariance.unsqueeze(-3)
    if steps == 1:
        return first.flatten(-2), spread.squeeze(-3)
    moves = torch.zeros_like(first) if model.transition_offset is None else model.transition_offset
    driving = _joined(first, _over_time(moves, steps - 1, 1), 1)
    noise = _block_diagonal(_joined(spread, _over_time(model.transition_covariance, steps - 1, 2), 2))
    moving = _over_time(model.transition_matrix, steps - 1, 2)
    identity = torch.eye(steps * state, dtype=moving.dtype, device=moving.device)
    system = identity - _block_diagonal(moving, offset=-1)
    mean = torch.linalg.solve_triangular(system, driving.flatten(-2).unsqueeze(-1), upper=False, unitriangular=True)
    half = torch.linalg.solve_triangular(system, noise, upper=False, unitriangular=True)
    covariance = torch.linalg.solve_triangular(system, half.mT, upper=False, unitriangular=True)
    return mean.squeeze(-1), covariance


def _over_time(parameter: Tensor, steps: int, event_dims: int) -> Tensor:
    """A parameter expanded to all steps, where one value held for all."""
    shape = list(parameter.shape)
    shape[-event_dims - 1] = steps
    return parameter.expand(shape)


def _joined(first: Tensor, rest: Tensor, event_dims: int) -> Tensor:
    """One step before the others, over broadcast batch dims."""
    dim = -event_dims - 1
    batch = torch.broadcast_shapes(first.shape[:dim], rest.shape[:dim])
    return torch.cat([one.expand(batch + one.shape[dim:]) for one in (first, rest)], dim)


def _block_diagonal(blocks: Float[Tensor, "*batch steps rows columns"], offset: int = 0) -> Tensor:
    """A matrix with these blocks on its diagonal, or on the one below it (`offset` -1)."""
    spread = torch.diag_embed(blocks.movedim(-3, -1), offset)  # (*batch, rows, columns, time, time)
    return spread.movedim(-2, -4).transpose(-1, -2).flatten(-2).flatten(-3, -2)
