"""What a tracker and a detector are, one put on the other, and tracks put together from rows."""

from abc import ABC, abstractmethod
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


class BoxTracker(ABC):
    """A tracker that joins boxes which a detector finds."""

    detector: Detector

    def track(self, clip: Clip) -> Tracks:
        """Boxes with identities, see `Tracker`.

        Raises:
            FileNotFoundError: if there is no such file.
            ValueError: if the clip cannot be read, or its camera moves.
        """
        return self.follow(self.detector.detect(clip))

    @abstractmethod
    def follow(self, boxes: Iterable[Float64[Tensor, "_ 4"]]) -> Tracks:
        """The same, given the boxes of each frame: left edge, top edge, width, height, in pixels."""


def tracks_of(rows: Iterable[tuple[int, int, Tensor]]) -> Tracks:
    """Tracks of rows of frame, identity and box."""
    frames, identities, boxes = zip(*rows, strict=True) if (rows := list(rows)) else ((), (), ())
    whole = torch.stack(boxes) if boxes else torch.zeros(0, 4, dtype=torch.float64)
    return Tracks(torch.tensor(frames, dtype=torch.long), torch.tensor(identities, dtype=torch.long), whole)
