"""Set negligible gradients to zero, since CPUs are slow on the subnormal numbers that they turn into."""

from typing import Any

import torch
from torch import Tensor

NEGLIGIBLE = 1e-20  # too small to change any sum, and a factor of 1e18 above subnormals for the layers below


def drop_tiny_gradients(values: Tensor) -> Tensor:
    """The same values; in the backward pass every gradient below 1e-20 becomes zero.

    A pixel that a Bernoulli distribution is certain of has the gradient sigmoid(logit) - x, about 1e-38 and less beyond
    a logit of 87. Many CPUs multiply such numbers a hundred times more slowly: their backward pass through convolutions
    makes a training step 2 to 4 times longer. (`torch.set_flush_denormal` does not reach threads that already run.)
    """
    result: Tensor = _DropTinyGradients.apply(values)
    return result


class _DropTinyGradients(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(values: Tensor) -> Tensor:
        return values.view_as(values)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        pass

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        return torch.where(gradient.abs() < NEGLIGIBLE, 0.0, gradient)
