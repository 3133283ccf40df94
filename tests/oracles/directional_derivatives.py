"""Derivatives along one direction in the space of some parameters: by differences, and by automatic differentiation."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

STEP = 1e-6


def random_directions(parameters: Sequence[Tensor]) -> list[Tensor]:
    """A direction, always the same for parameters of the same shapes."""
    generator = torch.Generator().manual_seed(5)
    return [torch.randn(one.shape, dtype=one.dtype, generator=generator) for one in parameters]


def slope_along(parameters: Sequence[Tensor], directions: Sequence[Tensor], value: Callable[[], Tensor]) -> Tensor:
    """Central differences of what is computed from the parameters."""
    ends = []
    for sign in (1, -1):
        with torch.no_grad():
            for one, direction in zip(parameters, directions, strict=True):
                one.add_(sign * STEP * direction)
            ends.append(value())
            for one, direction in zip(parameters, directions, strict=True):
                one.sub_(sign * STEP * direction)
    return (ends[0] - ends[1]) / (2 * STEP)


def gradient_along(parameters: Sequence[Tensor], directions: Sequence[Tensor], value: Tensor) -> Tensor:
    """The same from the gradient of a value."""
    gradients = torch.autograd.grad(value, parameters, allow_unused=True, materialize_grads=True, retain_graph=True)
    return torch.stack([(one * direction).sum() for one, direction in zip(gradients, directions, strict=True)]).sum()
