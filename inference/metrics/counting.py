"""How many objects: what a model counted against what there was."""

from jaxtyping import Float, Int, Shaped
from torch import Tensor


def counting_accuracy(
    presence: Shaped[Tensor, "*batch objects"], truth: Shaped[Tensor, "*batch true_objects"]
) -> Float[Tensor, ""]:
    """Share of frames whose number of objects is right.

    Args:
        presence: 1 or True for each object that a model found.
        truth: 1 or True for each object that there was; the two need not have the same number of slots.
    """
    return (presence.sum(-1) == truth.sum(-1)).double().mean()


def counting_confusion(
    presence: Shaped[Tensor, "*batch objects"], truth: Shaped[Tensor, "*batch true_objects"]
) -> Int[Tensor, "true_counts counts"]:
    """How often a true number of objects (row) was counted as some number (column)."""
    rows, columns = truth.shape[-1] + 1, presence.shape[-1] + 1
    pairs = truth.sum(-1).long() * columns + presence.sum(-1).long()
    return pairs.flatten().bincount(minlength=rows * columns).reshape(rows, columns)
