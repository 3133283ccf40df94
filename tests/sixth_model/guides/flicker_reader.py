"""The guide of flicker: brightness read off each frame."""

import pyro
import pyro.distributions as dist
import torch
from pyro.nn import PyroModule
from torch import Tensor, nn

from guides.guide_of import GuideOf
from pyro_models.components.layout import to_time_plate
from pyro_models.flicker import Flicker


class FlickerReader(GuideOf[Flicker], PyroModule):
    """q(z_t | x_t) = N(m(x_t), s), linear in the pixels; the prior where a frame is missing.

    Args:
        model: the model served.
    """

    serves = Flicker

    def __init__(self, model: Flicker) -> None:
        super().__init__(model)
        self.mean = nn.Linear(torch.Size(model.frame_shape).numel(), 1)
        self.log_scale = nn.Parameter(torch.zeros(()))

    def forward(self, frames: Tensor, observed: Tensor | None = None, controls: Tensor | None = None) -> Tensor:
        """Draw the brightness.

        Args:
            frames: (sequences, time, channels, height, width); missing ones are never read.
            observed: bool (sequences, time), None = all.
            controls: None.

        Returns:
            The brightness, as drawn inside the plates.
        """
        frames, seen = self.check_video(frames, observed, controls)
        mean = torch.where(seen, self.mean(frames.flatten(2))[..., 0], 0.0)
        scale = torch.where(seen, self.log_scale.exp(), 1.0)
        light = dist.Normal(to_time_plate(mean, 0), to_time_plate(scale, 0))
        with pyro.plate("sequences", frames.shape[0], dim=-1), pyro.plate("time", frames.shape[1], dim=-2):
            return pyro.sample("light", light)
