"""Higher order tracking accuracy: detection and association in balance, over thresholds of overlap."""

from dataclasses import dataclass

import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from inference.metrics.appearances import Appearances, ClosePairs, clip_appearances, close_pairs
from inference.metrics.frame_matching import best_pairs
from videos.tracks import Tracks
from videos.typed import typed

#: Minimum overlaps over which scores are averaged (Luiten et al. 2021).
THRESHOLDS = tuple(step / 20 for step in range(1, 20))
_ROUNDING = 1e-12


@dataclass(frozen=True)
class HOTAScores:
    """Scores of one clip at each of the `THRESHOLDS`; without a match at a threshold all four are 0 there.

    Attributes:
        accuracies: HOTA, the geometric mean of the next two.
        detections: DetA, matches / (matches + misses + false positives).
        associations: AssA, the mean over matches c of TPA(c) / (TPA(c) + FNA(c) + FPA(c)).
        localisations: LocA, mean overlap of matches.
    """

    accuracies: Float64[Tensor, " thresholds"]
    detections: Float64[Tensor, " thresholds"]
    associations: Float64[Tensor, " thresholds"]
    localisations: Float64[Tensor, " thresholds"]

    @property
    def hota(self) -> float:
        """Mean HOTA over thresholds."""
        return float(self.accuracies.mean())

    @property
    def deta(self) -> float:
        """Mean detection accuracy over thresholds."""
        return float(self.detections.mean())

    @property
    def assa(self) -> float:
        """Mean association accuracy over thresholds."""
        return float(self.associations.mean())


@typed
def score_hota(predicted: Tracks, truth: Tracks) -> HOTAScores:
    r"""HOTA of the tracks of one clip (Luiten et al. 2021).

    .. math::

        \mathrm{HOTA}_\alpha
        = \sqrt{\frac{1}{|TP| + |FN| + |FP|} \sum_{c \in TP} \frac{|TPA(c)|}{|TPA(c)| + |FNA(c)| + |FPA(c)|}}

    A match c of true object i and track j at threshold alpha has TPA(c), the number of frames in which i and j are
    matched, FNA(c), other true boxes of i, and FPA(c), other predicted boxes of j.

    Boxes are matched in each frame to maximise the sum of A(i, j) S, S their intersection over union; matches with S
    below alpha are dropped. A(i, j) = W / (N_i + N_j - W) is how well two identities fit over the whole clip. They have
    N_i and N_j boxes and share W, the sum over frames of S / (sum of S over all j + sum over all i - S). The paper
    chooses for each alpha separately, and the number of matches comes first; this is how its authors' own program
    chooses, with which published scores were computed.

    Args:
        predicted: boxes that a tracker found.
        truth: true boxes; those with a confidence of 0 are left out, as in the MOTChallenge.

    Raises:
        ValueError: if no true box is to be scored, or the two have no frame in common.
    """
    found, true = clip_appearances(predicted, truth)
    pairs = close_pairs(true, found)
    objects, tracks = true.owners[pairs.truth], found.owners[pairs.predicted]
    of_pair = torch.stack([objects, tracks], -1).unique(dim=0, return_inverse=True)[1]
    # boxes of the two identities together, for each pair
    boxes = true.owners.bincount()[objects] + found.owners.bincount(minlength=found.num_owners)[tracks]
    together = _sums(of_pair, _shares(pairs, true, found))[of_pair]
    fit = together / (boxes - together)
    matches = best_pairs(true.frames[pairs.truth], objects, tracks, fit * pairs.overlaps)
    overlaps, of_match, boxes = pairs.overlaps[matches], of_pair[matches], boxes[matches]
    scores = []
    for threshold in THRESHOLDS:
        kept = overlaps >= threshold - _ROUNDING
        count = int(kept.sum())
        joint = of_match[kept].bincount()[of_match[kept]].double()
        detection = count / (len(true) + len(found) - count)
        association = float((joint / (boxes[kept] - joint)).sum()) / max(1, count)
        localisation = float(overlaps[kept].sum()) / max(1, count)
        scores.append(((detection * association) ** 0.5, detection, association, localisation))
    return HOTAScores(*torch.tensor(scores, dtype=torch.float64).unbind(-1))


def _shares(pairs: ClosePairs, truth: Appearances, predicted: Appearances) -> Float64[Tensor, " pairs"]:
    """Each pair's overlap as a share of all overlaps of its two boxes."""
    rows = _sums(pairs.truth, pairs.overlaps, len(truth))[pairs.truth]
    columns = _sums(pairs.predicted, pairs.overlaps, len(predicted))[pairs.predicted]
    return pairs.overlaps / (rows + columns - pairs.overlaps)


def _sums(index: Int64[Tensor, " pairs"], values: Float64[Tensor, " pairs"], size: int | None = None) -> Tensor:
    size = (int(index.max()) + 1 if len(index) else 0) if size is None else size
    return torch.zeros(size, dtype=torch.float64).index_add_(0, index, values)
