"""Errors of imputed frames and codes on the missing frames.

Every score takes `observed` and counts the frames where it is False, as papers on imputation do; with `observed=None`
every frame counts (reconstructions). A batch may have no missing frame (as random patterns at a small rate do now and
then): counts can still be added up over batches; only the ratio of an empty total is an error.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from inference.metrics.pixels import WHITE, shared_pixels, wrong_pixels, wrong_share
from videos.typed import typed


@dataclass(frozen=True)
class PixelErrors:
    """Number of wrong pixels and of all counted pixels; add those of several batches to pool them.

    Attributes:
        wrong: pixels on the wrong side of the threshold.
        total: pixels counted.
    """

    wrong: int
    total: int

    def __add__(self, other: "PixelErrors") -> "PixelErrors":
        return PixelErrors(self.wrong + other.wrong, self.total + other.total)

    @property
    def fraction(self) -> float:
        """Fraction of incorrect pixels, in [0, 1].

        Raises:
            ValueError: if no pixel was counted.
        """
        if self.total == 0:
            raise ValueError(
                "observed: expected at least one missing frame to score, got none; pool more batches first"
            )
        return self.wrong / self.total


@typed
def count_incorrect_pixels(
    frames: Tensor, truth: Tensor, observed: Tensor | None = None, *, threshold: float = WHITE
) -> PixelErrors:
    """Hamming distance between `frames > threshold` and `truth > threshold` over the missing frames.

    Its `fraction` is the error of figures 3a and 3b of Fraccaro et al. (2017).

    Args:
        frames: (sequences, time, channels, height, width), expected frames in [0, 1].
        truth: the same shape, the true frames, missing ones included.
        observed: bool (sequences, time); False = missing = counted. None: every frame counts.
        threshold: grey value above which a pixel is on.

    Raises:
        ValueError: if shapes differ.
    """
    counted = _check(frames, truth, observed)
    wrong = wrong_pixels(frames, truth, threshold).sum((-3, -2, -1))
    return PixelErrors(int((wrong * counted).sum()), int(counted.sum()) * frames[0, 0].numel())


@typed
def incorrect_pixels_per_frame(
    frames: Tensor, truth: Tensor, observed: Tensor | None = None, *, threshold: float = WHITE
) -> Tensor:
    """Fraction of incorrect pixels at each time step, (time,), over the sequences in which that frame is missing.

    NaN where the frame is missing in no sequence; plots omit the point.

    Args:
        frames: (sequences, time, channels, height, width), expected frames in [0, 1].
        truth: the same shape, the true frames.
        observed: bool (sequences, time); None: every frame counts.
        threshold: grey value above which a pixel is on.

    Raises:
        ValueError: if shapes differ.
    """
    counted = _check(frames, truth, observed)
    wrong = wrong_share(frames, truth, threshold)
    return (wrong * counted).sum(0) / counted.sum(0)


@typed
def intersection_over_union(
    frames: Tensor, truth: Tensor, observed: Tensor | None = None, *, threshold: float = WHITE
) -> float:
    """Pixels that are on in both over pixels that are on in either, averaged over the missing frames; in [0, 1].

    Two empty frames agree: they score 1.

    Args:
        frames: (sequences, time, channels, height, width), expected frames in [0, 1].
        truth: the same shape, the true frames.
        observed: bool (sequences, time); None: every frame counts.
        threshold: grey value above which a pixel is on.

    Raises:
        ValueError: if shapes differ or no frame is missing.
    """
    counted = _check(frames, truth, observed)
    if not bool(counted.any()):
        raise ValueError("observed: expected at least one missing frame to score, got none")
    both, either = shared_pixels(frames, truth, threshold)
    ratio = torch.where(either > 0, both / either.clamp(min=1), 1.0)
    return float(ratio[counted].mean())


@typed
def normalized_code_rmse(codes: Tensor, encoded: Tensor, observed: Tensor | None = None) -> float:
    """Root mean squared distance of imputed codes from the codes of the true frames, relative to the latter's spread.

    sqrt(E |a_hat - a|^2 / E |a - E a|^2), both over the missing frames: 0 is perfect, 1 is as good as the mean code.
    Invariant to rotation, translation and scaling of the code space.

    Args:
        codes: (sequences, time, code), imputed.
        encoded: (sequences, time, code), encoded from the true frames.
        observed: bool (sequences, time); None: every frame counts.

    Raises:
        ValueError: if shapes differ, fewer than two frames are missing, or their codes are all the same.
    """
    if codes.dim() != 3 or codes.shape != encoded.shape:
        raise ValueError(
            "codes, encoded: expected one shape (sequences, time, code), "
            f"got {tuple(codes.shape)} and {tuple(encoded.shape)}"
        )
    counted = _counted(codes.shape[:2], observed, codes.device)
    if int(counted.sum()) < 2:
        raise ValueError(f"observed: expected at least two missing frames to score, got {int(counted.sum())}")
    guess, target = codes[counted].double(), encoded[counted].double()
    spread = (target - target.mean(0)).square().sum()
    if float(spread) == 0:
        raise ValueError("encoded: expected codes that differ between the missing frames, got one code for all")
    return float(((guess - target).square().sum() / spread).sqrt())


def _check(frames: Tensor, truth: Tensor, observed: Tensor | None) -> Tensor:
    if frames.dim() != 5 or frames.shape != truth.shape:
        raise ValueError(
            "frames, truth: expected one shape (sequences, time, channels, height, width), "
            f"got {tuple(frames.shape)} and {tuple(truth.shape)}"
        )
    return _counted(frames.shape[:2], observed, frames.device)


def _counted(shape: torch.Size, observed: Tensor | None, device: torch.device) -> Tensor:
    if observed is None:
        return torch.ones(shape, dtype=torch.bool, device=device)
    if observed.shape != shape or observed.dtype != torch.bool:
        raise ValueError(
            f"observed: expected bool (sequences, time) = {tuple(shape)}, got {observed.dtype} {tuple(observed.shape)}"
        )
    return ~observed
