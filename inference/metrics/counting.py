"""Counting accuracy: predicted against true numbers of objects."""

from jaxtyping import Float, Int, Shaped
from torch import Tensor


def counting_accuracy(
    presence: Shaped[Tensor, "*batch objects"], truth: Shaped[Tensor, "*batch true_objects"]
) -> Float[Tensor, ""]:
    """Share of frames with the right number of objects.

    Args:
        presence: 1 or True for each predicted object.
        truth: 1 or True for each true object; the two may have different numbers of slots.
    """
    return (presence.sum(-1) == truth.sum(-1)).double().mean()


def counting_confusion(
    presence: Shaped[Tensor, "*batch objects"], truth: Shaped[Tensor, "*batch true_objects"]
) -> Int[Tensor, "true_counts counts"]:
    """Number of frames by true number of objects (row) and predicted number (column)."""
    rows, columns = truth.shape[-1] + 1, presence.shape[-1] + 1
    pairs = truth.sum(-1).long() * columns + presence.sum(-1).long()
    return pairs.flatten().bincount(minlength=rows * columns).reshape(rows, columns)
