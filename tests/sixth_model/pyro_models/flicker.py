"""Flicker: a picture whose brightness changes from frame to frame; the smallest model there can be."""

import pyro
import pyro.distributions as dist
import torch
from pyro.nn import PyroModule
from torch import Tensor, nn

from pyro_models.components.arguments import check_video
from pyro_models.components.layout import to_time_plate
from pyro_models.components.likelihoods import BernoulliFrames


class Flicker(PyroModule):
    """Independent frames of one picture::

        z_t ~ N(0, 1);   x_t ~ Bernoulli(sigmoid(b + z_t w))        b, w learned pictures

    Args:
        frame_shape: (channels, height, width) of a frame.
    """

    control_dim = 0

    def __init__(self, frame_shape: tuple[int, int, int]) -> None:
        super().__init__()
        self.frame_shape = frame_shape
        self.base = nn.Parameter(0.1 * torch.randn(frame_shape))
        self.picture = nn.Parameter(0.1 * torch.randn(frame_shape))
        self.likelihood = BernoulliFrames()

    def forward(self, frames: Tensor, observed: Tensor | None = None, controls: Tensor | None = None) -> Tensor:
        """Score one batch.

        Args:
            frames: (sequences, time, channels, height, width); missing ones are never read.
            observed: bool (sequences, time), None = all.
            controls: None.

        Returns:
            The brightness, as drawn inside the plates.
        """
        frames, seen = check_video(frames, observed, controls, self.frame_shape, self.control_dim)
        with pyro.plate("sequences", frames.shape[0], dim=-1), pyro.plate("time", frames.shape[1], dim=-2):
            light = pyro.sample("light", dist.Normal(frames.new_zeros(()), 1.0))
            pixels = self.likelihood(self.base + light[..., None, None, None] * self.picture)
            pyro.sample("frames", pixels.mask(seen.T), obs=to_time_plate(frames, 3))
        return light
