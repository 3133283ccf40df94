"""Boxes of objects: overlap, distance and visibility criteria.

Boxes are given by centres and sizes, (x, y) and (width, height) in pixels.
"""

import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor

MIN_OVERLAP = 0.5  # minimum intersection over union for a match, as usual in tracking
NEAR = 0.5  # maximum distance of centres for a match, as a fraction of the mean side of true boxes
VISIBLE = 0.5  # minimum share of a box inside the frame for its object to be visible


def box_overlaps(
    positions: Float[Tensor, "*batch boxes 2"],
    box_sizes: Float[Tensor, "*batch boxes 2"],
    other_positions: Float[Tensor, "*batch other_boxes 2"],
    other_sizes: Float[Tensor, "*batch other_boxes 2"],
) -> Float[Tensor, "*batch boxes other_boxes"]:
    """Intersection over union of all pairs of boxes; NaN, which passes no gate, if neither has an area.

    Args:
        positions: centres of boxes.
        box_sizes: their widths and heights.
        other_positions: centres of the boxes to compare with.
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
    """Maximum distance of a found object's centre from the true one: half the mean side of the true boxes, in pixels.

    Args:
        box_sizes: box sizes of the true objects.
        presence: above 0 where there is an object.
    """
    return NEAR * box_sizes[presence > 0].mean().item()


def is_visible(inside: Float[Tensor, "*batch"]) -> Bool[Tensor, "*batch"]:
    """Whether an object counts as visible: at least half of its box lies inside the frame.

    Args:
        inside: share of the box inside the frame, in [0, 1].
    """
    return inside >= VISIBLE
