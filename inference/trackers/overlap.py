"""The simplest tracker: each frame's boxes are joined to those of the previous frame by overlap alone."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import count

import torch
from jaxtyping import Float64
from torch import Tensor

from inference.metrics.assignment import assign
from inference.metrics.boxes import box_overlaps
from inference.trackers.tracker import BoxTracker, Detector, tracks_of
from videos.moving_blobs import MovingBlobs
from videos.tracks import Tracks


@dataclass(frozen=True)
class OverlapTracker(BoxTracker):
    """Boxes keep the identity of the box of the previous frame that they overlap; all others get a new one.

    Pairs are chosen one to one, as many as possible, and then with the largest sum of overlaps. There is no memory: who
    is not found in one frame returns under another identity.

    Args:
        detector: finds the boxes.
        min_overlap: minimum intersection over union of boxes that are joined.

    Raises:
        ValueError: if `min_overlap` is not a share above 0.
    """

    detector: Detector = MovingBlobs()
    min_overlap: float = 0.3

    def __post_init__(self) -> None:
        if not 0 < self.min_overlap <= 1:
            raise ValueError(f"min_overlap: expected a share in (0, 1], got {self.min_overlap}")

    def follow(self, boxes: Iterable[Float64[Tensor, "_ 4"]]) -> Tracks:
        """See `BoxTracker.follow`."""
        rows: list[tuple[int, int, Tensor]] = []
        fresh = count(1)
        before, names = torch.zeros(0, 4, dtype=torch.float64), []
        for frame, found in enumerate(boxes):
            overlaps = _overlaps(before, found).numpy()
            joined = {box: names[old] for old, box in assign(-overlaps, overlaps >= self.min_overlap)}
            names = [joined[box] if box in joined else next(fresh) for box in range(len(found))]
            rows += [(frame, name, box) for name, box in zip(names, found, strict=True)]
            before = found
        return tracks_of(rows)


def _overlaps(boxes: Tensor, others: Tensor) -> Tensor:
    return box_overlaps(boxes[:, :2] + boxes[:, 2:] / 2, boxes[:, 2:], others[:, :2] + others[:, 2:] / 2, others[:, 2:])
