"""Masks as partitions of pixels, and the number of pixels that parts of two partitions share."""

from typing import Literal

import torch
from jaxtyping import Int64
from torch import Tensor


def shared_pixels(
    predicted: Tensor, truth: Tensor, over: Literal["video", "frame"]
) -> Int64[Tensor, "*groups objects components"]:
    """Number of pixels of each true object that belong to each predicted component, in each video or frame.

    A pixel belongs to the component with the largest mask, the first in a tie.

    Args:
        predicted: (sequences, time, components, height, width), masks in [0, 1], soft or bool.
        truth: bool (sequences, time, objects, height, width), without overlap.
        over: "video" or "frame".

    Returns:
        (sequences, objects + 1, components + 1), or (sequences, time, objects + 1, components + 1) over frames. The
        last row has the pixels in no true mask, the last column those where all predicted masks are 0.

    Raises:
        ValueError: if a shape or dtype is not as above, true masks overlap, predicted ones are not in [0, 1], or `over`
            is unknown.
    """
    _check(predicted, truth, over)
    rows, columns = truth.shape[2] + 1, predicted.shape[2] + 1
    kept = 1 if over == "video" else 2
    cells = (_parts(truth) * columns + _parts(predicted)).flatten(kept)
    groups = cells.shape[:-1]
    number = torch.arange(groups.numel(), device=cells.device).reshape(*groups, 1)
    cells = cells + rows * columns * number
    return cells.flatten().bincount(minlength=groups.numel() * rows * columns).reshape(*groups, rows, columns)


def _parts(masks: Tensor) -> Int64[Tensor, "sequences time height width"]:
    """Index of the mask that each pixel belongs to; pixels in no mask get one more than the last index."""
    largest, part = masks.to(torch.uint8 if masks.dtype == torch.bool else masks.dtype).max(2)
    return torch.where(largest > 0, part, masks.shape[2])


def _check(predicted: Tensor, truth: Tensor, over: str) -> None:
    if over not in ("video", "frame"):
        raise ValueError(f"over: expected 'video' or 'frame', got {over!r}; leave it out for videos")
    for name, masks, word in (("predicted", predicted, "components"), ("truth", truth, "objects")):
        if masks.dim() != 5 or masks.shape[2] == 0:
            raise ValueError(
                f"{name}: expected masks (sequences, time, {word}, height, width) with at least one of the {word}, "
                f"got {tuple(masks.shape)}; give one mask for each of them, without channels or particles"
            )
    if truth.dtype != torch.bool:
        raise ValueError(
            f"truth: expected dtype torch.bool, got {truth.dtype}; true masks come second, as in VideoBatch.masks"
        )
    ours, true = ((*masks.shape[:2], *masks.shape[3:]) for masks in (predicted, truth))
    if ours != true:
        raise ValueError(
            f"predicted: expected sequences, time, height, width of truth = {true}, got {ours}; "
            "score the videos that the model was shown"
        )
    if bool((truth.sum(2, dtype=torch.int16) > 1).any()):
        raise ValueError(
            "truth: expected masks that do not overlap, got pixels in several; keep what is visible of each object"
        )
    if predicted.dtype != torch.bool and not bool(((predicted >= 0) & (predicted <= 1)).all()):
        raise ValueError(
            f"predicted: expected finite masks in [0, 1], got values from {float(predicted.min()):.4g} to "
            f"{float(predicted.max()):.4g}; take the softmax of logits over components"
        )
