"""When a predicted pixel is on, and when it is wrong: the rule of every score of frames."""

from jaxtyping import Bool, Int, Shaped
from torch import Tensor

WHITE = 0.5  # grey value, or probability, above which a pixel is on


def wrong_pixels(
    frames: Shaped[Tensor, "*batch channels height width"],
    truth: Shaped[Tensor, "*batch channels height width"],
    threshold: float = WHITE,
) -> Bool[Tensor, "*batch channels height width"]:
    """Which pixels are on in one of two videos alone.

    Args:
        frames: expected frames in [0, 1].
        truth: the true ones.
        threshold: grey value above which a pixel is on.
    """
    return (frames > threshold) != (truth > threshold)


def shared_pixels(
    frames: Shaped[Tensor, "*batch channels height width"],
    truth: Shaped[Tensor, "*batch channels height width"],
    threshold: float = WHITE,
) -> tuple[Int[Tensor, "*batch"], Int[Tensor, "*batch"]]:
    """For each frame how many pixels are on in both videos, and how many in either: an overlap's two counts.

    Args:
        frames: expected frames in [0, 1].
        truth: the true ones.
        threshold: grey value above which a pixel is on.
    """
    on, truly_on = frames > threshold, truth > threshold
    return (on & truly_on).sum((-3, -2, -1)), (on | truly_on).sum((-3, -2, -1))
