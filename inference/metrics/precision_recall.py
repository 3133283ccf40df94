"""Precision and recall of the boxes of a clip over the threshold of their confidence."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float64
from torch import Tensor

from inference.metrics.appearances import clip_appearances, close_pairs
from inference.metrics.boxes import MIN_OVERLAP
from videos.tracks import Tracks
from videos.typed import typed


@dataclass(frozen=True, eq=False)
class PrecisionRecall:
    """Precision and recall when boxes below a threshold are left out, for every threshold at which they differ.

    Attributes:
        thresholds: the different confidences, largest first; a box is kept from the threshold on.
        precision: share of the kept boxes that are true.
        recall: share of the true boxes that are found.
    """

    thresholds: Float64[Tensor, " points"]
    precision: Float64[Tensor, " points"]
    recall: Float64[Tensor, " points"]

    @property
    def average_precision(self) -> float:
        """sum_n (R_n - R_{n-1}) P_n, from R_0 = 0, as scikit-learn has it: no interpolation.

        True boxes that no threshold finds count as never found, so it is at most the largest recall.
        """
        return float((self.recall.diff(prepend=self.recall.new_zeros(1)) * self.precision).sum())


@typed
def score_confidences(predicted: Tracks, truth: Tracks, *, min_overlap: float = MIN_OVERLAP) -> PrecisionRecall:
    """Precision and recall of boxes as detections, whatever their identities.

    In each frame boxes choose true boxes in the order of their confidence, each the one with the largest overlap among
    those that are left and overlap by at least `min_overlap` (Lin et al. 2014). So a threshold leaves the choices above
    it as they are. Boxes of one frame with equal confidences choose in the order of their overlaps.

    Args:
        predicted: boxes that a tracker found, with confidences.
        truth: true boxes; those with a confidence of 0 are left out, as in the MOTChallenge.
        min_overlap: minimum intersection over union of a match.

    Raises:
        ValueError: if there are no boxes, or none with confidences; if no true box is to be scored, the two have no
            frame in common, or `min_overlap` is no share.
    """
    if not 0 < min_overlap <= 1:
        raise ValueError(f"min_overlap: expected a share in (0, 1], got {min_overlap}")
    if predicted.confidences is None or len(predicted) == 0:
        raise ValueError(f"predicted: expected boxes with confidences, got {len(predicted)} without")
    found, true = clip_appearances(predicted, truth)
    pairs = close_pairs(true, found, min_overlap=min_overlap)
    hits = _hits(predicted.confidences, pairs.predicted, pairs.truth, pairs.overlaps)
    order = predicted.confidences.argsort(descending=True, stable=True)
    confidences, hits = predicted.confidences[order], hits[order].double()
    last = torch.cat([confidences.diff() != 0, torch.ones(1, dtype=torch.bool)])  # of those with one confidence
    kept = torch.arange(1, len(hits) + 1)[last]
    right = hits.cumsum(0)[last]
    return PrecisionRecall(confidences[last], right / kept, right / len(true))


def _hits(confidences: Tensor, boxes: Tensor, truths: Tensor, overlaps: Tensor) -> Bool[Tensor, " rows"]:
    """Which boxes find a true box, given the pairs that overlap."""
    by_overlap = overlaps.argsort(descending=True, stable=True)
    order = by_overlap[confidences[boxes[by_overlap]].argsort(descending=True, stable=True)]
    busy, taken = set(), set()
    for box, true in zip(boxes[order].tolist(), truths[order].tolist(), strict=True):
        if box not in busy and true not in taken:
            busy.add(box)
            taken.add(true)
    hits = torch.zeros(len(confidences), dtype=torch.bool)
    hits[list(busy)] = True
    return hits
