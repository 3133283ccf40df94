"""Gaussian images with one standard deviation for all pixels."""

from math import log, pi, prod

import pyro.distributions as dist
import torch
from torch import Tensor
from torch.nn.functional import mse_loss


class IsotropicGaussian(dist.Independent):
    """N(mean, scale^2 I): `Normal(mean, scale).to_event(dims)` in fewer passes over the event.

    The density of many images is limited by memory traffic, and `Normal` writes an image for each of its operations.
    Constructed as `IsotropicGaussian(Normal(mean, scale), dims)`; scale is a number.
    """

    def log_prob(self, value: Tensor) -> Tensor:
        """Log density, nats.

        Args:
            value: (*batch, *event).

        Raises:
            ValueError: if scale is more than one number in memory, so that pixels could differ.
        """
        law: dist.Normal = self.base_dist
        if self._validate_args:
            self._validate_sample(value)
        mean, value = torch.broadcast_tensors(law.loc, value)
        event_dims = tuple(range(-self.reinterpreted_batch_ndims, 0))
        if any(stride and size > 1 for size, stride in zip(law.scale.shape, law.scale.stride(), strict=True)):
            raise ValueError(f"scale: expected one number for all pixels, got {tuple(law.scale.shape)}")
        scale = law.scale[(0,) * law.scale.dim()]
        squares = mse_loss(mean, value, reduction="none").sum(event_dims)
        return -0.5 * squares / scale**2 - prod(self.event_shape) * (scale.log() + 0.5 * log(2 * pi))
