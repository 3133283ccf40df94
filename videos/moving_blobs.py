"""Boxes around whatever moves in front of a static camera, frame by frame."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float64
from torch import Tensor

from videos.background_subtraction import CONNECTIVITY, BackgroundSubtraction
from videos.clips import Clip, opencv
from videos.typed import typed_fields


@dataclass(frozen=True)
@typed_fields
class MovingBlobs:
    """Boxes of the connected components of moving pixels.

    Of the background subtraction only the moving pixels are used, at the clip's own size: neither its warm-up and
    stride nor its resizing. People who touch are one blob, and a person behind a lamp post may be two.

    Args:
        subtraction: settings of the background subtraction.
        least_area: smallest area of a blob, pixels of the clip; smaller ones are noise.
        passes: number of times that the clip is read, of which the last gives the boxes; with two the background is
            known in the first frame.

    Raises:
        ValueError: if `least_area` or `passes` is below 1.
    """

    subtraction: BackgroundSubtraction = BackgroundSubtraction()
    # The area of the subtraction's own 30 resized pixels in a frame of 768 x 576: half of a person 50 pixels tall.
    least_area: int = 300
    passes: int = 2

    def __post_init__(self) -> None:
        for name in ("least_area", "passes"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: expected at least 1, got {getattr(self, name)}")

    def detect(self, clip: Clip) -> Iterator[Float64[Tensor, "_ 4"]]:
        """Boxes of each frame of the clip: left edge, top edge, width, height, in pixels.

        Args:
            clip: a video file, or frames in memory, uint8 (time, height, width, 3), red-green-blue.

        Raises:
            FileNotFoundError: if there is no such file.
            ValueError: if the clip cannot be read, or its camera moves.
            ImportError: without OpenCV, which the extra `video` installs.
        """
        cv2 = opencv()
        for _, mask in self.subtraction.moving(clip, passes=self.passes):
            _, _, found, _ = cv2.connectedComponentsWithStats(mask, connectivity=CONNECTIVITY)
            blobs = found[1:]  # the first is the background
            large = blobs[blobs[:, cv2.CC_STAT_AREA] >= self.least_area]
            yield torch.from_numpy(large[:, : cv2.CC_STAT_AREA].astype(np.float64))
