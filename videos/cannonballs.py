"""Cannonballs fired from both sides of a black frame, drawn at jittered positions."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

from videos.batch import VideoBatch
from videos.drawing import light
from videos.typed import typed_fields
from videos.visible import visible_masks

TIME_STEP = 0.015  # time units from frame to frame, the paper's delta
GRAVITY = 9.81
ANGLES = (40.0, 60.0)  # of the barrel above the horizon, degrees
SPEEDS = (2.0, 3.0)  # at the muzzle, units per time unit
LEFT_STARTS = (-0.5, -0.1)  # x of the muzzle on the left
HEIGHTS = (-0.5, 0.5)  # y of the muzzle
RIGHT_SHIFT = 0.9  # of the muzzle from left to right, in largest displacements
MARGIN = 0.13  # four standard deviations of the paper's jitter, rounded up


@dataclass(frozen=True)
@typed_fields
class Cannonballs:
    """One to a few balls in free flight, drawn at jittered positions (Chiappa and Paquet 2019, section 3.1).

    With delta = 0.015 and g = 9.81, the state h = (x, y, v_x, v_y) of a ball, y up, and its drawn place a follow

        h_1 from the side it is fired from,   h_t = A h_{t-1} + u,   a_t = (x_t, y_t) + N(0, jitter I)
        A = [[I, delta I], [0, I]],   u = -g (0, delta^2 / 2, 0, delta)

    so the motion has no noise. The angle is uniform in 40 ... 60 degrees, the speed in 2 ... 3, y_1 in -0.5 ... 0.5;
    x_1 in -0.5 ... -0.1 from the left, and 0.9 `max_displacement` further right, with v_x reversed, from the right. The
    side is a fair coin per ball. Starts on the right therefore depend on `num_frames`.

    Sequence i of a call has min_balls + i mod (max_balls - min_balls + 1) balls, so a batch mixes all numbers evenly;
    balls that do not exist are the last slots. Balls neither collide nor hide one another: frames are 0 or 1, a pixel
    is lit if it is within `radius` of the pixel nearest to some ball's position (13 pixels for radius 2). Positions
    outside `bounds` are drawn at the border, so a disc is always whole.

    `controls` is `presence` as 0 and 1, the same in every frame: models of these videos are given the number of balls.
    `positions` is the jittered position a in pixels, unclamped; `clean_positions` gives it without jitter. `velocities`
    is without jitter. `state` is h of all balls in turn, in the units above, y up; angle and speed follow from its
    velocity at the first frame. `labels` is the side: 0 from the left, 1 from the right. `box_sizes` is width and
    height of the disc. Balls that do not exist have zeros everywhere.

    Args:
        num_frames: frames of a sequence.
        size: height and width of a frame, pixels.
        max_balls: largest number of balls.
        min_balls: smallest number of balls, at least 1.
        opposite: whether the two balls of a sequence with exactly two come from different sides; other sequences are
            unaffected.
        radius: radius of a disc, a whole number of pixels.
        jitter: variance of a drawn position per axis, squared units; 0 = none. `bounds` leave room for 0.001.
        masks: whether to keep the masks of balls, a byte per pixel and ball. Balls are equally bright, so a pixel of
            several belongs to the first, see `visible_masks`. Does not change the videos.

    Raises:
        ValueError: if a number is not positive, `jitter` is negative, `min_balls` exceeds `max_balls`, or a disc does
            not fit into the frame.
    """

    num_frames: int = 30
    size: int = 48
    max_balls: int = 3
    min_balls: int = 1
    opposite: bool = False
    radius: int = 2
    jitter: float = 0.001
    masks: bool = field(default=False, kw_only=True, repr=False)  # not in the videos' name: it does not change them

    def __post_init__(self) -> None:
        for name in ("num_frames", "size", "max_balls", "min_balls", "radius"):
            value = getattr(self, name)
            if not value > 0:
                raise ValueError(f"{name}: expected a positive number, got {value}")
        if self.min_balls > self.max_balls:
            raise ValueError(f"min_balls: expected at most max_balls = {self.max_balls}, got {self.min_balls}")
        if not 0 <= self.jitter < math.inf:
            raise ValueError(f"jitter: expected a variance, a finite number of at least 0, got {self.jitter}")
        if self.size < 2 * self.radius + 2:
            raise ValueError(
                f"size: expected more than a disc's width, at least {2 * self.radius + 2} pixels, got {self.size}"
            )

    @property
    def max_displacement(self) -> float:
        """Largest displacement along x from first to last frame, 3 cos(40 deg) delta (num_frames - 1), in units."""
        return SPEEDS[1] * math.cos(math.radians(ANGLES[0])) * self._duration

    @property
    def bounds(self) -> tuple[tuple[float, float], tuple[float, float]]:
        """The part of space that a frame shows, ((x from, x to), (y from, y to)) in units, y up.

        These are the extreme positions without jitter, 0.13 further out, rounded outwards to hundredths; they depend
        only on `num_frames`. At 30 frames x is in -0.73 ... 1.03 and y in -1.00 ... 0.98.
        """
        shift = RIGHT_SHIFT * self.max_displacement
        leftmost = min(LEFT_STARTS[0], LEFT_STARTS[0] + shift - self.max_displacement)
        rightmost = max(LEFT_STARTS[1] + shift, LEFT_STARTS[1] + self.max_displacement)
        slowest, fastest = (speed * math.sin(math.radians(angle)) for speed, angle in zip(SPEEDS, ANGLES, strict=True))
        # A path is concave: lowest at one of its ends, and highest at its apex or, if that is not reached, at its end.
        lowest = HEIGHTS[0] + min(0.0, _height(slowest, self._duration))
        highest = HEIGHTS[1] + _height(fastest, min(fastest / GRAVITY, self._duration))
        return _rounded_outwards(leftmost, rightmost), _rounded_outwards(lowest, highest)

    @property
    def pixels_per_unit(self) -> Float[Tensor, " coordinate"]:
        """Slope of the map of `to_pixels`, (2,), float64: positive for x, negative for y, which is flipped."""
        (left, right), (low, high) = self.bounds
        usable = self.size - 1 - 2 * self.radius
        return torch.tensor([usable / (right - left), -usable / (high - low)], dtype=torch.float64)

    @property
    def pixel_offset(self) -> Float[Tensor, " coordinate"]:
        """Image of the origin under `to_pixels`, (2,), float64, pixels."""
        (left, _), (_, high) = self.bounds
        corner = torch.tensor([left, high], dtype=torch.float64)
        return self.radius - corner * self.pixels_per_unit

    def to_pixels(self, points: Float[Tensor, "*batch 2"]) -> Float[Tensor, "*batch 2"]:
        """Points in pixels, pixels_per_unit * points + pixel_offset: continuous and not clamped to the frame.

        All videos with these settings share the map: `bounds` map to the middles of the pixels radius and
        size - 1 - radius.

        Args:
            points: (*batch, 2), (x, y up) in units.

        Returns:
            (*batch, 2), (x to the right, y down) in pixels, origin at the centre of the top-left pixel.
        """
        return points * self.pixels_per_unit.to(points) + self.pixel_offset.to(points)

    def roll_out(self, initial_state: Float[Tensor, "*batch 4"]) -> Float[Tensor, "*batch time 4"]:
        """The states of balls in flight, h_t = A h_{t-1} + u solved in closed form.

        Args:
            initial_state: (*batch, 4), (x, y, v_x, v_y) at the first frame, in units, y up.
        """
        time = TIME_STEP * torch.arange(self.num_frames, device=initial_state.device, dtype=initial_state.dtype)
        x, y, x_speed, y_speed = initial_state.unsqueeze(-2).unbind(-1)
        path = x + x_speed * time, y + y_speed * time - 0.5 * GRAVITY * time.square()
        return torch.stack([*path, x_speed.expand_as(path[0]), y_speed - GRAVITY * time], -1)

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
        count = self.min_balls + torch.arange(num_sequences) % (self.max_balls - self.min_balls + 1)
        exists = torch.arange(self.max_balls) < count[:, None]
        initial_state, side = self._fire(count, generator)
        state = self.roll_out(initial_state).transpose(1, 2)  # (sequences, time, balls, 4)
        noise = torch.randn(*state.shape[:-1], 2, generator=generator, dtype=torch.float64)
        place = self.to_pixels(state[..., :2] + math.sqrt(self.jitter) * noise)

        def of_balls(value: Tensor) -> Tensor:
            return torch.where(exists[:, None, :, None], value, 0.0).float().to(device)

        positions = of_balls(place)
        presence = exists[:, None].expand(state.shape[:-1]).contiguous().to(device)
        return VideoBatch(
            frames=self._draw(positions, presence),
            controls=presence.float(),
            positions=positions,
            velocities=of_balls(TIME_STEP * self.pixels_per_unit * state[..., 2:]),
            state=of_balls(state).flatten(2),
            presence=presence,
            box_sizes=of_balls(torch.full_like(place, 2 * self.radius + 1)),
            labels=torch.where(exists, side, 0)[:, None].expand(presence.shape).contiguous().to(device),
            masks=visible_masks(self._layers(positions, presence)) if self.masks else None,
        )

    @property
    def acceleration(self) -> Float[Tensor, " coordinate"]:
        """Second difference of noise-free positions, pixels per squared frame, y down."""
        return self.pixels_per_unit * torch.tensor([0.0, -GRAVITY * TIME_STEP**2], dtype=torch.float64)

    def clean_positions(self, batch: VideoBatch) -> Tensor:
        """Positions of the balls of a batch of this simulator, without jitter.

        Args:
            batch: from `simulate` of a simulator with the same settings.

        Returns:
            (sequences, time, balls, 2), pixels, zeros for absent balls.

        Raises:
            ValueError: if the batch has no state or presence of this number of balls.
        """
        state, presence = batch.state, batch.presence
        if state is None or presence is None:
            raise ValueError("batch: expected state and presence, got a batch without them; simulate it")
        if state.shape[-1] != 4 * self.max_balls or presence.shape[-1] != self.max_balls:
            raise ValueError(
                f"batch: expected state (sequences, time, {4 * self.max_balls}) of {self.max_balls} balls, "
                f"got {tuple(state.shape)} and presence {tuple(presence.shape)}"
            )
        place = self.to_pixels(state.unflatten(-1, (self.max_balls, 4))[..., :2])
        return torch.where(presence[..., None], place, 0.0)

    @property
    def _duration(self) -> float:
        """Time from the first frame to the last."""
        return TIME_STEP * (self.num_frames - 1)

    def _fire(self, count: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """States at the first frame, (sequences, balls, 4), and sides, (sequences, balls), drawn for every slot."""
        slots = (len(count), self.max_balls)

        def uniform(limits: tuple[float, float]) -> Tensor:
            low, high = limits
            return low + (high - low) * torch.rand(slots, generator=generator, dtype=torch.float64)

        side = torch.randint(0, 2, slots, generator=generator)
        if self.opposite and self.max_balls > 1:
            side[:, 1] = torch.where(count == 2, 1 - side[:, 0], side[:, 1])
        angle, speed = torch.deg2rad(uniform(ANGLES)), uniform(SPEEDS)
        x = uniform(LEFT_STARTS) + RIGHT_SHIFT * self.max_displacement * side
        return torch.stack([x, uniform(HEIGHTS), (1 - 2 * side) * speed * angle.cos(), speed * angle.sin()], -1), side

    def _draw(self, positions: Tensor, presence: Tensor) -> Tensor:
        """Frames (sequences, time, 1, size, size): whole discs around the nearest pixels."""
        rows, columns, visible = self._discs(positions, presence)
        return light(self._night(positions), rows.flatten(2), columns.flatten(2), visible.flatten(2)).unsqueeze(2)

    def _layers(self, positions: Tensor, presence: Tensor) -> Tensor:
        """Light of each ball alone, (sequences, time, balls, size, size)."""
        return light(self._night(positions), *self._discs(positions, presence))

    def _night(self, positions: Tensor) -> Tensor:
        return torch.zeros(self.size, self.size, device=positions.device)

    def _discs(self, positions: Tensor, presence: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Rows and columns of the pixels of each ball, and its presence, (sequences, time, balls, pixels)."""
        span = torch.arange(-self.radius, self.radius + 1)
        pattern = torch.cartesian_prod(span, span)
        pattern = pattern[pattern.square().sum(-1) <= self.radius**2].to(positions.device)
        middle = positions.clamp(self.radius, self.size - 1 - self.radius).round().long()
        pixels = middle[..., None, :] + pattern  # (sequences, time, balls, pixels, 2), x then y
        return pixels[..., 1], pixels[..., 0], presence[..., None].expand(pixels.shape[:-1])


def _height(speed: float, time: float) -> float:
    """Height above its start of a ball fired upwards at this speed."""
    return speed * time - 0.5 * GRAVITY * time**2


def _rounded_outwards(low: float, high: float) -> tuple[float, float]:
    """The interval with its margin, in whole hundredths."""
    grain = 1e-9  # keeps a bound that is a hundredth up to rounding
    return math.floor(100 * (low - MARGIN) + grain) / 100, math.ceil(100 * (high + MARGIN) - grain) / 100
