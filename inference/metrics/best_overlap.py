"""Segmentation: the mean best overlap of masks.

overlap = mean_best_overlap(scene.masks, videos.masks)     # (sequences,)
overlap.nanmean()                                          # videos without objects have nothing to score
"""

from typing import Literal

from jaxtyping import Float, Int64
from torch import Tensor

from inference.metrics.partitions import shared_pixels
from videos.typed import typed


@typed
def mean_best_overlap(predicted: Tensor, truth: Tensor, *, over: Literal["video", "frame"] = "video") -> Tensor:
    """Largest intersection over union of each true object with any component, averaged over objects.

    With A_i the pixels of true object i and B_j those of component j (Pont-Tuset et al. 2017),

        1 / I sum_i max_j |A_i & B_j| / |A_i | B_j|

    is 1 if every object is a component, and at least 0. Components may be the best of several objects, so components
    without objects cost nothing; those that also cover background do, unlike in the foreground's adjusted Rand index.

    A pixel belongs to the component with the largest mask, the first in a tie; pixels where all masks are 0 belong to
    none. Over videos the pixels of all frames are one set, as in `adjusted_rand_index`: a component must stay with its
    object. Objects without a pixel in the video or frame do not count.

    Args:
        predicted: (sequences, time, components, height, width), masks in [0, 1], soft or bool.
        truth: bool (sequences, time, objects, height, width), without overlap, as in `VideoBatch.masks`.
        over: "video" or "frame".

    Returns:
        float64 (sequences,), or (sequences, time) over frames; NaN without objects.

    Raises:
        ValueError: if a shape or dtype is not as above, true masks overlap, predicted ones are not in [0, 1], or `over`
            is unknown.
    """
    return overlap_of_counts(shared_pixels(predicted, truth, over))


def overlap_of_counts(counts: Int64[Tensor, "*groups objects components"]) -> Float[Tensor, " *groups"]:
    """`mean_best_overlap` from numbers of shared pixels, for several scores of the same masks.

    Args:
        counts: from `shared_pixels`, or a sum over frames.
    """
    shared = counts[..., :-1, :-1]
    of_object, of_component = counts.sum(-1)[..., :-1], counts.sum(-2)[..., :-1]
    union = of_object.unsqueeze(-1) + of_component.unsqueeze(-2) - shared
    best = (shared.double() / union.clamp(min=1)).amax(-1)
    return best.sum(-1) / (of_object > 0).sum(-1)
