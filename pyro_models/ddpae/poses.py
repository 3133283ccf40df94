"""Poses of objects: from sums of changes to scales and positions, and the windows that they stand for.

A point u of the frame shows the point scale * u + position of the object, both in [-1, 1] from edge to edge (the
spatial transformer of Jaderberg et al. 2015 with `align_corners=False` and zeros outside). So a scale of 2 is an object
of half the frame's size.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from pyro_models.components.glimpses import Windows

POSE_DIM = 3  # scale, x, y
SCALE_RANGE = 1.0  # a scale differs from the typical one by at most this
MARGIN = 0.5  # positions keep this much below the scale, which keeps an object's middle inside the frame


def sum_changes(
    initial: Float[Tensor, "*start objects sequences 3"], changes: Float[Tensor, "*batch time objects sequences 3"]
) -> Float[Tensor, "*batch time objects sequences 3"]:
    """Unbounded poses of all frames, initial + sum of the changes up to each frame; the first one changes as well.

    Args:
        initial: initial poses; under particles with a dim of size 1 for time.
        changes: changes of each frame.
    """
    return initial + changes.cumsum(-4)


def bound_poses(unbounded: Float[Tensor, "*batch 3"], typical_scale: float) -> Float[Tensor, "*batch 3"]:
    """Scales within 1 of the typical one, and positions tanh(.) * (scale - 0.5), both coordinates alike.

    Args:
        unbounded: scale, x, y.
        typical_scale: S.
    """
    scale = unbounded[..., :1].clamp(typical_scale - SCALE_RANGE, typical_scale + SCALE_RANGE)
    return torch.cat([scale, unbounded[..., 1:].tanh() * (scale - MARGIN)], -1)


def windows_of(poses: Float[Tensor, "*batch 3"], frame_side: int, glimpse_side: int) -> Windows:
    """The windows of objects: `paste_glimpses` renders them, `read_glimpses` crops them.

    Windows count from the middles of the outermost pixels, poses from edges. A coordinate c from edge to edge of n
    pixels is c n / (n - 1) from middle to middle, so both maps are affine.

    Args:
        poses: scale, x, y.
        frame_side: height and width of a frame, pixels.
        glimpse_side: height and width of an object's own image, pixels.
    """
    scale = poses[..., :1]
    stretch = frame_side / (frame_side - 1)
    spans = stretch * (glimpse_side - 1) / glimpse_side / scale
    return Windows(spans.expand(*scale.shape[:-1], 2), -stretch * poses[..., 1:] / scale)


def middles(poses: Float[Tensor, "*batch 3"], frame_side: int) -> Float[Tensor, "*batch 2"]:
    """Middles of objects in pixels, (x, y), from the middle of the frame's top left pixel.

    Args:
        poses: scale, x, y.
        frame_side: height and width of a frame, pixels.
    """
    return 0.5 * frame_side * (1 - poses[..., 1:] / poses[..., :1]) - 0.5
