"""Batch normalisation of several particles, each by its own statistics."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import batch_norm


class ParticleBatchNorm(nn.BatchNorm2d):
    """Batch normalisation in which particles do not mix: in training, each is normalised as it would be alone.

    Statistics are those of one particle's images, over batch, height and width. The running ones, which evaluation
    uses, follow the mean over particles, so one step is one update, however many particles there are.

    Args:
        num_features: channels.
    """

    running_mean: Tensor  # pyright: ignore[reportIncompatibleVariableOverride]
    running_var: Tensor  # pyright: ignore[reportIncompatibleVariableOverride]
    num_batches_tracked: Tensor  # pyright: ignore[reportIncompatibleVariableOverride]
    momentum: float  # pyright: ignore[reportIncompatibleVariableOverride]

    def forward(self, images: Tensor, num_particles: int = 1) -> Float[Tensor, "images channels height width"]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Normalised images.

        Args:
            images: (images, channels, height, width), all of the first particle, then all of the second, and so on.
            num_particles: number of particles.
        """
        if num_particles == 1 or not self.training:
            return super().forward(images)
        mean, variance, weight, bias = (
            value.repeat(num_particles) for value in (self.running_mean, self.running_var, self.weight, self.bias)
        )
        # as channels of one image: the same kernel, and one set of statistics for each
        folded = images.unflatten(0, (num_particles, -1)).transpose(0, 1).flatten(1, 2)
        folded = batch_norm(folded, mean, variance, weight, bias, True, self.momentum, self.eps)
        with torch.no_grad():
            for running, each in ((self.running_mean, mean), (self.running_var, variance)):
                running.copy_(each.unflatten(0, (num_particles, -1)).mean(0))
            self.num_batches_tracked.add_(1)
        return folded.unflatten(1, (num_particles, -1)).transpose(0, 1).flatten(0, 1)
