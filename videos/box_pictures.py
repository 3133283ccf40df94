"""Rendering of the box worlds: ball, walls, paddles and contact marks, in the authors' pixels or antialiased."""

import math
from functools import lru_cache
from typing import Literal, NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from videos.drawing import (
    antialiased_line_pixels,
    disc_coverage,
    disc_pixels,
    from_y_up,
    light,
    line_pixels,
    segment_coverage,
)
from videos.visible import visible_masks

Segment = tuple[tuple[float, float], tuple[float, float]]

_MARK_OVERLAP = 2.0  # pixels by which a contact mark reaches into the ball and beyond the wall
_WALL_THICKNESS = 1.0


class Path(NamedTuple):
    """Trajectories and contacts in the authors' coordinates (pixels, y up), float64, aligned with the frames."""

    positions: Float[Tensor, "sequences time 2"]
    velocities: Float[Tensor, "sequences time 2"]
    paddles: Float[Tensor, "sequences time paddles"]  # y of their middles
    normals: Float[Tensor, "sequences time contacts 2"]  # from the wall to the ball
    overlaps: Float[Tensor, "sequences time contacts"]  # positive where they touch
    bounced: Bool[Tensor, "sequences time"]


class Paddles(NamedTuple):
    """Vertical bars at given x, with round ends; sizes in pixels."""

    lines: tuple[float, ...]
    half_length: float
    radius: float

    def ends(self, heights: Float[Tensor, "*batch paddles"]) -> tuple[Tensor, Tensor]:
        """Upper and lower end of each bar, both (*batch, paddles, 2), y up."""
        x = heights.new_tensor(self.lines).expand_as(heights)
        return torch.stack([x, heights + self.half_length], -1), torch.stack([x, heights - self.half_length], -1)


def lit_pictures(
    path: Path, outline: tuple[Segment, ...], paddles: Paddles, size: int, radius: float
) -> Float[Tensor, "sequences time height width"]:
    """Whole lit pixels, as pygame 2.6.1 under pymunk 7.3.1 sets them: everything that is not black counts.

    Points are rounded to the nearest pixel. A contact adds a mark: the antialiased line from 2 pixels
    within the ball's surface to 2 pixels beyond the wall's surface, along the normal.

    Args:
        path: trajectories and contacts.
        outline: fixed walls, y up; one-pixel lines.
        paddles: bars two pixels wide: the columns of x and x + 1.
        size: height and width, pixels.
        radius: radius of the ball, a whole number of pixels.
    """
    rows, columns = disc_pixels(from_y_up(path.positions, size), int(radius))
    strokes = [(rows, columns, torch.ones_like(rows, dtype=torch.bool))]

    ball = path.positions.unsqueeze(2)
    from_surface = (radius - path.overlaps).unsqueeze(-1)  # the wall's surface, seen from the middle of the ball
    inner = ball - (radius - _MARK_OVERLAP) * path.normals
    outer = ball - (from_surface + _MARK_OVERLAP) * path.normals
    longest = math.ceil(2.0 * _MARK_OVERLAP) + 1  # rounding both ends may add one
    rows, columns, on_line = antialiased_line_pixels(from_y_up(inner, size), from_y_up(outer, size), longest)
    strokes.append((rows, columns, on_line & (path.overlaps > 0).unsqueeze(-1)))

    if paddles.lines:
        upper = (
            from_y_up(paddles.ends(path.paddles)[0], size).round().long().unsqueeze(-2)
        )  # (sequences, time, paddles, 1, 2)
        below = torch.arange(round(2.0 * paddles.half_length) + 1, device=upper.device)
        rows = (upper[..., 1] + below).repeat(1, 1, 1, 2)
        columns = torch.cat([upper[..., 0], upper[..., 0] + 1], -1).repeat_interleave(len(below), -1)
        strokes.append((rows, columns, torch.ones_like(rows, dtype=torch.bool)))

    rows, columns, visible = (
        torch.cat([part.flatten(2) for part in parts], -1) for parts in zip(*strokes, strict=True)
    )
    return light(_outline_picture(outline, size).to(rows.device), rows, columns, visible)


def soft_pictures(
    path: Path, outline: tuple[Segment, ...], paddles: Paddles, size: int, radius: float
) -> Float[Tensor, "sequences time height width"]:
    """Antialiased, with sub-pixel positions and no marks; the arguments are those of `lit_pictures`."""
    return torch.maximum(_soft_ball(path, size, radius), _soft_surroundings(path, outline, paddles, size))


def ball_masks(
    path: Path,
    outline: tuple[Segment, ...],
    paddles: Paddles,
    size: int,
    radius: float,
    rendering: Literal["authors", "antialiased"],
) -> Bool[Tensor, "sequences time 1 height width"]:
    """Pixels that show the ball in the pictures of either rendering; other arguments as for `lit_pictures`.

    Whole lit pixels are all equally bright, and the ball is in front of what it touches; contact marks are not part of
    it. An antialiased ball owns each pixel to which it gives some light, and no less than walls and paddles do.
    """
    if rendering == "antialiased":
        surroundings = _soft_surroundings(path, outline, paddles, size)
        return visible_masks(_soft_ball(path, size, radius).unsqueeze(2), surroundings)
    black = torch.zeros(size, size, device=path.positions.device)
    return visible_masks(light(black, *disc_pixels(from_y_up(path.positions, size), int(radius))).unsqueeze(2))


def _soft_ball(path: Path, size: int, radius: float) -> Float[Tensor, "sequences time height width"]:
    return disc_coverage(from_y_up(path.positions.float(), size), radius, size, size)


def _soft_surroundings(path: Path, outline: tuple[Segment, ...], paddles: Paddles, size: int) -> Tensor:
    """Walls and paddles, (height, width) where nothing moves, else (sequences, time, height, width)."""
    walls = from_y_up(
        torch.tensor(outline, dtype=torch.float32, device=path.positions.device), size
    )  # (walls, 2 ends, 2)
    still = segment_coverage(walls[:, 0], walls[:, 1], _WALL_THICKNESS, size, size).amax(0)
    if not paddles.lines:
        return still
    upper, lower = (from_y_up(end.float(), size) for end in paddles.ends(path.paddles))
    return torch.maximum(still, segment_coverage(upper, lower, 2.0 * paddles.radius, size, size).amax(2))


@lru_cache(maxsize=32)
def _outline_picture(outline: tuple[Segment, ...], size: int) -> Float[Tensor, "height width"]:
    """The walls alone, on the CPU; drawn once."""
    picture = torch.zeros(size, size)
    for (x0, y0), (x1, y1) in outline:
        for x, y in line_pixels((round(x0), size - round(y0)), (round(x1), size - round(y1))):
            if 0 <= x < size and 0 <= y < size:
                picture[y, x] = 1.0
    return picture
