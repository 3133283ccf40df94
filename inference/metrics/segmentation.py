"""Segmentation: the adjusted Rand index of masks.

index = adjusted_rand_index(scene.masks, videos.masks)     # (sequences,)
index.nanmean()                                            # videos without objects have nothing to score

Values equal those of scikit-learn's `adjusted_rand_score` on the same pixels, except for a set without pixels: NaN
here, 1 there.
"""

from typing import Literal

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from inference.metrics.partitions import shared_pixels
from videos.typed import typed


@typed
def adjusted_rand_index(
    predicted: Tensor,
    truth: Tensor,
    *,
    foreground_only: bool = True,
    over: Literal["video", "frame"] = "video",
) -> Tensor:
    """Agreement of two partitions of pixels, corrected for chance (Hubert and Arabie 1985).

    With n_ij pixels that belong to true object i and to predicted component j, a_i = sum_j n_ij, b_j = sum_i n_ij,
    n = sum_i a_i, and C(k) = k (k - 1) / 2 the number of pairs among k,

        (sum_ij C(n_ij) - E) / ((sum_i C(a_i) + sum_j C(b_j)) / 2 - E),     E = sum_i C(a_i) sum_j C(b_j) / C(n)

    is 1 if the partitions are the same up to labels, 0 on average for random ones with the same sizes of parts, and may
    be negative.

    A pixel belongs to the component with the largest mask, the first in a tie; pixels where all masks are 0 form a
    separate part. True background, the pixels in no true mask, is a part like an object, unless `foreground_only`
    excludes it: then, as usual for object-centric models (Greff et al. 2019; often called ARI-FG), only pixels of true
    objects count, and a component may cover background at no cost.

    Over videos the pixels of all frames are one set: a component must stay with its object, and a true mask must stay
    in its slot (those of `Surveillance` do not: score them by frames). Over frames each frame is a separate set.

    Special cases: NaN where no pixel counts; take means over videos with `.nanmean()`, which excludes these, and is NaN
    if there are no others. If both partitions have one part, or all parts in both are single pixels, the ratio is 0 / 0
    and the index is 1, since they are the same. So for a single true object, with `foreground_only`, it is 1 if one
    component covers it, and 0 for any other division: such videos are uninformative. One predicted component for
    several objects scores 0.

    Args:
        predicted: (sequences, time, components, height, width), masks in [0, 1], soft or bool; if the model has no
            background component, add one, such as 1 - sum of the others.
        truth: bool (sequences, time, objects, height, width), without overlap, as in `VideoBatch.masks`.
        foreground_only: whether to exclude true background.
        over: "video" or "frame".

    Returns:
        float64 (sequences,), or (sequences, time) over frames.

    Raises:
        ValueError: if a shape or dtype is not as above, true masks overlap, predicted ones are not in [0, 1], or `over`
            is unknown.
    """
    return index_of_counts(shared_pixels(predicted, truth, over), foreground_only=foreground_only)


def index_of_counts(
    counts: Int64[Tensor, "*groups objects components"], *, foreground_only: bool = True
) -> Float[Tensor, " *groups"]:
    """`adjusted_rand_index` from numbers of shared pixels, for several scores of the same masks.

    Args:
        counts: from `shared_pixels`, or a sum over frames.
        foreground_only: whether to exclude true background.
    """
    counts = counts[..., :-1, :] if foreground_only else counts
    together, in_rows, in_columns = (
        _pairs(part).flatten(start).sum(-1)
        for part, start in ((counts, counts.dim() - 2), (counts.sum(-1), -1), (counts.sum(-2), -1))
    )
    total = counts.sum((-2, -1))
    pairs = _pairs(total)
    # Numbers of pairs are integers, so these comparisons are exact.
    same = (in_rows == in_columns) & ((in_rows == pairs) | (in_rows == 0))
    expected = in_rows.double() * in_columns.double() / pairs.clamp(min=1)
    largest = 0.5 * (in_rows + in_columns).double()
    index = (together - expected) / torch.where(same, 1.0, largest - expected)
    return torch.where(total == 0, torch.nan, torch.where(same, 1.0, index))


def _pairs(count: Tensor) -> Tensor:
    return count * (count - 1) // 2
