"""Which slot each pixel belongs to: the E-step, and where it starts."""

import torch
from jaxtyping import Float
from torch import Tensor

SMALLEST = 1e-6  # added to every probability of a pixel, so that a pixel that no slot explains is shared
ON = 0.1  # probability above which a predicted pixel counts as on


def expectation_step(
    means: Float[Tensor, "sequences slots height width"], target: Float[Tensor, "sequences 1 height width"]
) -> Float[Tensor, "sequences slots height width"]:
    """The E-step: responsibility of each slot for each pixel of a frame::

        gamma_k = p_k / sum_j p_j,      p_k = x psi_k + (1 - x) (1 - psi_k) + 1e-6

    (Greff et al. 2017, for equal weights). No gradient passes.

    Args:
        means: psi, probability that a pixel is on, by slot.
        target: x, in [0, 1].
    """
    means = means.detach()
    chance = target * means + (1 - target) * (1 - means) + SMALLEST
    return chance / chance.sum(1, keepdim=True)


def binarised(means: Float[Tensor, "sequences slots height width"]) -> Float[Tensor, "sequences 1 height width"]:
    """What takes the place of a missing frame in the E-step: pixels that some slot predicts above 0.1."""
    return (means.detach().amax(1, keepdim=True) > ON).to(means.dtype)


def composed(
    means: Float[Tensor, "sequences slots height width"], assignments: Float[Tensor, "sequences slots height width"]
) -> Float[Tensor, "sequences 1 height width"]:
    """The slots' predictions as one image, sum_k gamma_k psi_k."""
    return (assignments * means).sum(1, keepdim=True)


def normalised(sizes: Float[Tensor, "*batch slots height width"]) -> Float[Tensor, "*batch slots height width"]:
    """Shares of the slots at each pixel, proportional to |sizes|."""
    sizes = sizes.abs() + SMALLEST
    return sizes / sizes.sum(-3, keepdim=True)


def fixed_normal(like: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Numbers that look like draws from N(0, 1) and are the same in every call, on every device.

    The rank of an entry is hashed to 23 bits (multiplications and shifts of 32-bit integers), which the quantile
    function maps to a normal number.

    Args:
        like: gives shape, dtype and device.
    """
    bits = torch.arange(1, like.numel() + 1, device=like.device)
    for shift, factor in ((16, 0x7FEB352D), (15, 0x2C1B3C6D), (16, 0x297A2D39)):
        bits = ((bits ^ (bits >> shift)) * factor) & 0xFFFFFFFF
    bits = bits ^ (bits >> 15)
    uniform = ((bits >> 9).to(like.dtype) + 0.5) / 2**23
    return (2**0.5 * torch.erfinv(2 * uniform - 1)).reshape(like.shape)
