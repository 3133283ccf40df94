"""Mean distances over the objects of many videos, with standard errors over videos."""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor


@dataclass(frozen=True)
class MeanDistance:
    """A mean over objects.

    Attributes:
        mean: pixels; NaN without objects.
        standard_error: over sequences, pixels; NaN with fewer than two sequences that have an object.
        num_objects: number of objects averaged.
    """

    mean: float
    standard_error: float
    num_objects: int

    def __str__(self) -> str:
        return f"{self.mean:.3f} +- {self.standard_error:.3f} pixels ({self.num_objects} objects)"


@dataclass(frozen=True)
class DistanceCurve:
    """A mean over objects in each frame.

    Attributes:
        means: pixels, or widths of the frame; NaN in a frame without objects.
        standard_errors: over sequences, in the same unit; NaN with fewer than two sequences that have an object.
        num_objects: number of objects averaged in each frame.
        prefix: number of observed frames; the others are predicted.
        frame_width: in the unit of the means: pixels, or 1.
    """

    means: Float[Tensor, " time"]
    standard_errors: Float[Tensor, " time"]
    num_objects: Int[Tensor, " time"]
    prefix: int
    frame_width: float

    @property
    def in_frame_widths(self) -> "DistanceCurve":
        """The same curve with the width of the frame as the unit, to compare videos of different sizes."""
        return replace(
            self,
            means=self.means / self.frame_width,
            standard_errors=self.standard_errors / self.frame_width,
            frame_width=1.0,
        )

    @property
    def predicted(self) -> Float[Tensor, " horizons"]:
        """The means after the prefix: at horizons 1, 2, ..."""
        return self.means[self.prefix :]


def mean_over_objects(sums: Tensor, counts: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Mean, standard error and number of the objects of independent sequences, whose objects may depend on each other.

    With S_b the sum of the n_b numbers of sequence b, and B the number of sequences with n_b > 0,

        mean = sum_b S_b / sum_b n_b,   standard error^2 = B / (B - 1) sum_b (S_b - mean n_b)^2 / (sum_b n_b)^2

    the standard error of a ratio by the delta method (Cochran 1977, chapter 6). With one object in each sequence it
    is the usual one.

    Args:
        sums: (sequences, *shape), sum of the numbers of each sequence's objects.
        counts: (sequences, *shape), number of its objects; 0 if the sum is over none.

    Returns:
        Mean, standard error, and number of objects, each of shape (*shape).
    """
    sums, counts = sums.double(), counts.double()
    total, groups = counts.sum(0), (counts > 0).sum(0)
    mean = sums.sum(0) / total
    spread = (sums - mean * counts).square().sum(0)
    standard_error = (spread * groups / (groups - 1)).sqrt() / total
    return mean, standard_error.where(groups > 1, torch.nan), total.long()
