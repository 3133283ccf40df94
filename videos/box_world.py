"""A ball between walls: the four worlds of the Kalman VAE (Fraccaro, Kamronn, Paquet and Winther, 2017, section 5)."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from videos.batch import VideoBatch
from videos.box_pictures import Paddles, Path, Segment, ball_masks, lit_pictures, soft_pictures
from videos.contacts import Disc, HalfPlanes, Walls, engine_step, ideal_step
from videos.drawing import from_y_up
from videos.typed import typed_fields

SHORTEST_PADDLE = 0.5
_START_MARGIN = 6.0  # pixels between the edge of the frame and the centre of a starting ball


@dataclass(frozen=True)
@typed_fields
class BoxWorld:
    """A ball that bounces between four walls without loss.

    With the default settings and the same initial state, positions equal those of the authors' published generator
    (pymunk 7.3.1) within rounding, and frames are equal pixel for pixel.

    Initial distribution: angle uniform; speed uniform in `speed`; position N((16, 16), start_std^2 I) clipped to [6,
    26] on each axis. `state` holds (x, y, vx, vy): pixels and pixels per time unit, y up, as `videos.drawing.from_y_up`
    says.

    Where gravity or high speed could carry a ball's centre through a wall within one step of the engine, one eighth
    more sequences (plus eight) are drawn than requested, and the first that stay inside are kept: this replaces about
    1 in 90 sequences of `GravityWorld`. With "ideal" physics no ball can leave.

    Args:
        num_frames: frames of a sequence.
        size: height and width of a frame, pixels.
        radius: radius of the ball, pixels; a whole number from 1 to 5 if `rendering` is "authors".
        time_step: time units from frame to frame; one step of the engine.
        start_std: standard deviation of the initial position, pixels.
        speed: (lowest, highest) initial speed, pixels per time unit.
        gravity: downward pull, pixels per squared time unit.
        restitution: normal speed after a bounce over normal speed before.
        physics: "engine" = as the authors' data (the ball sinks into a wall before it bounces, see
            `videos.contacts.engine_step`); "ideal" = exact flight and reflection. The two diverge after the first
            bounce.
        rendering: "authors" = whole lit pixels, with the line on the ball and the contact marks that the authors' tools
            draw; "antialiased" = sub-pixel positions, no marks.
        masks: whether to keep the mask of the ball, a byte per pixel: the whole ball with the line on it, without
            contact marks, in front of walls and paddles that are not brighter. Does not change the videos.

    Raises:
        ValueError: if a setting is not as above.
    """

    num_frames: int = 20
    size: int = 32
    radius: float = 3.0
    time_step: float = 0.2
    start_std: float = 10.0
    speed: tuple[float, float] = (10.0, 15.0)
    gravity: float = 0.0
    restitution: float = 1.0
    physics: Literal["engine", "ideal"] = "engine"
    rendering: Literal["authors", "antialiased"] = "authors"
    masks: bool = field(default=False, kw_only=True, repr=False)  # not in the videos' name: it does not change them

    _first_frame_moved: ClassVar[bool] = False  # whether one step precedes the first frame

    def __post_init__(self) -> None:
        for name, value in (("num_frames", self.num_frames), ("time_step", self.time_step), ("radius", self.radius)):
            if not value > 0:
                raise ValueError(f"{name}: expected a positive number, got {value}; leave it out for the default")
        for name, value, known in (
            ("physics", self.physics, ("engine", "ideal")),
            ("rendering", self.rendering, ("authors", "antialiased")),
        ):
            if value not in known:
                raise ValueError(f"{name}: expected one of {known}, got {value!r}; leave it out for the default")
        if self.rendering == "authors" and self.radius not in (1, 2, 3, 4, 5):
            raise ValueError(
                f"radius: expected a whole number from 1 to 5 with rendering='authors', got {self.radius}; "
                "use rendering='antialiased'"
            )

    def simulate(
        self, num_sequences: int, generator: torch.Generator, device: torch.device | str = "cpu"
    ) -> VideoBatch:
        """Draw initial states from `generator`, let the balls move, and film them on `device`.

        Args:
            num_sequences: number of videos.
            generator: the only source of randomness; the same state gives the same batch.
            device: where the batch is computed and returned.

        Raises:
            ValueError: if `num_sequences` is not positive.
        """
        if num_sequences < 1:
            raise ValueError(
                f"num_sequences: expected a positive number, got {num_sequences}; ask for at least one video"
            )
        may_leave = self.physics == "engine" and (self.gravity != 0 or self.speed[1] * self.time_step > self.radius)
        spares = num_sequences // 8 + 8 if may_leave else 0
        path = self._move(self._draw_initial(num_sequences + spares, generator).to(device))
        return self._film(self._first_inside(path, num_sequences) if spares else path)

    def roll_out(self, initial_state: Tensor) -> VideoBatch:
        """Film balls that start from given states; balls that leave the frame are not replaced.

        Args:
            initial_state: (sequences, 4), (x, y, vx, vy) in pixels and pixels per time unit, y up.

        Raises:
            ValueError: if `initial_state` has another shape.
        """
        if initial_state.dim() != 2 or initial_state.shape[1] != 4:
            raise ValueError(
                f"initial_state: expected (sequences, 4), got {tuple(initial_state.shape)}; "
                "give x, y, vx, vy of each ball"
            )
        return self._film(self._move(initial_state.double()))

    def _outline(self) -> tuple[Segment, ...]:
        """The fixed walls, thickness 0, in the order in which the authors pass them to the engine (y up)."""
        low, high = 2.0, self.size - 2.0
        return (
            ((low, low), (low, high)),
            ((low, low), (high, low)),
            ((high, high), (low, high)),
            ((high, high), (high, low)),
        )

    def _paddles(self) -> Paddles:
        """Bars that follow the ball; most worlds have none."""
        return Paddles((), 0.0, 0.0)

    def _follow(self, heights: Tensor, position: Tensor) -> Tensor:
        """Heights of the paddles after they follow the ball."""
        return heights

    def _draw_initial(self, num_sequences: int, generator: torch.Generator) -> Float[Tensor, "sequences 4"]:
        def uniform() -> Tensor:
            return torch.rand(num_sequences, generator=generator, device=generator.device, dtype=torch.float64)

        angle = 2.0 * math.pi * uniform()
        speed = self.speed[0] + (self.speed[1] - self.speed[0]) * uniform()
        offset = torch.randn(num_sequences, 2, generator=generator, device=generator.device, dtype=torch.float64)
        position = (0.5 * self.size + self.start_std * offset).clamp(_START_MARGIN, self.size - _START_MARGIN)
        return torch.cat([position, torch.stack([speed * angle.cos(), speed * angle.sin()], -1)], -1)

    def _walls(self, heights: Float[Tensor, "sequences paddles"]) -> Walls:
        """Fixed walls and paddles; shared by all sequences where nothing moves."""
        fixed = heights.new_tensor(self._outline()).unbind(1)
        paddles = self._paddles()
        if not paddles.lines:
            return Walls(fixed[0][None], fixed[1][None], heights.new_zeros(len(fixed[0])))
        starts, ends = (
            torch.cat([still.expand(len(heights), -1, -1), moving], 1)
            for still, moving in zip(fixed, paddles.ends(heights), strict=True)
        )
        radii = torch.cat([heights.new_zeros(len(fixed[0])), heights.new_full((len(paddles.lines),), paddles.radius)])
        return Walls(starts, ends, radii)

    def _region(self, heights: Float[Tensor, "sequences paddles"], reach: float) -> HalfPlanes:
        """Region of the ball's centre; a paddle counts as the whole line it moves on, since it follows the ball."""
        middle = (0.5 * self.size, 0.5 * self.size)
        return HalfPlanes.inside(self._walls(heights[:1]), middle, reach)

    def _move(self, initial: Float[Tensor, "sequences 4"]) -> Path:
        position, velocity = initial.split(2, -1)
        disc = Disc(position, velocity, torch.zeros_like(position))
        heights = position.new_full((len(position), len(self._paddles().lines)), 0.5 * self.size)
        gravity = position.new_tensor((0.0, -self.gravity))
        walls, region = self._walls(heights), self._region(heights, self.radius)
        untouched = position.new_zeros(len(position), 2, 2)
        record = [(position, velocity, heights, untouched, untouched[..., 0], untouched[:, 0, 0].bool())]
        for _ in range(self.num_frames - 1 + self._first_frame_moved):
            if heights.shape[1]:
                heights = self._follow(heights, disc.position)
                walls = self._walls(heights)
            if self.physics == "engine":
                disc, contacts = engine_step(disc, walls, self.radius, self.restitution, gravity, self.time_step)
            else:
                disc, contacts = ideal_step(disc, region, self.restitution, gravity, self.time_step)
            moment = (disc.position, disc.velocity, heights, contacts.normals, contacts.overlaps, contacts.bounced)
            record.append(moment)
        moments = record[self._first_frame_moved :]
        return Path(*(torch.stack(values, 1) for values in zip(*moments, strict=True)))

    def _first_inside(self, path: Path, num_sequences: int) -> Path:
        """The first paths whose ball stays inside the walls, repeated if they are too few."""
        region = self._region(path.paddles[:, 0], 0.0)
        stays = (region.margins(path.positions) > 0).all(-1).all(-1)
        order = stays.long().argsort(descending=True, stable=True)
        places = torch.arange(num_sequences, device=order.device) % stays.sum().clamp(min=1)
        return Path(*(values[order[places]] for values in path))

    def _film(self, path: Path) -> VideoBatch:
        draw = lit_pictures if self.rendering == "authors" else soft_pictures
        pictures = draw(path, self._outline(), self._paddles(), self.size, self.radius)
        masks = None
        if self.masks:
            masks = ball_masks(path, self._outline(), self._paddles(), self.size, self.radius, self.rendering)
        per_frame = path.velocities.new_tensor((self.time_step, -self.time_step))
        return VideoBatch(
            frames=pictures.unsqueeze(2),
            positions=from_y_up(path.positions, self.size).unsqueeze(2).float(),
            velocities=(path.velocities * per_frame).unsqueeze(2).float(),
            state=torch.cat([path.positions, path.velocities, path.paddles], -1).float(),
            hits=path.bounced,
            masks=masks,
        )


@dataclass(frozen=True)
class GravityWorld(BoxWorld):
    """The box of `BoxWorld` with gravity and a slower start: (start_std 8, speed 5 to 10, gravity 5).

    The engine's energy drifts: bounces are computed from velocities before gravity. All settings are those of
    `BoxWorld`.
    """

    start_std: float = 8.0
    speed: tuple[float, float] = (5.0, 10.0)
    gravity: float = 5.0


@dataclass(frozen=True)
@typed_fields
class PolygonWorld(BoxWorld):
    """A ball in an irregular convex hexagon (start_std 2.5).

    Args:
        corners: corners of the polygon in order, pixels, y up; convex, with the middle of the frame inside. The last
            corner is joined to the first.

    All other settings are those of `BoxWorld`.
    """

    start_std: float = 2.5
    corners: tuple[tuple[float, float], ...] = (
        (3.0, 1.0),
        (1.0, 15.0),
        (8.0, 30.0),
        (25.0, 30.0),
        (30.0, 8.0),
        (15.0, 1.0),
    )

    def _outline(self) -> tuple[Segment, ...]:
        return tuple(zip(self.corners, (*self.corners[1:], self.corners[0]), strict=True))


@dataclass(frozen=True)
@typed_fields
class PongWorld(BoxWorld):
    """A ball between a floor, a roof and two paddles that follow it (start_std 3, speed 10, restitution 0.9 * 0.99).

    Before each step a paddle whose middle is more than half of `paddle_speed` away from the ball's height moves towards
    it by `paddle_speed`, but not out of the frame; its own velocity does not affect the bounce. The first frame shows
    the result of the first step. `state` is (x, y, vx, vy, y of the left and of the right paddle's middle).

    Args:
        paddle_half_length: half the length of a paddle, pixels.
        paddle_speed: speed of a paddle, pixels per frame.

    All other settings are those of `BoxWorld`.
    """

    start_std: float = 3.0
    speed: tuple[float, float] = (10.0, 10.0)
    restitution: float = 0.9 * 0.99
    paddle_half_length: float = 3.0
    paddle_speed: float = 2.0

    _first_frame_moved: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.paddle_half_length >= SHORTEST_PADDLE:
            raise ValueError(
                f"paddle_half_length: expected at least {SHORTEST_PADDLE} pixels, got {self.paddle_half_length}"
            )

    def _outline(self) -> tuple[Segment, ...]:
        side = float(self.size)
        return ((0.0, 1.0), (side, 1.0)), ((0.0, side), (side, side))

    def _paddles(self) -> Paddles:
        return Paddles(lines=(0.0, self.size - 2.0), half_length=self.paddle_half_length, radius=1.0)

    def _follow(self, heights: Tensor, position: Tensor) -> Tensor:
        ball = position[:, 1:]
        room_below = heights - self.paddle_half_length
        room_above = self.size - heights - self.paddle_half_length
        down = torch.where(ball < heights - 0.5 * self.paddle_speed, room_below.clamp(max=self.paddle_speed), 0.0)
        up = torch.where(ball > heights + 0.5 * self.paddle_speed, room_above.clamp(max=self.paddle_speed), 0.0)
        return heights + up - down
