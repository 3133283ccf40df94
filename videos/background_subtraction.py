"""Moving foreground of a clip from a static camera: background subtracted, resized, components numbered."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Int16, Int64, UInt8
from torch import Tensor

from videos.camera_motion import CameraMotion, reduced
from videos.clips import Clip, frame_rate, opencv, read_frames
from videos.typed import typed_fields

_log = logging.getLogger(__name__)

_FOREGROUND = 255  # MOG2's value for moving pixels; a shadow is 127
CONNECTIVITY = 8  # of the pixels of a component


@dataclass(frozen=True, eq=False)
class Foreground:
    """The moving foreground of a clip, on black.

    Attributes:
        light: uint8 (time, height, width), grey value where something moves, inverted or not, 0 elsewhere.
        components: int16 (time, height, width), number of the connected component that a pixel belongs to, 0 = none.
            In each frame they are numbered 1, 2, ... from left to right by the middle of their boxes: numbers are not
            identities.
        numbers: int64 (time,), number of each frame in the clip, from 0.
        clip_size: width and height of the clip's own frames, pixels.
        inverted: whether light is inverted.
    """

    light: UInt8[Tensor, "time height width"]
    components: Int16[Tensor, "time height width"]
    numbers: Int64[Tensor, " time"]
    clip_size: tuple[int, int]
    inverted: bool


class ForegroundFrame(NamedTuple):
    """One frame of a foreground, see `Foreground`.

    Attributes:
        light: uint8 (height, width).
        components: int16 (height, width).
        number: number of the frame in the clip, from 0.
        clip_size: width and height of the clip's own frames, pixels.
    """

    light: UInt8[Tensor, "height width"]
    components: Int16[Tensor, "height width"]
    number: int
    clip_size: tuple[int, int]


@dataclass(frozen=True)
@typed_fields
class BackgroundSubtraction:
    """Subtract the background of a static camera, as Kosiorek et al. (2018), section 4.2, did with DukeMTMC.

    Every frame of the clip, at its own rate, goes through an adaptive mixture of Gaussians per pixel (Zivkovic 2004;
    OpenCV's MOG2). Of every s-th frame I after the warm-up, s = max(1, round(clip rate / frames_per_second)), let M be
    the pixels that the mixture calls moving and not shadow, opened and closed with ellipses. Then

        light      = grey(resize(M (255 - I)))                       resize: mean over the area of a pixel
        components = connected components of resize(M) >= coverage   of at least `least_area` pixels

    and light further than one pixel from these components is set to 0. Inversion makes dark clothes bright on black, as
    needed by a decoder that sums objects. Where moving things are brighter than what they hide, light is not inverted:
    light = grey(resize(M I)).

    The paper inverts before it subtracts. The mixture calls the same pixels moving either way, but it recognises a
    shadow by being darker than the background: with inverted frames every shadow stays in. So the mixture sees the
    original frames, and only the light is inverted.

    Args:
        warm_up: number of first frames of the clip used only to learn the background.
        frames_per_second: target frame rate.
        stride: s; None = from the clip's rate, and 1 for frames in memory, which have none.
        invert: whether light is inverted: True for dark things on a bright background, False for bright ones on a dark
            one; None = as moving pixels are darker or brighter than the background, on average over the clip.
        history: time constant of the mixture's memory, frames of the clip.
        variance_threshold: squared distance from a Gaussian, in variances, up to which a pixel belongs to it.
        background_ratio: share of the memory that counts as background; whatever stands still for
            -history log(background_ratio) frames becomes part of it.
        shadow_threshold: how dark a shadow may be, relative to the background; 1 = no shadows.
        opening: diameter of the ellipse that opens the mask (removes specks), pixels of the clip; 1 = none.
        closing: diameter of the ellipse that closes it (fills holes), pixels of the clip; 1 = none.
        width: width of the resized frames, pixels.
        height: height of the resized frames, pixels.
        coverage: moving share of a resized pixel from which it belongs to a component.
        least_area: smallest area of a component, resized pixels; smaller ones are noise.
        most_camera_motion: largest motion of the background from frame to frame, as a share of the frame's width, with
            which the camera counts as static; see `CameraMotion`.

    Raises:
        ValueError: if a setting is out of its range.
    """

    # MOG2's n-th frame has weight 1 / (2 n) until that is 1 / history, so it learns fast at first. In OpenCV's sample
    # clip of pedestrians (795 frames, 10 per second) the ghosts of those who stood in the first frames are gone after
    # 150 to 200 frames; a warm-up of a whole history of 500 would discard two thirds of that clip.
    warm_up: int = 200
    frames_per_second: float = 6.0
    stride: int | None = None
    invert: bool | None = None
    history: int = 500
    # OpenCV's defaults are 16 and 0.9: grass flickers more, and whoever stands still vanishes after 5 s, not 18 s.
    variance_threshold: float = 25.0
    background_ratio: float = 0.7
    shadow_threshold: float = 0.5
    opening: int = 3
    closing: int = 5
    width: int = 240
    height: int = 175
    coverage: float = 0.5
    least_area: int = 30
    # Static clips, real and synthetic, have 0.0000 to 0.0010, 0.0019 with forty objects; pans of a pixel a frame in 240
    # or 300 have 0.0021 to 0.0043.
    most_camera_motion: float = 0.002

    def __post_init__(self) -> None:
        for name in ("frames_per_second", "history", "variance_threshold", "opening", "closing", "width", "height"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name}: expected a positive number, got {getattr(self, name)}")
        for name in ("background_ratio", "shadow_threshold", "coverage"):
            if not 0 < getattr(self, name) <= 1:
                raise ValueError(f"{name}: expected a share in (0, 1], got {getattr(self, name)}")
        if self.warm_up < 0:
            raise ValueError(f"warm_up: expected at least 0 frames, got {self.warm_up}")
        if self.least_area < 1:
            raise ValueError(f"least_area: expected at least 1 pixel, got {self.least_area}")
        if self.stride is not None and self.stride < 1:
            raise ValueError(f"stride: expected at least 1 frame, or None, got {self.stride}")

    def extract(self, clip: Clip) -> Foreground:
        """Extract the moving foreground.

        Args:
            clip: a video file, or frames in memory, uint8 (time, height, width, 3), red-green-blue.

        Raises:
            FileNotFoundError: if there is no such file.
            ValueError: if the clip cannot be read, is not longer than the warm-up, is a file without a frame rate, or
                its camera moves.
            ImportError: without OpenCV, which the extra `video` installs.
        """
        stride = self.stride_of(clip)
        lights: dict[bool, list[Tensor]] = {invert: [] for invert in (True, False) if self.invert in (invert, None)}
        components, numbers, clip_size, length = [], [], (0, 0), 0
        contrast = 0.0
        for number, (frame, mask, mixture) in enumerate(self._subtracted(clip)):
            length = number + 1
            clip_size = (frame.shape[1], frame.shape[0])
            if number < self.warm_up or (number - self.warm_up) % stride:
                continue
            if self.invert is None:
                contrast += _contrast(frame, mixture.getBackgroundImage(), mask)
            for invert, found in lights.items():
                light, parts = self._reduce(255 - frame if invert else frame, mask)
                found.append(torch.from_numpy(light))
            components.append(torch.from_numpy(parts))
            numbers.append(number)
        if not numbers:
            raise ValueError(
                f"warm_up: expected fewer frames than the clip has = {length}, got {self.warm_up}; "
                "learn the background from fewer frames, or take a longer clip"
            )
        invert = contrast <= 0 if self.invert is None else self.invert
        if self.invert is None:
            kind = "darker than the background: their light is inverted" if invert else "brighter than the background"
            _log.info("%s: moving things are %s", _name(clip), kind)
        return Foreground(
            torch.stack(lights[invert]), torch.stack(components), torch.tensor(numbers), clip_size, invert
        )

    def follow(self, clip: Clip, *, stride: int, invert: bool) -> Iterator[ForegroundFrame]:
        """The foreground of a whole clip, frame by frame; one is in memory at a time.

        As `extract`, but nothing is left out for the warm-up: the mixture sees the clip twice, and the foreground is
        that of the second time.

        Args:
            clip: as for `extract`.
            stride: s; frame 0, s, 2 s, ... are given.
            invert: whether light is inverted.

        Raises:
            FileNotFoundError: if there is no such file.
            ValueError: if the clip cannot be read, or `stride` is below 1; before the first frame, if its camera moves.
            ImportError: without OpenCV, which the extra `video` installs.
        """
        if stride < 1:
            raise ValueError(f"stride: expected at least 1 frame, got {stride}")
        for number, (frame, mask) in enumerate(self.moving(clip, passes=2)):
            if number % stride == 0:
                light, parts = self._reduce(255 - frame if invert else frame, mask)
                size = (frame.shape[1], frame.shape[0])
                yield ForegroundFrame(torch.from_numpy(light), torch.from_numpy(parts), number, size)

    def moving(self, clip: Clip, *, passes: int = 1) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Each frame of the clip in turn, and M, its moving pixels, at the clip's own size; one is in memory at a time.

        Neither warm-up nor stride are left out.

        Args:
            clip: as for `extract`.
            passes: number of times that the mixture sees the clip. In the last M is read off; the earlier ones learn
                the background, so that what stood in the first frames has no ghost.

        Yields:
            uint8 (height, width, 3), red-green-blue, and uint8 (height, width), 255 where something moves, else 0.

        Raises:
            FileNotFoundError: if there is no such file.
            ValueError: if the clip cannot be read, or `passes` is below 1; after the first pass, if its camera moved.
            ImportError: without OpenCV, which the extra `video` installs.
        """
        for frame, mask, _ in self._subtracted(clip, passes):
            yield frame, mask

    def _subtracted(self, clip: Clip, passes: int = 1) -> Iterator[tuple[np.ndarray, np.ndarray, Any]]:
        """As `moving`, with the mixture as it is after the frame."""
        if passes < 1:
            raise ValueError(f"passes: expected at least 1, got {passes}")
        cv2 = opencv()
        mixture = cv2.createBackgroundSubtractorMOG2(self.history, self.variance_threshold, True)
        mixture.setBackgroundRatio(self.background_ratio)
        mixture.setShadowThreshold(self.shadow_threshold)
        opening, closing = (
            cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (diameter, diameter))
            for diameter in (self.opening, self.closing)
        )
        steady = self._checked_camera(clip)
        for _ in range(passes - 1):
            for frame in steady:
                mixture.apply(frame)
            steady = read_frames(clip)
        for frame in steady:
            mask = np.where(mixture.apply(frame) == _FOREGROUND, np.uint8(255), np.uint8(0))
            mask = cv2.morphologyEx(cv2.morphologyEx(mask, cv2.MORPH_OPEN, opening), cv2.MORPH_CLOSE, closing)
            yield frame, mask, mixture

    def _checked_camera(self, clip: Clip) -> Iterator[np.ndarray]:
        """The frames of a clip, which is refused after the last if its camera moved."""
        compared, before = CameraMotion(), None
        for frame in read_frames(clip):
            small = reduced(frame)
            if before is not None:
                compared.compare(before, small)
            before = small
            yield frame
        motion = compared.share_of_width
        if motion > self.most_camera_motion:
            raise ValueError(
                "clip: expected one of a static camera, whose background moves from frame to frame by at most "
                f"{self.most_camera_motion:.2%} of the frame's width, got {motion:.2%} in {_name(clip)}: "
                "the background moves, and would be taken for objects; stabilise the clip, or train a recipe that "
                "learns from whole frames"
            )

    def stride_of(self, clip: Clip) -> int:
        """s, see above.

        Raises:
            FileNotFoundError: if there is no such file.
            ValueError: if it cannot be read, or has no frame rate.
            ImportError: without OpenCV, which the extra `video` installs.
        """
        if self.stride is not None:
            return self.stride
        if not isinstance(clip, (str, os.PathLike)):
            return 1
        rate = frame_rate(clip)
        if rate is None:
            raise ValueError(f"stride: expected a number of frames for a file without a frame rate, {clip}, got None")
        return max(1, round(rate / self.frames_per_second))

    def _reduce(self, frame: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Light and numbered components, both (height, width), of one frame and its mask."""
        cv2 = opencv()
        size = (self.width, self.height)
        cut_out = cv2.bitwise_and(frame, frame, mask=mask)
        light = cv2.cvtColor(cv2.resize(cut_out, size, interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY)
        moving = cv2.resize(mask, size, interpolation=cv2.INTER_AREA) >= 255 * self.coverage
        _, labels, boxes, _ = cv2.connectedComponentsWithStats(moving.astype(np.uint8), connectivity=CONNECTIVITY)
        large = np.flatnonzero(boxes[:, cv2.CC_STAT_AREA] >= self.least_area)
        large = large[large > 0]  # 0 is the background
        doubled_middle = 2 * boxes[large, cv2.CC_STAT_LEFT] + boxes[large, cv2.CC_STAT_WIDTH]
        order = large[np.lexsort((boxes[large, cv2.CC_STAT_TOP], doubled_middle))]
        renumbered = np.zeros(len(boxes), dtype=np.int16)
        renumbered[order] = np.arange(1, len(order) + 1)
        parts = renumbered[labels]
        # One pixel beyond the components: their rims, with less than `coverage`, belong to them too.
        near = cv2.dilate((parts > 0).astype(np.uint8), np.ones((3, 3), dtype=np.uint8))
        return light * near, parts


def _name(clip: Clip) -> str:
    return os.fspath(clip) if isinstance(clip, (str, os.PathLike)) else "frames in memory"


def _contrast(frame: np.ndarray, background: np.ndarray, mask: np.ndarray) -> float:
    """Sum over moving pixels of their grey value less that of the background, which they hide."""
    cv2 = opencv()
    difference = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY).astype(np.float64) - cv2.cvtColor(
        background, cv2.COLOR_RGB2GRAY
    )
    return float(difference[mask > 0].sum())


def load_foreground(
    clip: Clip, subtraction: BackgroundSubtraction, cache: str | os.PathLike[str] | None = None
) -> Foreground:
    """`subtraction.extract(clip)`, computed once per process, or once for all if cached in a folder.

    A file whose time or length has changed, and frames with other pixels, count as other clips.

    Args:
        clip: as for `extract`.
        subtraction: settings, which are part of the cache key.
        cache: folder for .npz files, created if necessary; None = in memory only. A damaged file is rewritten.

    Raises:
        FileNotFoundError: if there is no such clip.
        ValueError: as for `extract`.
    """
    return _load(_identified(clip), subtraction, None if cache is None else Path(cache))


@dataclass(frozen=True)
class _Identified:
    """A clip compared by its fingerprint."""

    fingerprint: str
    clip: Clip = field(compare=False)


def _identified(clip: Clip) -> _Identified:
    if not isinstance(clip, (str, os.PathLike)):
        array = np.ascontiguousarray(np.asarray(clip))
        digest = hashlib.sha256(repr((array.shape, array.dtype.str)).encode())
        digest.update(array.data)
        return _Identified(digest.hexdigest(), clip)
    path = Path(clip)
    if not path.is_file():
        raise FileNotFoundError(f"clip: expected a video file, got {path}, which is not a file; check the folder")
    status = path.stat()
    return _Identified(f"{path.resolve()} {status.st_mtime_ns} {status.st_size}", path)


@lru_cache(maxsize=8)
def _load(source: _Identified, subtraction: BackgroundSubtraction, folder: Path | None) -> Foreground:
    if folder is None:
        return subtraction.extract(source.clip)
    name = f"{source.fingerprint} {subtraction!r} OpenCV {opencv().__version__}"
    path = folder / f"foreground-{hashlib.sha256(name.encode()).hexdigest()[:16]}.npz"
    if path.is_file():
        try:
            return _read(path)
        except Exception as error:  # numpy's parser fails in many ways on damaged bytes
            _log.warning("%s cannot be read (%s): the background is subtracted again", path, error)
    foreground = subtraction.extract(source.clip)
    _write(path, foreground)
    return foreground


def _read(path: Path) -> Foreground:
    with path.open("rb") as stream, np.load(stream, allow_pickle=False) as arrays:
        width, height = arrays["clip_size"].tolist()
        light, components, numbers = (torch.from_numpy(arrays[name]) for name in ("light", "components", "numbers"))
        return Foreground(light, components, numbers, (width, height), bool(arrays["inverted"]))


def _write(path: Path, foreground: Foreground) -> None:
    """Write a file atomically."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f"{path.name}.{os.getpid()}.part")
    with beside.open("wb") as stream:
        np.savez_compressed(
            stream,
            light=foreground.light.numpy(),
            components=foreground.components.numpy(),
            numbers=foreground.numbers.numpy(),
            clip_size=np.array(foreground.clip_size),
            inverted=np.array(foreground.inverted),
        )
    os.replace(beside, path)
