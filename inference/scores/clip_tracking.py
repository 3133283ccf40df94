"""How well the people, or other objects, of one clip are tracked: the scores of the MOTChallenge in one record."""

import math
from dataclasses import asdict, dataclass
from typing import Any

from inference.metrics.boxes import MIN_OVERLAP
from inference.metrics.hota import score_hota
from inference.metrics.precision_recall import score_confidences
from inference.metrics.tracking import score_clip
from videos.tracks import Tracks


@dataclass(frozen=True)
class ClipTrackingSummary:
    """Scores of one clip; shares are in [0, 1], but MOTA may be negative. See `score_clip` and `score_hota`.

    Attributes:
        mota: tracking accuracy, 1 - (misses + false alarms + switches) / true boxes.
        motp: mean overlap of matched boxes; NaN without a match.
        idf1: F1 of boxes under the best one-to-one match of identities.
        hota: higher order tracking accuracy, averaged over 19 minimum overlaps.
        deta: its detection accuracy.
        assa: its association accuracy.
        switches: number of times a true object is matched to a different identity than at its last match.
        fragmentations: number of times a true object is matched again after it was missed.
        misses: true boxes without a match.
        false_alarms: predicted boxes without a match.
        mostly_tracked: true objects found in at least 80 % of their frames.
        mostly_lost: true objects found in less than 20 % of their frames.
        true_boxes: true boxes that are to be found.
        true_objects: their identities.
        boxes: predicted boxes.
        identities: their identities.
        left_out: true boxes that are not scored, as their confidence is 0.
        min_overlap: minimum intersection over union of a match; HOTA has its own.
        average_precision: of the boxes over the threshold of their confidence; NaN if these do not differ.
    """

    mota: float
    motp: float
    idf1: float
    hota: float
    deta: float
    assa: float
    switches: int
    fragmentations: int
    misses: int
    false_alarms: int
    mostly_tracked: int
    mostly_lost: int
    true_boxes: int
    true_objects: int
    boxes: int
    identities: int
    left_out: int
    min_overlap: float
    average_precision: float

    def __str__(self) -> str:
        shares = ("mota", "motp", "idf1", "hota", "deta", "assa")
        lines = [f"{name.upper():16} {100 * getattr(self, name):8.2f} %" for name in shares]
        counts = ("switches", "fragmentations", "misses", "false_alarms", "mostly_tracked", "mostly_lost")
        lines += [f"{name.replace('_', ' '):16} {getattr(self, name):8}" for name in counts]
        if not math.isnan(self.average_precision):
            lines.append(f"average precision{100 * self.average_precision:8.2f} %")
        lines.append(
            f"{self.boxes} boxes of {self.identities} identities; true: {self.true_boxes} of {self.true_objects}"
            + (f", {self.left_out} more with confidence 0 are not scored" if self.left_out else "")
        )
        if self.misses == self.true_boxes:
            lines.append(
                f"no box overlaps a true one by {self.min_overlap:g}: are both files of the same clip, in its pixels?"
            )
        return "\n".join(lines)

    def record(self) -> dict[str, Any]:
        """Ready for JSON: None instead of NaN."""
        return {
            name: None if isinstance(value, float) and math.isnan(value) else value
            for name, value in asdict(self).items()
        }


def summarize_clip_tracks(predicted: Tracks, truth: Tracks, *, min_overlap: float = MIN_OVERLAP) -> ClipTrackingSummary:
    """Score the tracks of one clip.

    Args:
        predicted: boxes that a tracker found.
        truth: true boxes; those with a confidence of 0 are left out, as in the MOTChallenge.
        min_overlap: minimum intersection over union of a match, for all scores but HOTA.

    Raises:
        ValueError: if no true box is to be scored, the two have no frame in common, or `min_overlap` is no share.
    """
    scores, hota = score_clip(predicted, truth, min_overlap=min_overlap), score_hota(predicted, truth)
    confidences = predicted.confidences
    differ = confidences is not None and len(confidences.unique()) > 1
    average = score_confidences(predicted, truth, min_overlap=min_overlap).average_precision if differ else math.nan
    scored = truth if truth.confidences is None else truth.select(truth.confidences != 0)
    return ClipTrackingSummary(
        mota=scores.mota,
        motp=scores.motp,
        idf1=scores.idf1,
        hota=hota.hota,
        deta=hota.deta,
        assa=hota.assa,
        switches=int(scores.switches),
        fragmentations=int(scores.fragmentations),
        misses=int(scores.misses),
        false_alarms=int(scores.false_positives),
        mostly_tracked=int(scores.mostly_tracked),
        mostly_lost=int(scores.mostly_lost),
        true_boxes=len(scored),
        true_objects=scored.num_identities,
        boxes=len(predicted),
        identities=predicted.num_identities,
        left_out=len(truth) - len(scored),
        min_overlap=min_overlap,
        average_precision=average,
    )
