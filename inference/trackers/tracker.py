"""What a tracker and a detector are, and tracks put together from rows."""

from collections.abc import Iterable, Iterator
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float64
from torch import Tensor

from videos.clips import Clip
from videos.tracks import Tracks


@runtime_checkable
class Detector(Protocol):
    """Finds boxes in each frame independently."""

    def detect(self, clip: Clip) -> Iterator[Float64[Tensor, "_ 4"]]:
        """Boxes of each frame of the clip: left edge, top edge, width, height, in pixels."""
        ...


@runtime_checkable
class Tracker(Protocol):
    """Follows objects through a clip."""

    def track(self, clip: Clip) -> Tracks:
        """Boxes with identities.

        Args:
            clip: a video file, or frames in memory, uint8 (time, height, width, 3), red-green-blue.
        """
        ...


def tracks_of(rows: Iterable[tuple[int, int, Tensor]]) -> Tracks:
    """Tracks of rows of frame, identity and box."""
    frames, identities, boxes = zip(*rows, strict=True) if (rows := list(rows)) else ((), (), ())
    whole = torch.stack(boxes) if boxes else torch.zeros(0, 4, dtype=torch.float64)
    return Tracks(torch.tensor(frames, dtype=torch.long), torch.tensor(identities, dtype=torch.long), whole)
