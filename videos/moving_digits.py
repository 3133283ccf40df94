"""Digits that lie or move on a black canvas: multi-MNIST and moving multi-MNIST."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from videos.batch import VideoBatch
from videos.digits import SPLITS, TILE, Digits, cropped_to_ink, load_digits

CANDIDATES = (
    128  # placements tried for each scene; with two digits of 20 x 20 in 50 x 50 one in five is free of overlap
)


@dataclass(frozen=True)
class MovingDigits:
    """Zero to a few digits under random accelerations (Kosiorek et al. 2018, section 4.1, as in their generator).

    The number of digits is uniform on 0 ... max_digits and constant in time. In the first frame digits lie wholly
    inside, at whole pixels, and their boxes do not overlap (the first such placement among 128 uniform ones, or, if
    there is none, the first of all). Then, for the top left corner p of a digit's box, in pixels and frames,

        p <- p + v,   v <- v + a,   a <- a + N(0, jitter^2)          all by the values before

    per axis; a corner outside [0, size] is reflected, with the signs of v and a; v and a stay within +-max_speed and
    +-max_acceleration. So digits leave through the right and the lower edge, and may be out of sight. They are drawn at
    rounded places, the brighter one on top.

    `positions` is the middle of a digit's box, `presence` whether the digit exists (seen or not), `box_sizes` width and
    height, `labels` its class; digits that do not exist have zeros. `state` is (p, v, a) of all digits, x before y.

    Args:
        num_frames: frames of a sequence; 1 is a still scene.
        size: height and width of a frame, pixels.
        max_digits: largest number of digits.
        digit_scale: size of a digit relative to MNIST's, whose ink fills 20 x 20 pixels.
        max_speed: pixels per frame and axis.
        max_acceleration: pixels per squared frame and axis.
        jitter: standard deviation of a change of acceleration.
        split: whose digits: "train", "validation" or "test"; see `load_digits`.
        folder: where MNIST is; None = where `load_digits` finds it.

    Raises:
        ValueError: if a number is not positive, a digit does not fit into the frame, or the split is unknown.
    """

    num_frames: int = 10
    size: int = 50
    max_digits: int = 2
    digit_scale: float = 1.0
    max_speed: float = 10.0
    max_acceleration: float = 3.0
    jitter: float = 0.01
    split: str = "train"
    folder: Path | None = None

    def __post_init__(self) -> None:
        for name in ("num_frames", "size", "max_digits", "digit_scale"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name}: expected a positive number, got {getattr(self, name)}")
        if self.split not in SPLITS:
            raise ValueError(f"split: expected one of {', '.join(SPLITS)}, got {self.split!r}")
        if round(TILE * self.digit_scale) > self.size:
            raise ValueError(
                f"size: expected at least a digit's tile, {round(TILE * self.digit_scale)} pixels, got {self.size}"
            )

    def simulate(
        self, num_sequences: int, generator: torch.Generator, device: torch.device | str = "cpu"
    ) -> VideoBatch:
        """Draw videos; all randomness comes from `generator`, which lives on the CPU.

        Args:
            num_sequences: how many.
            generator: moved on.
            device: where the frames are drawn and stay.
        """
        digits = _scaled(self.split, self.folder, self.digit_scale)
        count = torch.randint(0, self.max_digits + 1, (num_sequences, 1), generator=generator)
        presence = torch.arange(self.max_digits) < count
        chosen = _without_replacement(num_sequences, self.max_digits, len(digits.tiles), generator)
        boxes = digits.sizes[chosen].flip(-1).float()  # width and height
        state = self._move(self._place(boxes, presence, generator), generator)
        corner, velocity, _ = state.unbind(-2)
        exists = presence[:, None, :, None]
        middle = torch.where(exists, corner + 0.5 * (boxes[:, None] - 1), 0.0)
        tiles, place, shown = digits.tiles[chosen].to(device), corner.round().to(device), presence.to(device)
        over_time = (num_sequences, self.num_frames, self.max_digits)
        return VideoBatch(
            frames=_draw(tiles, place, shown, self.size),
            positions=middle.to(device),
            velocities=torch.where(exists, velocity, 0.0).to(device),
            state=torch.where(exists[..., None], state, 0.0).flatten(2).to(device),
            presence=presence[:, None].expand(over_time).contiguous().to(device),
            box_sizes=torch.where(exists, boxes[:, None], 0.0).expand(*over_time, 2).contiguous().to(device),
            labels=torch.where(presence, digits.labels[chosen], 0)[:, None].expand(over_time).contiguous().to(device),
        )

    def _place(self, boxes: Tensor, presence: Tensor, generator: torch.Generator) -> Tensor:
        """Top left corners (sequences, digits, 2) of a first frame without overlap."""
        room = (self.size - boxes)[:, None]
        drawn = torch.rand(len(boxes), CANDIDATES, *boxes.shape[1:], generator=generator)
        corners = (drawn * room).round()
        free = torch.ones(corners.shape[:2], dtype=torch.bool)
        for one in range(self.max_digits):
            for other in range(one):
                apart = (corners[:, :, one] + boxes[:, None, one] <= corners[:, :, other]) | (
                    corners[:, :, other] + boxes[:, None, other] <= corners[:, :, one]
                )
                free &= apart.any(-1) | ~(presence[:, one] & presence[:, other])[:, None]
        first = free.int().argmax(1)
        return corners[torch.arange(len(boxes)), first]

    def _move(self, corner: Tensor, generator: torch.Generator) -> Tensor:
        """Corner, velocity and acceleration over time, (sequences, time, digits, 3, 2)."""

        def uniform(limit: float) -> Tensor:
            return limit * (2 * torch.rand(corner.shape, generator=generator) - 1)

        velocity, acceleration = uniform(self.max_speed), uniform(self.max_acceleration)
        velocity = (velocity + acceleration).clamp(-self.max_speed, self.max_speed)  # the generator's warm-up
        path = [torch.stack([corner, velocity, acceleration], -2)]
        for _ in range(self.num_frames - 1):
            noise = self.jitter * torch.randn(corner.shape, generator=generator)
            corner, velocity, acceleration = corner + velocity, velocity + acceleration, acceleration + noise
            outside = (corner < 0) | (corner > self.size)
            corner = torch.where(corner < 0, -corner, torch.where(corner > self.size, 2 * self.size - corner, corner))
            sign = 1 - 2 * outside.float()
            corner = corner.clamp(0, self.size)
            velocity = (sign * velocity).clamp(-self.max_speed, self.max_speed)
            acceleration = (sign * acceleration).clamp(-self.max_acceleration, self.max_acceleration)
            path.append(torch.stack([corner, velocity, acceleration], -2))
        return torch.stack(path, 1)


@dataclass(frozen=True)
class StillDigits(MovingDigits):
    """Multi-MNIST: scenes of one frame, zero to two digits on 50 x 50 pixels (Eslami et al. 2016, section 4.1).

    See `MovingDigits`.
    """

    num_frames: int = 1


@cache
def _scaled(split: str, folder: Path | None, scale: float) -> Digits:
    """The digits at another size."""
    digits = load_digits(split, folder)
    if scale == 1.0:
        return digits
    side = round(TILE * scale)
    images = digits.tiles.float()[:, None]
    tiles = interpolate(images, side, mode="bilinear", align_corners=False, antialias=True)[:, 0]
    return cropped_to_ink(tiles.round().to(torch.uint8), digits.labels, digits.source)


def _without_replacement(num_sequences: int, num_chosen: int, total: int, generator: torch.Generator) -> Tensor:
    """Different indices below `total` in each row, all choices alike."""
    chosen = torch.empty(num_sequences, 0, dtype=torch.long)
    for taken in range(num_chosen):
        index = torch.randint(0, total - taken, (num_sequences,), generator=generator)
        for earlier in chosen.sort(1).values.unbind(1):
            index = index + (index >= earlier)
        chosen = torch.cat([chosen, index[:, None]], 1)
    return chosen


def _draw(tiles: Tensor, corner: Tensor, presence: Tensor, size: int) -> Tensor:
    """Frames (sequences, time, 1, size, size): tiles pasted at whole places, the brighter pixel on top."""
    side = tiles.shape[-1]
    pixel = torch.arange(size, device=tiles.device)
    place = pixel - corner[..., None].long()  # (sequences, time, digits, 2, size): pixel of the tile, x then y
    inside = (place >= 0) & (place < side)
    place = place.clamp(0, side - 1)
    index = place[..., 1, :, None] * side + place[..., 0, None, :]
    shape = index.shape
    values = tiles.flatten(2)[:, None].expand(*shape[:3], -1).gather(-1, index.flatten(3)).reshape(shape)
    shown = inside[..., 1, :, None] & inside[..., 0, None, :] & presence[:, None, :, None, None]
    return (torch.where(shown, values, 0).amax(2) / 255.0)[:, :, None]
