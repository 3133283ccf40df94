"""Inference and prediction fused as two pieces of evidence."""

import torch
from torch import Tensor

from guides.find_and_fuse.motion import MotionFuser
from pyro_models.vtssi.gaussians import Gaussian


class ProductFuser(MotionFuser):
    """A `MotionFuser` that multiplies densities, as STOVE does (Kossen et al. 2020)::

        (p, m)_t ~ N(v (mu~ / sigma~^2 + mu^ / sigma^^2), v),   1 / v = 1 / sigma~^2 + 1 / sigma^^2

    Nothing is random about it, an inference that knows nothing costs nothing, and the result is never broader than the
    prediction. `weights` has no meaning here.
    """

    def draw_weight(self, like: Tensor) -> Tensor:
        """No weight is drawn."""
        return torch.zeros_like(like[..., :1])

    def fuse(self, weight: Tensor, prediction: Gaussian, inferred: Gaussian) -> Gaussian:
        """See `MotionFuser.fuse`."""
        return product(prediction, inferred)


def product(one: Gaussian, other: Gaussian) -> Gaussian:
    """The normalised product of two densities.

    Args:
        one: a distribution.
        other: another; they broadcast.
    """
    precisions = one.scale**-2, other.scale**-2
    variance = 1 / (precisions[0] + precisions[1])
    return Gaussian(variance * (precisions[0] * one.loc + precisions[1] * other.loc), variance.sqrt())
