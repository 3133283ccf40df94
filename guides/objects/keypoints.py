"""Positions as points of attention on frames."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from pyro_models.components.initial_weights import normal_by_size
from pyro_models.dynamics_from_pixels.object_renderers import UNITS_ACROSS

DARK = 1e-3  # weight of a black pixel against a white one


class Keypoints(nn.Module):
    """The mean place of the light that a state attends to::

        w_p prop. to (v_p + 0.001) exp(l_p),   l = W s + b;      mean = sum_p w_p place_p

    From the first step a reading lies where there is light, and moves with it: the spatial softmax of Levine et al.
    (2016) and Minderer et al. (2019), applied to the frame itself. What remains to learn is which light belongs to
    which object. Places are in units of position: a frame is 6 wide, the origin in its middle, y down.

    Args:
        feature_dim: size of a state.
        frame_shape: (channels, height, width); channels are added up.
    """

    columns: Tensor
    rows: Tensor

    def __init__(self, feature_dim: int, frame_shape: tuple[int, int, int]) -> None:
        super().__init__()
        _, height, width = frame_shape
        self.attention = nn.Linear(feature_dim, height * width).apply(normal_by_size)
        unit = width / UNITS_ACROSS
        self.register_buffer("columns", (torch.arange(width) - (width - 1) / 2) / unit, persistent=False)
        self.register_buffer("rows", (torch.arange(height) - (height - 1) / 2) / unit, persistent=False)

    def forward(
        self,
        features: Float[Tensor, "objects sequences time feature"],
        frames: Float[Tensor, "sequences time channels height width"],
    ) -> Float[Tensor, "objects sequences time 2"]:
        """Places of all objects in all frames; missing frames are black and carry no information."""
        return (self.attention(features) + self.light(frames)).softmax(-1) @ self.places()

    def places(self) -> Float[Tensor, "pixel 2"]:
        """Positions of pixels, x before y."""
        return torch.stack(torch.meshgrid(self.columns, self.rows, indexing="xy"), -1).flatten(0, 1)

    def light(self, frames: Tensor) -> Float[Tensor, "sequences time pixel"]:
        """Log weights of pixels."""
        return (frames.sum(2).flatten(2) + DARK).log()
