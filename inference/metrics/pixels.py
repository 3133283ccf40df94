"""When a predicted pixel is on, and when it is wrong; used by every score of frames."""

import math

from jaxtyping import Bool, Float64, Int, Shaped
from torch import Tensor

WHITE = 0.5  # grey value, or probability, above which a pixel is on


def wrong_pixels(
    frames: Shaped[Tensor, "*batch channels height width"],
    truth: Shaped[Tensor, "*batch channels height width"],
    threshold: float = WHITE,
) -> Bool[Tensor, "*batch channels height width"]:
    """Pixels that are on in exactly one of two videos.

    Args:
        frames: expected frames in [0, 1].
        truth: the true frames.
        threshold: grey value above which a pixel is on.
    """
    return (frames > threshold) != (truth > threshold)


def wrong_share(
    frames: Shaped[Tensor, "*batch channels height width"],
    truth: Shaped[Tensor, "*batch channels height width"],
    threshold: float = WHITE,
) -> Float64[Tensor, "*batch"]:
    """Share of a frame's pixels that are on in exactly one of two videos; counted, so that no pixel becomes a float."""
    return wrong_pixels(frames, truth, threshold).sum((-3, -2, -1)).double() / math.prod(frames.shape[-3:])


def shared_pixels(
    frames: Shaped[Tensor, "*batch channels height width"],
    truth: Shaped[Tensor, "*batch channels height width"],
    threshold: float = WHITE,
) -> tuple[Int[Tensor, "*batch"], Int[Tensor, "*batch"]]:
    """Intersection and union counts: for each frame, pixels that are on in both videos, and in either.

    Args:
        frames: expected frames in [0, 1].
        truth: the true frames.
        threshold: grey value above which a pixel is on.
    """
    on, truly_on = frames > threshold, truth > threshold
    return (on & truly_on).sum((-3, -2, -1)), (on | truly_on).sum((-3, -2, -1))
