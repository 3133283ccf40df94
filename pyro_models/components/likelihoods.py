"""Distributions of a frame given a decoder's output: modules (*batch, channels, height, width) -> three event dims."""

from collections.abc import Callable

import pyro.distributions as dist
import torch
from jaxtyping import Float
from torch import Tensor, nn

from pyro_models.components.tiny_gradients import drop_tiny_gradients

# Adam moves any number by about its learning rate per step, and a variance must fall by three orders of magnitude while
# weights move by less than one: its logarithm is stored divided by this.
STRIDE = 5.0


class BernoulliFrames(nn.Module):
    """Binary pixels, x ~ Bernoulli(sigmoid(output)); for frames of zeros and ones."""

    def forward(self, output: Float[Tensor, "*batch channels height width"]) -> dist.Independent:
        """Distribution of a frame; its mean is the probability of each pixel."""
        return dist.Bernoulli(logits=drop_tiny_gradients(output)).to_event(3)


class GaussianFrames(nn.Module):
    """Grey pixels, x ~ N(output, s) with one learned variance s per pixel, the same at all times (Karl et al. 2017).

    Args:
        frame_shape: (channels, height, width).
        initial_variance: initial s, squared units of a pixel in [0, 1].
        minimum_variance: lower limit of s. A pixel that never changes would otherwise add an unbounded log density; the
            published pendulum bounds imply a standard deviation of 0.01.

    Raises:
        ValueError: unless 0 <= minimum_variance < initial_variance.
    """

    def __init__(
        self, frame_shape: tuple[int, int, int], initial_variance: float = 0.1, minimum_variance: float = 1e-4
    ) -> None:
        super().__init__()
        if not 0 <= minimum_variance < initial_variance:
            raise ValueError(
                f"minimum_variance: expected at least 0 and below initial_variance = {initial_variance}, "
                f"got {minimum_variance}"
            )
        self.minimum_variance = minimum_variance
        excess = torch.full(frame_shape, initial_variance - minimum_variance)
        self.scaled_log_excess = nn.Parameter(excess.log() / STRIDE)

    @property
    def variance(self) -> Float[Tensor, "channels height width"]:
        """Variance of each pixel."""
        return self.minimum_variance + (STRIDE * self.scaled_log_excess).exp()

    def forward(self, output: Float[Tensor, "*batch channels height width"]) -> dist.Independent:
        """Distribution of a frame; its mean is the decoder's output."""
        return dist.Normal(output, self.variance.sqrt()).to_event(3)


FRAME_LIKELIHOODS: dict[str, Callable[[tuple[int, int, int]], nn.Module]] = {
    "bernoulli": lambda frame_shape: BernoulliFrames(),
    "gaussian": GaussianFrames,
}


def frame_likelihood(likelihood: str, frame_shape: tuple[int, int, int]) -> nn.Module:
    """The distribution of frames by name.

    Args:
        likelihood: "bernoulli" or "gaussian" (one learned variance per pixel).
        frame_shape: (channels, height, width).

    Raises:
        ValueError: if the likelihood is unknown.
    """
    if likelihood not in FRAME_LIKELIHOODS:
        raise ValueError(f"likelihood: expected one of {', '.join(sorted(FRAME_LIKELIHOODS))}, got {likelihood!r}")
    return FRAME_LIKELIHOODS[likelihood](frame_shape)
