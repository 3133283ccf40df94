"""The exact distribution of the simulator's balls: the prediction of a model given the true physics and positions."""

import torch
from jaxtyping import Float
from torch import Tensor

from pyro_models.distributions import LinearGaussianSSM, MixtureLinearGaussianSSM
from videos import Cannonballs
from videos.cannonballs import ANGLES, GRAVITY, HEIGHTS, LEFT_STARTS, RIGHT_SHIFT, SPEEDS, TIME_STEP

QUADRATURE = 2001


def oracle_law(simulator: Cannonballs, observed: Tensor | None = None) -> MixtureLinearGaussianSSM:
    """The distribution of drawn places, in the simulator's units: one component per side, with exact moments of h_1.

    The balls' initial states are not Gaussian, so the start is a moment-matched Gaussian; the dynamics after it are
    exact.

    Args:
        simulator: simulator of the videos.
        observed: bool (*batch, time), False = missing.
    """
    mean, covariance = _start(simulator)
    eye, zero = torch.eye(2, dtype=mean.dtype), torch.zeros(2, 2, dtype=mean.dtype)
    matrix = torch.cat([torch.cat([eye, TIME_STEP * eye], 1), torch.cat([zero, eye], 1)])
    fall = -GRAVITY * torch.tensor([0.0, TIME_STEP**2 / 2, 0.0, TIME_STEP], dtype=mean.dtype)
    components = LinearGaussianSSM(
        mean,
        covariance,
        matrix[None],
        torch.zeros(1, 4, 4, dtype=mean.dtype),
        torch.cat([eye, zero], 1)[None],
        simulator.jitter * eye[None],
        transition_offset=fall[None],
        observed=None if observed is None else observed.unsqueeze(-2),
        num_steps=simulator.num_frames,
    )
    return MixtureLinearGaussianSSM(torch.zeros(2, dtype=mean.dtype), components)


def oracle_positions(
    simulator: Cannonballs, positions: Tensor, observed: Tensor
) -> Float[Tensor, "sequences time objects 2"]:
    """Expected noise-free places in pixels under the exact distribution, given the places in observed frames.

    Args:
        simulator: simulator of the videos.
        positions: (sequences, time, objects, 2), drawn places in pixels; missing ones are not read.
        observed: bool (sequences, time).
    """
    scale, offset = simulator.pixels_per_unit.to(positions.device), simulator.pixel_offset.to(positions.device)
    places = ((positions.double() - offset) / scale).transpose(1, 2)
    expected = oracle_law(simulator, observed[:, None]).impute(places)
    return (scale * expected.transpose(1, 2) + offset).to(positions.dtype)


def _start(simulator: Cannonballs) -> tuple[Float[Tensor, "2 4"], Float[Tensor, "2 4 4"]]:
    """Mean and covariance of the first state by side."""
    share = (torch.arange(QUADRATURE, dtype=torch.float64) + 0.5) / QUADRATURE
    angle = torch.deg2rad(ANGLES[0] + (ANGLES[1] - ANGLES[0]) * share)
    speed = SPEEDS[0] + (SPEEDS[1] - SPEEDS[0]) * share
    across, up = angle.cos(), angle.sin()
    mean_speed, squared_speed = speed.mean(), speed.square().mean()
    velocity = mean_speed * torch.stack([across.mean(), up.mean()])
    second = squared_speed * torch.stack([across.square().mean(), (across * up).mean(), up.square().mean()])
    spread = second - torch.stack([velocity[0] ** 2, velocity.prod(), velocity[1] ** 2])
    place = torch.tensor([sum(LEFT_STARTS) / 2, sum(HEIGHTS) / 2], dtype=torch.float64)
    widths = torch.tensor([LEFT_STARTS[1] - LEFT_STARTS[0], HEIGHTS[1] - HEIGHTS[0]], dtype=torch.float64)
    means, covariances = [], []
    for side, sign in ((0.0, 1.0), (1.0, -1.0)):
        shift = place.new_tensor([side * RIGHT_SHIFT * simulator.max_displacement, 0.0])
        means.append(torch.cat([place + shift, velocity * velocity.new_tensor([sign, 1.0])]))
        moving = torch.stack([torch.stack([spread[0], sign * spread[1]]), torch.stack([sign * spread[1], spread[2]])])
        covariances.append(torch.block_diag((widths.square() / 12).diag(), moving))
    return torch.stack(means), torch.stack(covariances)
