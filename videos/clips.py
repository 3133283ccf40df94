"""Clips of a static camera: video files that OpenCV reads, frames in memory, and a synthetic one."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor
from torch.nn.functional import interpolate

#: A video file, or frames in memory: uint8 (time, height, width, 3), red-green-blue.
Clip = str | os.PathLike[str] | np.ndarray | Tensor

# Containers round the number of frames that they announce; a truncated file lacks far more.
_LEAST_DECODED = 0.95


def opencv() -> ModuleType:
    """The module cv2, which is installed with the extra `video`.

    Raises:
        ImportError: if it is not installed.
    """
    try:
        import cv2
    except ImportError as error:
        raise ImportError(
            "video: expected OpenCV, which reads clips and subtracts backgrounds, got no module cv2; "
            "install the extra `video`: pip install 'kinema[video]'"
        ) from error
    return cv2


def read_frames(clip: Clip) -> Iterator[np.ndarray]:
    """The frames of a clip in turn, decoded one at a time.

    Args:
        clip: a video file, or frames in memory.

    Yields:
        uint8 (height, width, 3), red-green-blue.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if a file is empty, not a video or truncated (less than 95 % of the frames that it announces), or
            frames in memory have another shape or dtype.
        ImportError: if a file is to be read without OpenCV.
    """
    if not isinstance(clip, (str, os.PathLike)):
        yield from _checked(clip)
        return
    cv2 = opencv()
    capture = _opened(Path(clip))
    announced, decoded = int(capture.get(cv2.CAP_PROP_FRAME_COUNT)), 0
    try:
        while True:
            success, frame = capture.read()
            if not success:
                break
            decoded += 1
            yield cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)
    finally:
        capture.release()
    if decoded < max(1, _LEAST_DECODED * announced):
        raise ValueError(
            f"clip: expected the {announced} frames that {os.fspath(clip)} announces, at least one, got {decoded}; "
            "the file is truncated or damaged: copy it again"
        )


def frames_at(clip: Clip, numbers: Sequence[int]) -> UInt8[Tensor, "time height width 3"]:
    """Single frames of a clip, in the order requested; a file is read up to the last of them.

    Args:
        clip: a video file, or frames in memory.
        numbers: numbers of the frames, from 0.

    Raises:
        ValueError: if the clip has no such frame, or cannot be read.
        FileNotFoundError: if there is no such file.
        ImportError: if a file is to be read without OpenCV.
    """
    last = max(numbers)
    found = {number: frame for number, frame in enumerate(islice(read_frames(clip), last + 1)) if number in numbers}
    if min(numbers) < 0 or last not in found:
        raise ValueError(f"numbers: expected frames that the clip has, got {list(numbers)}")
    return torch.stack([torch.from_numpy(found[number]) for number in numbers])


def background_of(clip: Clip, num_frames: int = 25) -> UInt8[Tensor, "height width 3"]:
    """The scene without what moves: the median of each pixel over frames spread evenly over the clip.

    Args:
        clip: a video file, or frames in memory.
        num_frames: least number of frames of which the median is taken, if the clip has as many; at most twice as many
            are in memory.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the clip cannot be read, or `num_frames` is below 1.
        ImportError: if a file is to be read without OpenCV.
    """
    if num_frames < 1:
        raise ValueError(f"num_frames: expected at least 1, got {num_frames}")
    kept: list[np.ndarray] = []
    stride = 1
    for number, frame in enumerate(read_frames(clip)):
        if number % stride == 0:
            kept.append(frame)
        if len(kept) == 2 * num_frames:
            kept, stride = kept[::2], 2 * stride
    return torch.from_numpy(np.median(np.stack(kept), axis=0).round().astype(np.uint8))


def frame_rate(clip: Clip) -> float | None:
    """Frames per second of a video file; None for a file without a rate or for frames in memory.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is empty or not a video.
        ImportError: without OpenCV.
    """
    if not isinstance(clip, (str, os.PathLike)):
        return None
    capture = _opened(Path(clip))
    rate = capture.get(opencv().CAP_PROP_FPS)
    capture.release()
    return float(rate) if math.isfinite(rate) and rate > 0 else None


def synthetic_clip(
    generator: torch.Generator,
    num_frames: int = 300,
    height: int = 180,
    width: int = 240,
    num_objects: int = 4,
    noise: float = 3.0,
) -> UInt8[Tensor, "time height width 3"]:
    """Dark textured ellipses, upright like walkers, that move in front of a bright, textured, noisy background.

    Each moves at a constant speed of 0.5 to 1.5 % of the frame's width per frame, mostly along x, and is reflected
    where its middle meets the frame's edge. Later ellipses hide earlier ones. Without objects the scene is static.

    Args:
        generator: CPU generator, the only source of randomness; its state advances.
        num_frames: frames of the clip.
        height: height of a frame, pixels.
        width: width of a frame, pixels.
        num_objects: number of ellipses.
        noise: standard deviation of the camera's noise, grey levels of 255.

    Returns:
        uint8 (time, height, width, 3), red-green-blue.

    Raises:
        ValueError: if a size is not positive, or `num_objects` or `noise` is negative.
    """
    for name, value in (("num_frames", num_frames), ("height", height), ("width", width)):
        if value < 1:
            raise ValueError(f"{name}: expected a positive number, got {value}")
    for name, value in (("num_objects", num_objects), ("noise", noise)):
        if value < 0:
            raise ValueError(f"{name}: expected at least 0, got {value}")

    def texture(cells: int, low: float, high: float) -> Tensor:
        """A smooth coloured pattern (height, width, 3) with values in [low, high]."""
        coarse = torch.rand(1, 3, cells, cells, generator=generator)
        smooth = interpolate(coarse, (height, width), mode="bilinear", align_corners=True)[0]
        return low + (high - low) * smooth.permute(1, 2, 0)

    background = texture(6, 150.0, 220.0)
    room = torch.tensor([width - 1.0, height - 1.0])
    start = torch.rand(num_objects, 2, generator=generator) * room
    pace = (0.5 + torch.rand(num_objects, 2, generator=generator)) * 0.01 * width * torch.tensor([1.0, 0.4])
    velocity = pace * (2 * torch.randint(0, 2, (num_objects, 2), generator=generator) - 1)
    radii = (0.03 + 0.015 * torch.rand(num_objects, 1, generator=generator)) * width * torch.tensor([1.0, 2.2])
    coats = [texture(30, 20.0, 90.0) for _ in range(num_objects)]
    columns, rows = torch.arange(width), torch.arange(height)[:, None]
    clip = torch.empty(num_frames, height, width, 3, dtype=torch.uint8)
    for time in range(num_frames):
        frame = background.clone()
        path = start + time * velocity
        middle = room - (path.remainder(2 * room) - room).abs()  # a straight path, folded at the edges
        for (x, y), (x_radius, y_radius), coat in zip(middle, radii, coats, strict=True):
            inside = ((columns - x) / x_radius).square() + ((rows - y) / y_radius).square() <= 1
            # The pattern moves with its ellipse, which shows the middle of it.
            worn = coat.roll((int(y.round()) - height // 2, int(x.round()) - width // 2), (0, 1))
            frame[inside] = worn[inside]
        frame += noise * torch.randn(height, width, 1, generator=generator)
        clip[time] = frame.round().clamp(0, 255).to(torch.uint8)
    return clip


def _opened(path: Path) -> Any:
    """OpenCV's reader of a video file."""
    if not path.is_file():
        raise FileNotFoundError(f"clip: expected a video file, got {path}, which is not a file; check the folder")
    if path.stat().st_size == 0:
        raise ValueError(f"clip: expected a video file, got {path}, which is empty; copy it again")
    capture = opencv().VideoCapture(str(path))
    if not capture.isOpened():
        raise ValueError(
            f"clip: expected a video file, got {path}, which OpenCV cannot read; "
            "it is not a video, or its codec is unknown"
        )
    return capture


def _checked(frames: np.ndarray | Tensor) -> np.ndarray:
    """Frames in memory as an array."""
    array = np.asarray(frames)
    if array.dtype != np.uint8 or array.ndim != 4 or array.shape[-1] != 3 or 0 in array.shape:
        raise ValueError(
            f"clip: expected uint8 (time, height, width, 3), got {array.dtype} {array.shape}; "
            "repeat grey frames three times along the last axis, and multiply floating point frames by 255"
        )
    return array
