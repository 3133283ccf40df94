"""The format that videos are brought into: size, channels and length, whatever they were read from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import interpolate

from videos.arrays import CHANNELS
from videos.batch import VideoBatch
from videos.typed import typed_fields

LUMA = (0.299, 0.587, 0.114)  # of red, green and blue in grey (ITU-R BT.601)
GIGABYTE = 1e9
_OVERLAP = 4  # sequences that show a frame, where no stride is given
_BETWEEN = ("controls", "velocities", "hits")  # fields that tell of what happened from frame to frame


@dataclass(frozen=True, kw_only=True)
@typed_fields
class VideoFormat:
    """Size, channels and length of videos.

    Args:
        num_frames: frames of a sequence; None = as long as what is read. Longer clips are cut into several.
        stride: frames from the start of one sequence to the start of the next; None = a quarter of `num_frames`, at
            least 1: sequences of a clip overlap.
        frame_size: height and width, or one number for both, pixels; None = as they are. Frames are resized by
            bilinear interpolation with antialiasing, to this size whatever their proportions.
        grey: True = one channel, 0.299 red + 0.587 green + 0.114 blue; False = three channels; None = as they are.
        every: take each such frame of a clip, from the first on; 1 = all.
        invert: make black white and white black, for dark things on a bright background and a model that paints on
            black; before the threshold.
        threshold: make frames black and white: pixels above it are 1, others 0; None = leave them grey.
        max_gigabytes: largest size of the videos in memory, GB of 10^9 bytes.

    Raises:
        ValueError: if a number is out of its range.
    """

    num_frames: int | None = None
    stride: int | None = None
    frame_size: int | tuple[int, int] | None = None
    grey: bool | None = None
    every: int = 1
    invert: bool = False
    threshold: float | None = None
    max_gigabytes: float = 4.0

    def __post_init__(self) -> None:
        sides = self.frame_size if isinstance(self.frame_size, tuple) else (self.frame_size,)
        numbers = [("num_frames", self.num_frames), ("stride", self.stride), ("every", self.every)]
        for name, value in [*numbers, *(("frame_size", side) for side in sides)]:
            if value is not None and value < 1:
                raise ValueError(f"{name}: expected at least 1, got {value}")
        if self.threshold is not None and not 0 <= self.threshold < 1:
            raise ValueError(f"threshold: expected from 0 to below 1, the range of pixels, got {self.threshold}")
        if not self.max_gigabytes > 0:
            raise ValueError(f"max_gigabytes: expected a positive number, got {self.max_gigabytes}")

    @property
    def sides(self) -> tuple[int, int] | None:
        """Height and width, pixels; None = as they are."""
        size = self.frame_size
        return (size, size) if isinstance(size, int) else size

    def shape_of(self, channels: int, height: int, width: int) -> tuple[int, int, int]:
        """Channels, height and width of frames in this format, from those they had."""
        return {None: channels, True: 1, False: 3}[self.grey], *(self.sides or (height, width))

    def shaped(self, frames: Float[Tensor, "*batch channels height width"]) -> Tensor:
        """Frames in this size and with these channels, values from 0 to 1."""
        size = self.shape_of(*frames.shape[-3:])
        if size[0] not in CHANNELS or frames.shape[-3] not in CHANNELS:
            raise ValueError(f"frames: expected 1 or 3 channels, got {tuple(frames.shape)}")
        if size[0] < frames.shape[-3]:
            weights = torch.tensor(LUMA, dtype=frames.dtype, device=frames.device)
            frames = torch.einsum("...chw,c->...hw", frames, weights).unsqueeze(-3)
        if size[1:] != frames.shape[-2:]:
            flat = frames.reshape(-1, *frames.shape[-3:])
            smooth = interpolate(flat, size[1:], mode="bilinear", align_corners=False, antialias=True)
            frames = smooth.clamp(0, 1).reshape(*frames.shape[:-2], *size[1:])
        if self.invert:
            frames = 1 - frames
        if self.threshold is not None:
            frames = (frames > self.threshold).float()
        return frames.expand(*frames.shape[:-3], *size)

    def shaped_batch(self, videos: VideoBatch) -> VideoBatch:
        """Videos with all their fields in this size and with these channels; positions move with the pixels.

        Raises:
            ValueError: if frames are left out (`every`) of videos with controls, velocities or hits, which hold from
                one frame to the next.
        """
        if self.every > 1:
            if told := [name for name in _BETWEEN if getattr(videos, name) is not None]:
                raise ValueError(f"every: expected 1 for videos with {', '.join(told)}, got {self.every}")
            names = [field.name for field in fields(videos) if getattr(videos, field.name) is not None]
            videos = VideoBatch(**{name: getattr(videos, name)[:, :: self.every] for name in names})
        before = videos.frames.shape[-2:]
        frames = self.shaped(videos.frames)
        after = frames.shape[-2:]
        if after == before:
            return replace(videos, frames=frames)
        scale = frames.new_tensor([after[1] / before[1], after[0] / before[0]])  # x and y
        changed: dict[str, Tensor] = {"frames": frames}
        if videos.positions is not None:
            changed["positions"] = (videos.positions + 0.5) * scale - 0.5  # the centre of a pixel is its position
        for name in ("velocities", "box_sizes"):
            if getattr(videos, name) is not None:
                changed[name] = getattr(videos, name) * scale
        if videos.masks is not None:
            flat = videos.masks.flatten(0, 1).float()
            nearest = interpolate(flat, after, mode="nearest-exact")
            changed["masks"] = (nearest > 0).unflatten(0, videos.masks.shape[:2])
        return replace(videos, **changed)

    def starts(self, length: int, stride: int | None = None) -> list[int]:
        """First frames of the sequences that a clip of some length is cut into.

        Args:
            length: frames of the clip.
            stride: in place of the format's own.
        """
        num_frames = length if self.num_frames is None else self.num_frames
        step = stride or self.stride or max(1, num_frames // _OVERLAP)
        return list(range(0, length - num_frames + 1, step))

    def check_room(self, num_frames: int, shape: Sequence[int], what: str, value_size: int = 4) -> None:
        """Refuse videos that would not fit into memory.

        Args:
            num_frames: their frames in all.
            shape: channels, height and width.
            what: what they are, in words.
            value_size: bytes of a value, 4 in float32.

        Raises:
            ValueError: says how large they are, and what makes them smaller.
        """
        channels, height, width = shape
        size = value_size * num_frames * channels * height * width / GIGABYTE
        if size > self.max_gigabytes:
            raise ValueError(
                f"max_gigabytes: expected videos of at most {self.max_gigabytes:g} GB, got {size:.1f} GB: {what}, "
                f"{num_frames} frames of {channels} x {height} x {width} values; give a smaller frame_size, a larger "
                "every or stride, grey frames, a shorter clip, or a higher limit"
            )
