"""Rules about the boxes of objects: how far two overlap, what is near, and what is visible.

Boxes are given by middles and sizes, (x, y) and (width, height) in pixels.
"""

import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor

MIN_OVERLAP = 0.5  # intersection over union of boxes from which an object is found, as in most of tracking
NEAR = 0.5  # of a true box's mean side: as far as a found object's middle may lie from the true one
VISIBLE = 0.5  # share of a box inside the frame from which its object is visible


def box_overlaps(
    positions: Float[Tensor, "*batch boxes 2"],
    box_sizes: Float[Tensor, "*batch boxes 2"],
    other_positions: Float[Tensor, "*batch other_boxes 2"],
    other_sizes: Float[Tensor, "*batch other_boxes 2"],
) -> Float[Tensor, "*batch boxes other_boxes"]:
    """Intersection over union of all pairs of boxes; NaN, which no gate lets through, if neither has an area.

    Args:
        positions: middles of boxes.
        box_sizes: their widths and heights.
        other_positions: middles of the boxes that they are compared with.
        other_sizes: their widths and heights.
    """
    sides = torch.minimum(
        positions[..., :, None, :] + box_sizes[..., :, None, :] / 2,
        other_positions[..., None, :, :] + other_sizes[..., None, :, :] / 2,
    ) - torch.maximum(
        positions[..., :, None, :] - box_sizes[..., :, None, :] / 2,
        other_positions[..., None, :, :] - other_sizes[..., None, :, :] / 2,
    )
    both = sides.clamp(min=0).prod(-1)
    either = box_sizes.prod(-1)[..., :, None] + other_sizes.prod(-1)[..., None, :] - both
    return both / either


def near_distance(box_sizes: Float[Tensor, "*batch 2"], presence: Shaped[Tensor, "*batch"]) -> float:
    """How far a found object's middle may lie from the true one: half the mean side of the true boxes, in pixels.

    Args:
        box_sizes: of the true objects.
        presence: above 0 where there is one.
    """
    return NEAR * box_sizes[presence > 0].mean().item()


def is_visible(inside: Float[Tensor, "*batch"]) -> Bool[Tensor, "*batch"]:
    """Whether an object counts as visible: at least half of its box lies inside the frame.

    Args:
        inside: share of the box that does, in [0, 1].
    """
    return inside >= VISIBLE
