"""Diagonal Gaussians as pairs of tensors, and the networks that end in them."""

import math
from collections.abc import Callable
from typing import NamedTuple

import pyro.distributions as dist
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import softplus

from pyro_models.components.frame_networks import mlp

SMALLEST_SCALE = 1e-3
SMALL_HEAD = 0.1  # factor of the last layer's initial weights: predictions start near their biases


class Gaussian(NamedTuple):
    """Means and standard deviations of the same shape, (*batch, event)."""

    loc: Float[Tensor, "*batch event"]
    scale: Float[Tensor, "*batch event"]

    def distribution(self) -> dist.Independent:
        """N(loc, diag(scale^2)), one event dim."""
        return dist.Normal(self.loc, self.scale).to_event(1)

    @classmethod
    def of(cls, distribution: dist.Independent) -> "Gaussian":
        """The pair of a distribution that is diagonal and Gaussian."""
        base: dist.Normal = distribution.base_dist
        return cls(base.loc, base.scale)

    def at(self, index: int) -> "Gaussian":
        """One entry of the first dim."""
        return Gaussian(self.loc[index], self.scale[index])


def floored_scale(raw: Tensor) -> Tensor:
    """softplus(raw) + 0.001."""
    return softplus(raw) + SMALLEST_SCALE


def raw_scale(scale: float) -> float:
    """The number that `floored_scale` turns into `scale`.

    Raises:
        ValueError: if the scale is at the floor or below.
    """
    above = scale - SMALLEST_SCALE
    if not above > 0:
        raise ValueError(f"standard deviation: expected above {SMALLEST_SCALE}, the floor of all scales, got {scale}")
    return above + math.log(-math.expm1(-above))


class GaussianHeads(nn.Module):
    """Two networks of one hidden layer each, for means and raw standard deviations.

    Args:
        inputs: size of the input.
        units: hidden units of each.
        outputs: size of the event.
        activation: class of the activation after the hidden layers.
        initial_loc: means at the start.
        initial_scale: standard deviations at the start.
    """

    def __init__(
        self,
        inputs: int,
        units: int,
        outputs: int,
        activation: Callable[[], nn.Module],
        *,
        initial_loc: tuple[float, ...] | float = 0.0,
        initial_scale: float = 0.1,
    ) -> None:
        super().__init__()
        self.loc = mlp(inputs, (units,), outputs, activation)
        self.scale = mlp(inputs, (units,), outputs, activation, raw_scale(initial_scale))
        with torch.no_grad():
            self.loc[-1].get_parameter("bias").copy_(torch.as_tensor(initial_loc))
            for head in (self.loc, self.scale):
                head[-1].get_parameter("weight").mul_(SMALL_HEAD)

    def forward(self, features: Float[Tensor, "*batch feature"]) -> Gaussian:
        """Means, unbounded, and standard deviations."""
        return Gaussian(self.loc(features), floored_scale(self.scale(features)))


class GaussianNetwork(nn.Module):
    """tanh layers that end in `GaussianHeads` (Akhundov et al. 2019, appendix B).

    Args:
        inputs: size of the input.
        outputs: size of the event.
        hidden: units of the layers.
        head_units: hidden units of each head.
        initial_scale: standard deviations at the start.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        hidden: tuple[int, ...] = (64, 64),
        head_units: int = 32,
        initial_scale: float = 0.1,
    ) -> None:
        super().__init__()
        self.body = mlp(inputs, hidden, activation=nn.Tanh)
        self.heads = GaussianHeads((inputs, *hidden)[-1], head_units, outputs, nn.Tanh, initial_scale=initial_scale)

    def forward(self, inputs: Float[Tensor, "*batch input"]) -> Gaussian:
        """Means, unbounded, and standard deviations."""
        return self.heads(self.body(inputs))
