"""Digits on a black canvas: the base class of simulators of moving digits, and SQAIR's moving multi-MNIST."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor
from torch.nn.functional import interpolate

from videos.batch import VideoBatch
from videos.digits import SPLITS, TILE, Digits, cropped_to_ink, load_digits
from videos.typed import typed_fields
from videos.visible import visible_masks

CANDIDATES = (
    128  # placements tried for each scene; with two digits of 20 x 20 in 50 x 50 one in five is free of overlap
)


class Motion(NamedTuple):
    """Trajectories of digits, whether they exist or not; x before y.

    Attributes:
        corner: (sequences, time, digits, 2), top left pixel of a digit's box.
        velocity: (sequences, time, digits, 2), pixels per frame.
        state: (sequences, time, digits, numbers), the motion's own state.
    """

    corner: Float[Tensor, "sequences time digits 2"]
    velocity: Float[Tensor, "sequences time digits 2"]
    state: Float[Tensor, "sequences time digits numbers"]


@dataclass(frozen=True)
class DigitScenes(ABC):
    """Base class of simulators of digits: draws the digits and fills the batch's fields. Motions are subclasses.

    The number of digits is uniform on min_digits ... max_digits and constant in time; digits that do not exist are the
    last slots. The digits of a sequence are drawn uniformly from the split, without replacement. From the same state of
    the generator, a long clip begins with the short one, frame for frame.

    `positions` is the middle of a digit's tight box, `velocities` its velocity, `presence` whether the digit exists
    (visible or not), `box_sizes` width and height of the tight box, `labels` its class; `state` is that of the motion,
    for all digits in turn. Digits that do not exist have zeros.

    Args:
        num_frames: frames of a sequence; 1 is a still scene.
        size: height and width of a frame, pixels.
        max_digits: largest number of digits.
        digit_scale: size of a digit relative to MNIST's, whose ink fills 20 x 20 pixels of a tile of 28 x 28. Speeds
            and distances do not follow it, except for those that are shares of the frame. At 0.5 ink fills 10 pixels,
            for which a frame of 32 x 32 is in proportion.
        min_digits: smallest number of digits, at least 0.
        split: split of the digits: "train", "validation" or "test"; see `load_digits`.
        folder: folder of MNIST; None = where `load_digits` finds it.
        masks: whether to keep the masks of digits, a byte per pixel and digit. A pixel with ink of several belongs to
            the one that is brightest there, see `visible_masks`. Does not change the videos.

    Raises:
        ValueError: if a number is not positive, `min_digits` exceeds `max_digits`, a digit does not fit into the frame,
            or the split is unknown.
    """

    num_frames: int = 10
    size: int = 50
    max_digits: int = 2
    digit_scale: float = 1.0
    min_digits: int = field(default=0, kw_only=True)
    split: str = field(default="train", kw_only=True)
    folder: Path | None = field(default=None, kw_only=True)
    masks: bool = field(default=False, kw_only=True, repr=False)  # not in the videos' name: it does not change them

    def __post_init__(self) -> None:
        for name in ("num_frames", "size", "max_digits", "digit_scale"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name}: expected a positive number, got {getattr(self, name)}")
        if not 0 <= self.min_digits <= self.max_digits:
            raise ValueError(f"min_digits: expected 0 to max_digits = {self.max_digits}, got {self.min_digits}")
        if self.split not in SPLITS:
            raise ValueError(f"split: expected one of {', '.join(SPLITS)}, got {self.split!r}")
        if self._tile > self.size:
            raise ValueError(f"size: expected at least a digit's tile, {self._tile} pixels, got {self.size}")

    def simulate(
        self, num_sequences: int, generator: torch.Generator, device: torch.device | str = "cpu"
    ) -> VideoBatch:
        """Draw videos; all randomness comes from `generator`, which lives on the CPU.

        Args:
            num_sequences: number of videos.
            generator: source of randomness; its state advances.
            device: device on which frames are drawn and returned.

        Raises:
            ValueError: if `num_sequences` is not positive.
        """
        if num_sequences < 1:
            raise ValueError(
                f"num_sequences: expected a positive number, got {num_sequences}; ask for at least one video"
            )
        digits = _scaled(self.split, self.folder, self.digit_scale)
        count = torch.randint(self.min_digits, self.max_digits + 1, (num_sequences, 1), generator=generator)
        presence = torch.arange(self.max_digits) < count
        chosen = _without_replacement(num_sequences, self.max_digits, len(digits.tiles), generator)
        tiles, boxes = digits.tiles[chosen], digits.sizes[chosen].flip(-1).float()
        corner, velocity, state = self._move(tiles, boxes, presence, generator)
        exists = presence[:, None, :, None]

        def of_digits(values: Tensor) -> Tensor:
            return torch.where(exists, values, 0.0).float().to(device)

        over_time = (num_sequences, self.num_frames, self.max_digits)
        drawn = (tiles.to(device), corner.float().to(device), presence.to(device))
        return VideoBatch(
            frames=self._film(*drawn),
            positions=of_digits(corner + 0.5 * (boxes[:, None] - 1)),
            velocities=of_digits(velocity),
            state=of_digits(state).flatten(2),
            presence=presence[:, None].expand(over_time).contiguous().to(device),
            box_sizes=of_digits(boxes[:, None].expand(*over_time, 2)),
            labels=torch.where(presence, digits.labels[chosen], 0)[:, None].expand(over_time).contiguous().to(device),
            masks=visible_masks(self._layers(*drawn)) if self.masks else None,
        )

    def visibility(self, batch: VideoBatch) -> Float[Tensor, "sequences time digits"]:
        """Share of each digit's box, as drawn, that lies inside the frame: 0 ... 1.

        Other digits may still hide the part inside. Digits that do not exist have 0.

        Args:
            batch: from `simulate` of a simulator with the same settings.

        Raises:
            ValueError: if the batch has no positions or boxes, or its frames have another size.
        """
        if batch.positions is None or batch.box_sizes is None:
            raise ValueError("batch: expected positions and box_sizes, got a batch without them; simulate it")
        if batch.frames.shape[-2:] != (self.size, self.size):
            raise ValueError(
                f"batch: expected frames of size = {self.size} pixels, got {tuple(batch.frames.shape[-2:])}"
            )
        boxes = batch.box_sizes
        start = self._drawn_at(batch.positions - 0.5 * (boxes - 1))
        inside = ((start + boxes).clamp(max=self.size) - start.clamp(min=0)).clamp(min=0)
        return inside.prod(-1) / boxes.prod(-1).clamp(min=1)

    @property
    def _tile(self) -> int:
        """Side of a digit's tile, pixels."""
        return round(TILE * self.digit_scale)

    @abstractmethod
    def _move(
        self,
        tiles: UInt8[Tensor, "sequences digits tile tile"],
        boxes: Float[Tensor, "sequences digits 2"],
        presence: Bool[Tensor, "sequences digits"],
        generator: torch.Generator,
    ) -> Motion:
        """Draw the trajectories of digits; `boxes` is width and height."""

    def _drawn_at(self, corner: Tensor) -> Tensor:
        """Position at which a digit at `corner` is drawn: whole pixels, unless a motion overrides it."""
        return corner.round()

    def _layers(self, tiles: Tensor, corner: Tensor, presence: Tensor) -> Tensor:
        """Light of each digit alone, (sequences, time, digits, size, size)."""
        return _pasted(tiles, self._drawn_at(corner), presence, self.size)

    def _film(self, tiles: Tensor, corner: Tensor, presence: Tensor) -> Tensor:
        """Frames (sequences, time, 1, size, size), the brighter pixel on top."""
        return _draw(tiles, self._drawn_at(corner), presence, self.size)


@dataclass(frozen=True)
@typed_fields
class MovingDigits(DigitScenes):
    """Zero to a few digits under random accelerations (Kosiorek et al. 2018, section 4.1, as in their generator).

    In the first frame digits lie wholly inside, at whole pixels, and their boxes do not overlap (the first such
    placement among 128 uniform ones, or, if there is none, the first of all). Then, for the top left corner p of a
    digit's box, in pixels and frames,

        p <- p + v,   v <- v + a,   a <- a + N(0, jitter^2)          all from the previous values

    per axis; a corner outside [0, size] is reflected, with the signs of v and a; v and a stay within +-max_speed and
    +-max_acceleration. So digits leave through the right and the lower edge, and may be out of sight; `visibility`
    gives the visible share of each. They are drawn at rounded positions, the brighter one on top.

    Variants: max_acceleration=0 and jitter=0 give the motion at constant velocity of Akhundov et al. 2019. SQAIR's
    authors report that it generalises to 100 frames, and that training breaks on digits 30 % smaller (digit_scale=0.7).

    `state` is (p, v, a) of each digit, x before y. The other fields, `min_digits`, `split`, `folder`, `masks` and
    errors are those of `DigitScenes`.

    Args:
        num_frames: frames of a sequence; 1 is a still scene.
        size: height and width of a frame, pixels.
        max_digits: largest number of digits.
        digit_scale: size of a digit relative to MNIST's, whose ink fills 20 x 20 pixels.
        max_speed: largest speed per axis, pixels per frame.
        max_acceleration: largest acceleration per axis, pixels per squared frame.
        jitter: standard deviation of a change of acceleration.

    Raises:
        ValueError: also if a limit or `jitter` is negative.
    """

    max_speed: float = 10.0
    max_acceleration: float = 3.0
    jitter: float = 0.01

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("max_speed", "max_acceleration", "jitter"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name}: expected at least 0, got {getattr(self, name)}")

    def _move(self, tiles: Tensor, boxes: Tensor, presence: Tensor, generator: torch.Generator) -> Motion:
        corner = self._place(boxes, presence, generator)

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
        state = torch.stack(path, 1)
        return Motion(state[..., 0, :], state[..., 1, :], state.flatten(3))

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


@dataclass(frozen=True)
@typed_fields
class StillDigits(MovingDigits):
    """Multi-MNIST: scenes of one frame, zero to two digits on 50 x 50 pixels (Eslami et al. 2016, section 4.1).

    See `MovingDigits`.
    """

    num_frames: int = 1


@cache
def _scaled(split: str, folder: Path | None, scale: float) -> Digits:
    """The digits, resized by averages over the pixels that a new pixel covers."""
    digits = load_digits(split, folder)
    if scale == 1.0:
        return digits
    # in the middle of the tile: ink at its edge would lose its rim there, and its box would lie off the digit's middle
    tiles = interpolate(_centred(digits).float()[:, None], round(TILE * scale), mode="area")[:, 0]
    return cropped_to_ink(tiles.round().to(torch.uint8), digits.labels, digits.source)


def _centred(digits: Digits) -> Tensor:
    """Tiles with their ink in the middle, uint8 (digits, side, side)."""
    side = digits.tiles.shape[-1]
    place = (torch.arange(side) - (side - digits.sizes[..., None]) // 2) % side  # what wraps around is background
    index = place[:, 0, :, None] * side + place[:, 1, None, :]
    return digits.tiles.flatten(1).gather(1, index.flatten(1)).reshape(-1, side, side)


def _without_replacement(num_sequences: int, num_chosen: int, total: int, generator: torch.Generator) -> Tensor:
    """Distinct indices below `total` in each row, all choices equally likely."""
    chosen = torch.empty(num_sequences, 0, dtype=torch.long)
    for taken in range(num_chosen):
        index = torch.randint(0, total - taken, (num_sequences,), generator=generator)
        for earlier in chosen.sort(1).values.unbind(1):
            index = index + (index >= earlier)
        chosen = torch.cat([chosen, index[:, None]], 1)
    return chosen


def _draw(tiles: Tensor, corner: Tensor, presence: Tensor, size: int) -> Tensor:
    """Frames (sequences, time, 1, size, size): tiles pasted at whole pixels, the brighter pixel on top."""
    return (_pasted(tiles, corner, presence, size).amax(2) / 255.0)[:, :, None]


def _pasted(tiles: Tensor, corner: Tensor, presence: Tensor, size: int) -> Tensor:
    """Each digit on its own canvas, uint8 (sequences, time, digits, size, size), at whole pixels."""
    side = tiles.shape[-1]
    pixel = torch.arange(size, device=tiles.device)
    place = pixel - corner[..., None].long()  # (sequences, time, digits, 2, size): pixel of the tile, x then y
    inside = (place >= 0) & (place < side)
    place = place.clamp(0, side - 1)
    index = place[..., 1, :, None] * side + place[..., 0, None, :]
    shape = index.shape
    values = tiles.flatten(2)[:, None].expand(*shape[:3], -1).gather(-1, index.flatten(3)).reshape(shape)
    shown = inside[..., 1, :, None] & inside[..., 0, None, :] & presence[:, None, :, None, None]
    return torch.where(shown, values, 0)
