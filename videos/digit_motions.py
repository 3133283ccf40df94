"""Other published motions of digits: straight lines, ellipses, and the moving MNIST of DDPAE."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass, field
from typing import Literal, get_args

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from videos.moving_digits import DigitScenes, Motion
from videos.typed import typed_fields

Blend = Literal["max", "sum"]

ROUNDS = 1000  # redraws of scenes whose digits share a pixel: about half of those with two digits, nearly all with four


@dataclass(frozen=True)
class _SubPixelDigits(DigitScenes):
    """Digits pasted at real-valued positions: the base class of the motions, whose settings its subclasses document."""

    num_frames: int = 20
    overlap: bool = field(default=True, kw_only=True)
    blend: Blend = field(default="max", kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.blend not in get_args(Blend):
            raise ValueError(f"blend: expected one of {', '.join(get_args(Blend))}, got {self.blend!r}")

    def _move(self, tiles: Tensor, boxes: Tensor, presence: Tensor, generator: torch.Generator) -> Motion:
        boxes = boxes.double()
        parameters = self._draw_parameters(boxes, generator)
        if not self.overlap:
            self._draw_apart(parameters, tiles, boxes, presence, generator)
        return self._roll_out(parameters, boxes, torch.arange(self.num_frames, dtype=torch.float64))

    def _draw_apart(
        self, parameters: Tensor, tiles: Tensor, boxes: Tensor, presence: Tensor, generator: torch.Generator
    ) -> None:
        """Replace the parameters of scenes in which digits share a pixel of the first frame."""
        left = torch.arange(len(parameters))
        for _ in range(ROUNDS):
            left = left[self._share_a_pixel(parameters[left], tiles[left], boxes[left], presence[left])]
            if not len(left):
                return
            parameters[left] = self._draw_parameters(boxes[left], generator)
        raise ValueError(
            f"overlap: expected room for up to {self.max_digits} digits on {self.size} x {self.size} pixels that share "
            f"no pixel, found none in {ROUNDS} draws; take fewer digits, a larger size or overlap=True"
        )

    @abstractmethod
    def _draw_parameters(
        self, boxes: Float[Tensor, "sequences digits 2"], generator: torch.Generator
    ) -> Float[Tensor, "sequences digits parameters"]:
        """All parameters of a motion, float64."""

    @abstractmethod
    def _roll_out(
        self,
        parameters: Float[Tensor, "sequences digits parameters"],
        boxes: Float[Tensor, "sequences digits 2"],
        time: Float[Tensor, " time"],
    ) -> Motion:
        """The motion at the given frames, counted from 0, in closed form."""

    def _share_a_pixel(
        self, parameters: Tensor, tiles: Tensor, boxes: Tensor, presence: Tensor
    ) -> Bool[Tensor, " sequences"]:
        """Whether some pixel of the first frame has ink of two digits, as drawn."""
        first = self._roll_out(parameters, boxes, torch.zeros(1, dtype=torch.float64))
        layers = _pasted(tiles, first.corner.float(), presence, self.size)
        return ((layers > 0).sum(2) > 1).flatten(1).any(1)

    def _drawn_at(self, corner: Tensor) -> Tensor:
        return corner

    def _layers(self, tiles: Tensor, corner: Tensor, presence: Tensor) -> Tensor:
        return _pasted(tiles, corner, presence, self.size)

    def _film(self, tiles: Tensor, corner: Tensor, presence: Tensor) -> Tensor:
        layers = self._layers(tiles, corner, presence)
        merged = layers.amax(2) if self.blend == "max" else layers.sum(2)
        return merged.clamp(max=1.0)[:, :, None]


@dataclass(frozen=True)
@typed_fields
class LinearDigits(_SubPixelDigits):
    """Digits on straight lines that bounce off the frame (Akhundov et al. 2019, the "linear" motion).

    The top left corner p of a digit's tight box, of size b, starts uniformly in [0, size - b] with a velocity v of
    uniform direction and uniform speed, and

        p_t = p_1 + v (t - 1),   folded per axis into [-wall_distance, size - b + wall_distance]

    so walls `wall_distance` outside the frame, on all four sides, reflect the tight box exactly: the velocity component
    flips and the overshoot is mirrored. Positions are real: digits are pasted with bilinear weights, which keeps their
    total intensity. The paper states neither the range of speeds nor how digits are combined where they meet; both are
    settings.

    `state` is (x, y, v_x, v_y) of each digit: the middle of its tight box in pixels, and pixels per frame. The other
    fields, `min_digits`, `split`, `folder`, `masks` and errors are those of `DigitScenes`.

    Args:
        num_frames: frames of a sequence.
        size: height and width of a frame, pixels.
        max_digits: largest number of digits.
        digit_scale: size of a digit relative to MNIST's, whose ink fills 20 x 20 pixels.
        speed: (lowest, highest) speed, pixels per frame.
        wall_distance: distance of the walls outside the edges of the frame, pixels; the paper's variant has 3, with
            overlap=False and 10 frames. Digits lie inside the frame at first in any case.
        overlap: False = no pixel of the first frame has ink of two digits (other scenes are redrawn); later digits may
            meet.
        blend: where digits meet: "max" = the brighter, "sum" = the sum, at most 1.

    Raises:
        ValueError: also if `speed` is not a range of numbers from 0 up, `wall_distance` is negative, `blend` is
            unknown, or, from `simulate`, if there is no room without overlap.
    """

    speed: tuple[float, float] = (1.0, 5.0)
    wall_distance: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_range("speed", self.speed)
        if not 0 <= self.wall_distance < math.inf:
            raise ValueError(f"wall_distance: expected a finite number of at least 0, got {self.wall_distance}")
        if self.size + 2 * self.wall_distance <= self._tile:
            raise ValueError(f"size: expected more than a digit's tile, {self._tile} pixels, got {self.size}")

    def _draw_parameters(self, boxes: Tensor, generator: torch.Generator) -> Tensor:
        start = (self.size - boxes) * torch.rand(boxes.shape, generator=generator, dtype=torch.float64)
        angle = 2 * math.pi * torch.rand(boxes.shape[:-1], generator=generator, dtype=torch.float64)
        speed = _uniform(self.speed, angle.shape, generator)
        return torch.cat([start, torch.stack([speed * angle.cos(), speed * angle.sin()], -1)], -1)

    def _roll_out(self, parameters: Tensor, boxes: Tensor, time: Tensor) -> Motion:
        start, velocity = parameters[:, None].split(2, -1)
        boxes = boxes[:, None]
        length = self.size - boxes + 2 * self.wall_distance
        # One period is there and back.
        way = (start + self.wall_distance + velocity * time[:, None, None]).remainder(2 * length)
        returning = way > length
        corner = torch.where(returning, 2 * length - way, way) - self.wall_distance
        velocity = torch.where(returning, -velocity, velocity)
        return Motion(corner, velocity, torch.cat([corner + 0.5 * (boxes - 1), velocity], -1))


@dataclass(frozen=True)
@typed_fields
class EllipticDigits(_SubPixelDigits):
    """Digits on ellipses inside the frame (Akhundov et al. 2019, the "elliptic" motion).

    For the top left corner p of a digit's tight box, of size b, per axis

        p_t = c + (r_x cos phi_t, r_y sin phi_t),   phi_t = phi_1 + omega (t - 1)
        r uniform in [smallest_axis, (size - b) / 2],   c uniform in [r, size - b - r]

    with phi_1 uniform, |omega| uniform and its sign a fair coin: the box always stays inside, and the angular velocity
    is constant. Positive omega is clockwise on the screen. Positions are real: digits are pasted with bilinear weights,
    which keeps their total intensity. The paper says only that ellipses are random and digits stay inside; these
    distributions are our choice.

    `state` is (c_x, c_y, r_x, r_y, phi_t, omega) of each digit, c for the middle of its box, in pixels, radians (not
    wrapped) and radians per frame; `velocities` is the derivative of the position. The other fields, `min_digits`,
    `split`, `folder`, `masks` and errors are those of `DigitScenes`.

    Args:
        num_frames: frames of a sequence.
        size: height and width of a frame, pixels.
        max_digits: largest number of digits.
        digit_scale: size of a digit relative to MNIST's, whose ink fills 20 x 20 pixels.
        angular_speed: (lowest, highest) |omega|, radians per frame.
        smallest_axis: smallest semi-axis, pixels.
        overlap: False = no pixel of the first frame has ink of two digits (other scenes are redrawn); later digits may
            meet.
        blend: where digits meet: "max" = the brighter, "sum" = the sum, at most 1.

    Raises:
        ValueError: also if `angular_speed` is not a range of numbers from 0 up, `smallest_axis` is not positive or
            does not fit, `blend` is unknown, or, from `simulate`, if there is no room without overlap.
    """

    angular_speed: tuple[float, float] = (0.1, 0.3)
    smallest_axis: float = 5.0

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_range("angular_speed", self.angular_speed)
        largest = 0.5 * (self.size - self._tile)
        if not 0 < self.smallest_axis <= largest:
            raise ValueError(
                f"smallest_axis: expected more than 0 and at most {largest} pixels, half of what a tile of "
                f"{self._tile} pixels leaves of size = {self.size}, got {self.smallest_axis}"
            )

    def _draw_parameters(self, boxes: Tensor, generator: torch.Generator) -> Tensor:
        def uniform(low: float | Tensor, high: Tensor) -> Tensor:
            return low + (high - low) * torch.rand(boxes.shape, generator=generator, dtype=torch.float64)

        room = self.size - boxes
        axes = uniform(self.smallest_axis, 0.5 * room)
        center = uniform(axes, room - axes)
        phase = 2 * math.pi * torch.rand(*boxes.shape[:-1], 1, generator=generator, dtype=torch.float64)
        sign = 1 - 2 * torch.randint(0, 2, phase.shape, generator=generator)
        return torch.cat([center, axes, phase, sign * _uniform(self.angular_speed, phase.shape, generator)], -1)

    def _roll_out(self, parameters: Tensor, boxes: Tensor, time: Tensor) -> Motion:
        center, axes, phase, omega = parameters[:, None].split([2, 2, 1, 1], -1)
        angle = phase + omega * time[:, None, None]
        cosine, sine = angle.cos(), angle.sin()
        corner = center + axes * torch.cat([cosine, sine], -1)
        velocity = omega * axes * torch.cat([-sine, cosine], -1)
        still = torch.cat([center + 0.5 * (boxes[:, None] - 1), axes], -1).expand(-1, len(time), -1, -1)
        return Motion(corner, velocity, torch.cat([still, angle, omega.expand_as(angle)], -1))


@dataclass(frozen=True)
@typed_fields
class DDPAEDigits(DigitScenes):
    """The moving MNIST of DDPAE: two digits that bounce with their tiles (Hsieh et al. 2018, as in their generator).

    A digit's whole tile, 28 x 28 with the empty margins, is at the whole pixel (size - 28) q, truncated, where q starts
    uniformly in [0, 1]^2 with a velocity u of length 1 and uniform direction. Before each frame, including the first:

        q <- q + step u;   per axis q <= 0 becomes 0 and q >= 1 becomes 1, and u flips

    so a step is `step` (size - 28) = 3.6 pixels, but less at a wall, where the overshoot is cut off, not mirrored.
    Ink seldom touches the edges, since the tile bounces. The brighter digit is on top.

    `positions` is the middle of the tight box as drawn, at truncated positions; it differs by 1.6 pixels on average
    from the tile's. `velocities` is that of q after the move, in pixels per frame. `state` is (q_x, q_y, u_x, u_y) of
    each digit. The other fields, `split`, `folder`, `masks` and errors are those of `DigitScenes`.

    Unlike here, the authors' script also takes its test digits from MNIST's training file, may draw a digit twice, and
    does not stretch contrasts (a tenth of the digits have a maximum of 254). MNIST's rule, centre of mass in
    [13.5, 14.5) of the tile, recovers the position of the ink in its tile for all but 6 of 70,000 digits, which are one
    pixel off.

    Args:
        num_frames: frames of a sequence.
        size: height and width of a frame, pixels.
        max_digits: largest number of digits.
        digit_scale: size of a digit relative to MNIST's, whose tile is 28 x 28 pixels.
        step: distance per frame, as a share of the distance from wall to wall.
        min_digits: smallest number of digits.

    Raises:
        ValueError: also if `step` is not positive.
    """

    num_frames: int = 20
    size: int = 64
    step: float = 0.1
    min_digits: int = field(default=2, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.step > 0:
            raise ValueError(f"step: expected a positive number, got {self.step}")

    def _move(self, tiles: Tensor, boxes: Tensor, presence: Tensor, generator: torch.Generator) -> Motion:
        place = torch.rand(boxes.shape, generator=generator, dtype=torch.float64)
        angle = 2 * math.pi * torch.rand(boxes.shape[:-1], generator=generator, dtype=torch.float64)
        velocity = torch.stack([angle.cos(), angle.sin()], -1)
        path = []
        for _ in range(self.num_frames):
            place = place + self.step * velocity
            velocity = torch.where((place <= 0) | (place >= 1), -velocity, velocity)
            place = place.clamp(0, 1)
            path.append(torch.cat([place, velocity], -1))
        state = torch.stack(path, 1)
        places, velocities = state.split(2, -1)
        room = self.size - tiles.shape[-1]
        corner = (room * places).floor() + _ink_offset(tiles, boxes)[:, None]
        return Motion(corner, room * self.step * velocities, state)


def _ink_offset(tiles: Tensor, boxes: Tensor) -> Tensor:
    """Left and top margins, (sequences, digits, 2), that place the ink in a tile as in MNIST's.

    MNIST's digits are moved by whole pixels until their centre of mass is in the middle of the tile; `tiles` have their
    ink in the corner.
    """
    side = tiles.shape[-1]
    ink, pixel = tiles.double(), torch.arange(side, dtype=torch.float64)
    along = torch.stack([(ink.sum(-2) * pixel).sum(-1), (ink.sum(-1) * pixel).sum(-1)], -1)
    center_of_mass = along / ink.sum((-2, -1)).clamp(min=1)[..., None]
    return torch.minimum((0.5 * (side - 1) - center_of_mass).ceil(), side - boxes).clamp(min=0)


def _pasted(tiles: Tensor, corner: Tensor, presence: Tensor, size: int) -> Tensor:
    """Each digit on its own canvas, (sequences, time, digits, size, size), at real positions, by bilinear weights."""
    pixel, inner = (torch.arange(length, device=tiles.device) for length in (size, tiles.shape[-1]))
    offset = pixel[:, None] - corner[..., None, None] - inner
    columns, rows = (1 - offset.abs()).clamp(min=0).unbind(-3)
    values = torch.where(presence[..., None, None], tiles, 0) / 255.0
    return rows @ values[:, None] @ columns.mT


def _uniform(limits: tuple[float, float], shape: torch.Size, generator: torch.Generator) -> Tensor:
    low, high = limits
    return low + (high - low) * torch.rand(shape, generator=generator, dtype=torch.float64)


def _check_range(name: str, limits: tuple[float, float]) -> None:
    low, high = limits
    if not 0 <= low <= high < math.inf:
        raise ValueError(f"{name}: expected (lowest, highest), two finite numbers from 0 up, got {limits}")
