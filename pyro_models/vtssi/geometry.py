"""Positions and sizes measured from the edges of the frame, and what they are in pixels.

A position p in [-1, 1]^2 is measured from the frame's edges, and a size s is a share of the frame's width and height. A
point u of the frame shows the point g = (u - p) / s of a glimpse, whose edges lie at -1 and 1 (Akhundov et al. 2019,
algorithm 2). `Windows` measures from the middles of the outermost pixels instead. Both are affine in the index of a
pixel, so one turns into the other:

    middle' = p W / (W - 1),   scale' = s (W / (W - 1)) ((G - 1) / G)      for W pixels of the frame, G of the glimpse
"""

import torch
from jaxtyping import Float
from torch import Tensor

from pyro_models.components.glimpses import Windows


def edge_windows(
    scale: Float[Tensor, "*#batch 2"],
    position: Float[Tensor, "*#batch 2"],
    glimpse_size: int,
    frame_size: tuple[int, int],
) -> Windows:
    """Windows with middles and sizes that are measured from the edges of the frame.

    Args:
        scale: share of the frame's width and height.
        position: x, y.
        glimpse_size: G, height and width of a glimpse, pixels.
        frame_size: height and width of a frame, pixels.
    """
    sides = position.new_tensor([frame_size[1], frame_size[0]])
    stretch = sides / (sides - 1)
    scale, position = torch.broadcast_tensors(scale, position)
    return Windows(scale * (stretch * (glimpse_size - 1) / glimpse_size), position * stretch)


def to_pixels(position: Float[Tensor, "*batch 2"], frame_size: tuple[int, int]) -> Float[Tensor, "*batch 2"]:
    """Positions in pixels, (x, y), from the middle of the frame's top left pixel: (p + 1) W / 2 - 1 / 2."""
    return 0.5 * ((position + 1) * position.new_tensor([frame_size[1], frame_size[0]]) - 1)


def sizes_in_pixels(scale: Float[Tensor, "*batch 2"], frame_size: tuple[int, int]) -> Float[Tensor, "*batch 2"]:
    """Widths and heights in pixels: s W."""
    return scale * scale.new_tensor([frame_size[1], frame_size[0]])
