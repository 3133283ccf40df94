"""States and observations together: drawing them, and their joint density."""

import math
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from pyro_models.distributions.gaussian_numerics import factor_semidefinite, semidefinite_tolerance
from pyro_models.distributions.gaussian_smoother import gaussian_smoothed_mean
from pyro_models.distributions.gaussian_steps import apply
from pyro_models.distributions.state_space import StateSpace


def draw_joint(model: StateSpace, batch: torch.Size) -> tuple[Tensor, Tensor]:
    """A state path (*batch, time, state) and the observations (*batch, time, obs) that it emits, in float64.

    Reparameterised; singular covariances are allowed (`factor_semidefinite`).
    """
    precise = model.double()
    first, moves, emissions = draw_noises(model, batch)
    states = [precise.initial_mean + first]
    for step in range(model.num_steps - 1):
        matrix, _, offset = precise.transition(step)
        state = apply(matrix, states[-1]) + moves[..., step, :]
        states.append(state if offset is None else state + offset)
    path = torch.stack(states, -2)
    return path, emitted_mean(precise, path) + emissions


def draw_posterior(model: StateSpace, values: Tensor, batch: torch.Size) -> Float[Tensor, "*batch time state"]:
    """A state path given the observations, by Matheron's rule (Hoffman and Ribak 1991).

    z* + E[z - z* | a - a*] for a draw (z*, a*) of the model: exact, joint over time and reparameterised. It factors no
    posterior covariance, so process noise may be zero. As the expectation is linear, the sum is the smoothed mean of
    the model with the drawn noises as offsets, and the draw itself need not be made.
    """
    first, moves, emissions = draw_noises(model, batch)
    offsets = (model.transition_offset, moves), (model.emission_offset, emissions)
    transition, emission = (noise if offset is None else offset + noise for offset, noise in offsets)
    driven = replace(
        model,
        initial_mean=(model.initial_mean + first).to(model.dtype),
        transition_offset=transition.to(model.dtype),
        emission_offset=emission.to(model.dtype),
    )
    return gaussian_smoothed_mean(driven, values)


def draw_noises(model: StateSpace, batch: torch.Size) -> tuple[Tensor, Tensor, Tensor]:
    """Deviation of the first state, process noise (*batch, time - 1, state), emission noise (*batch, time, obs)."""
    factors, options = _factors(model), {"dtype": torch.float64, "device": model.initial_mean.device}
    moved = torch.randn((*batch, model.num_steps, model.state_dim), **options)
    seen = torch.randn((*batch, model.num_steps, model.obs_dim), **options)
    initial, transition, emission = factors
    # with one step the transition covariance may be empty
    moves = apply(transition, moved[..., 1:, :]) if model.num_steps > 1 else moved[..., 1:, :]
    return apply(initial, moved[..., 0, :]), moves, apply(emission, seen)


def joint_log_density(model: StateSpace, values: Tensor, path: Tensor) -> Float[Tensor, "*batch"]:
    """Log p(a, z) in nats, in float64; NaN where a covariance is singular, as there is no density then."""
    precise, (initial, transition, emission) = model.double(), _factors(model)
    path = path.double()
    expected = apply(precise.transition_matrix, path[..., :-1, :])
    if precise.transition_offset is not None:
        expected = expected + precise.transition_offset
    first = _log_normal(path[..., 0, :] - precise.initial_mean, initial)
    steps = _log_normal(path[..., 1:, :] - expected, transition)
    emissions = _log_normal(values.double() - emitted_mean(precise, path), emission)
    if model.observed is not None:
        emissions = torch.where(model.observed, emissions, 0.0)
    return first + steps.sum(-1) + emissions.sum(-1)


def emitted_mean(model: StateSpace, path: Tensor) -> Float[Tensor, "*batch time obs"]:
    """C_t z_t + d_t."""
    mean = apply(model.emission_matrix, path)
    return mean if model.emission_offset is None else mean + model.emission_offset


def singular_covariances(model: StateSpace) -> list[str]:
    """Names of the covariances with a singular matrix among those that enter the joint density."""
    names = ("initial_covariance", "transition_covariance", "emission_covariance")
    initial, transition, emission = ((f.diagonal(dim1=-2, dim2=-1) > 0).all(-1) for f in _factors(model))
    if model.observed is not None:
        emission = emission | ~model.observed  # a missing observation has no factor in the density
    used = (initial, transition if model.num_steps > 1 else initial.new_ones(()), emission)
    return [name for name, regular in zip(names, used, strict=True) if not bool(regular.all())]


def _factors(model: StateSpace) -> tuple[Tensor, Tensor, Tensor]:
    """Lower factors of initial, transition and emission covariance, zero columns where singular in the given dtype."""
    covariances = (model.initial_covariance, model.transition_covariance, model.emission_covariance)
    return tuple(  # pyright: ignore[reportReturnType]
        factor_semidefinite(covariance.double(), semidefinite_tolerance(covariance.shape[-1], covariance.dtype))
        for covariance in covariances
    )


def _log_normal(residual: Tensor, factor: Tensor) -> Tensor:
    """Log density of N(0, L L^T), NaN where a pivot of L is zero."""
    pivots = factor.diagonal(dim1=-2, dim2=-1)
    regular = (pivots > 0).all(-1)
    safe = torch.where(regular[..., None, None], factor, torch.eye(factor.shape[-1]).to(factor))
    inverse = torch.linalg.solve_triangular(safe, torch.eye(factor.shape[-1]).to(factor), upper=False)
    density = (
        -0.5 * apply(inverse, residual).square().sum(-1)
        - safe.diagonal(dim1=-2, dim2=-1).log().sum(-1)
        - 0.5 * residual.shape[-1] * math.log(2 * math.pi)
    )
    return torch.where(regular, density, torch.nan)
