"""How far the background of a clip moves from frame to frame: nothing, if the camera is static."""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from videos.clips import opencv

WIDTH, HEIGHT = 64, 48  # of frames that are compared, pixels
BLOCK = 8  # side of a block, pixels
LEAST_GRADIENT = 1.0  # root mean square gradient of a block with texture, grey levels of 255 a pixel
LEAST_BLOCKS = 1 / 3  # share of blocks that need texture: otherwise there is no telling


class CameraMotion:
    """Displacement of most of the picture between successive frames, by the median over blocks.

    Frames are reduced to 64 x 48 pixels. In each block of 8 x 8 the displacement d minimises the sum over pixels of
    (I_{t+1} - I_t + grad I . d)^2 (Lucas and Kanade 1981). Things that move cover fewer than half of the blocks, so the
    median over blocks is that of the background. It is right for displacements up to a pixel of the reduced frame;
    longer ones come out too short, not as none.
    """

    def __init__(self) -> None:
        self._found: list[float] = []

    def compare(self, before: np.ndarray, after: np.ndarray) -> None:
        """Compare two successive frames, float (48, 64), grey from 0 to 255; see `reduced`."""
        down, right = np.gradient(0.5 * (before + after))
        products = [right * right, right * down, down * down, right * (after - before), down * (after - before)]
        xx, xy, yy, xt, yt = (_blocks(product) for product in products)
        textured = np.sqrt((xx + yy) / BLOCK**2) >= LEAST_GRADIENT
        if textured.mean() < LEAST_BLOCKS:
            return
        # A ridge of a tenth of the gradients' power: blocks with one edge move across it alone.
        ridge = 0.1 * (xx + yy)
        determinant = np.where(textured, (xx + ridge) * (yy + ridge) - xy**2, 1.0)
        x = -((yy + ridge) * xt - xy * yt) / determinant
        y = -((xx + ridge) * yt - xy * xt) / determinant
        self._found.append(float(np.hypot(np.median(x[textured]), np.median(y[textured]))))

    @property
    def share_of_width(self) -> float:
        """Median displacement from frame to frame, as a share of the frame's width; 0 where there is no telling."""
        return float(np.median(self._found)) / WIDTH if self._found else 0.0


def reduced(frame: np.ndarray) -> np.ndarray:
    """A frame, uint8 (height, width, 3), as `compare` takes it.

    Raises:
        ImportError: without OpenCV.
    """
    cv2 = opencv()
    small = cv2.resize(frame, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)
    return cv2.cvtColor(small, cv2.COLOR_RGB2GRAY).astype(np.float64)


def _blocks(values: np.ndarray) -> np.ndarray:
    """Sums over blocks."""
    windows = sliding_window_view(values, (BLOCK, BLOCK))[::BLOCK, ::BLOCK]
    return windows.sum((-2, -1))
