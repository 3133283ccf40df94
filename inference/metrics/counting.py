"""Counting accuracy: predicted against true numbers of objects."""

from jaxtyping import Float, Int, Shaped
from torch import Tensor

from videos.typed import typed


@typed
def counting_accuracy(
    presence: Shaped[Tensor, "*batch objects"], truth: Shaped[Tensor, "*batch true_objects"]
) -> Float[Tensor, ""]:
    """Share of frames with the right number of objects.

    Args:
        presence: 1 or True for each predicted object.
        truth: 1 or True for each true object; the two may have different numbers of slots.

    Raises:
        ValueError: if the two have different frames, or none.
    """
    _check(presence, truth)
    return (presence.sum(-1) == truth.sum(-1)).double().mean()


@typed
def counting_confusion(
    presence: Shaped[Tensor, "*batch objects"], truth: Shaped[Tensor, "*batch true_objects"]
) -> Int[Tensor, "true_counts counts"]:
    """Number of frames by true number of objects (row) and predicted number (column).

    Args:
        presence: as for `counting_accuracy`.
        truth: as for `counting_accuracy`.

    Raises:
        ValueError: if the two have different frames, or none.
    """
    _check(presence, truth)
    rows, columns = truth.shape[-1] + 1, presence.shape[-1] + 1
    pairs = truth.sum(-1).long() * columns + presence.sum(-1).long()
    return pairs.flatten().bincount(minlength=rows * columns).reshape(rows, columns)


def _check(presence: Tensor, truth: Tensor) -> None:
    """Refuse different frames, no frames, and anything but zeros and ones."""
    if presence.dim() < 1 or truth.dim() < 1 or presence.shape[:-1] != truth.shape[:-1]:
        raise ValueError(
            "presence, truth: expected (*batch, objects) with one batch shape, got "
            f"{tuple(presence.shape)} and {tuple(truth.shape)}; give the presence of each object in each frame"
        )
    if 0 in truth.shape[:-1]:
        raise ValueError(f"truth: expected at least one frame, got none in {tuple(truth.shape)}")
    for name, value in (("presence", presence), ("truth", truth)):
        if not bool(((value == 0) | (value == 1)).all()):
            raise ValueError(f"{name}: expected zeros and ones, got others; compare probabilities with a threshold")
