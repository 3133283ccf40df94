"""A pinhole camera that looks down on a table."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class Camera:
    """A camera above the negative y axis that looks at the origin of a table, the plane z = 0; x is to the right.

    A point p has the coordinates (X, Y, Z) = (p . right, p . up, distance + p . forward) in its axes and is seen at

        column = (size - 1) / 2 + f X / Z,   row = (size - 1) / 2 - f Y / Z,   f = size distance / view

    Args:
        size: height and width of a frame, pixels.
        elevation: angle of the line of sight below the horizon, degrees.
        distance: distance from the origin, units.
        view: width that the frame shows at the distance of the origin, units.
    """

    size: int
    elevation: float
    distance: float
    view: float

    @property
    def half_angle(self) -> float:
        """Angle between the line of sight and the middle of an edge of the frame, radians."""
        return math.atan(0.5 * self.view / self.distance)

    @property
    def place(self) -> tuple[float, float, float]:
        """Where the camera is, units."""
        slope = math.radians(self.elevation)
        return 0.0, -self.distance * math.cos(slope), self.distance * math.sin(slope)

    @property
    def depths(self) -> tuple[float, float]:
        """The table's y at the lower and at the upper edge of the frame, units."""
        _, back, height = self.place
        slope = math.radians(self.elevation)
        near, far = (height / math.tan(slope + side * self.half_angle) + back for side in (1, -1))
        return near, far

    def half_width(self, y: Tensor) -> Tensor:
        """Half of the table's width that the frame shows, at depths y on the table, units."""
        return (self.distance + y * math.cos(math.radians(self.elevation))) * math.tan(self.half_angle)

    def project(
        self, points: Float[Tensor, "*batch 3"], velocities: Float[Tensor, "*batch 3"]
    ) -> tuple[Float[Tensor, "*batch 2"], Float[Tensor, "*batch 2"]]:
        """Where points are seen, and how fast they move there, as (column, row) in pixels.

        Args:
            points: in units.
            velocities: in units per frame.
        """
        axes = self._axes(points)
        right, up, depth = (points @ axes.mT).unbind(-1)
        right_speed, up_speed, depth_speed = (velocities @ axes.mT).unbind(-1)
        depth = depth + self.distance
        scale = self._focal_length / depth
        seen = torch.stack([right, -up], -1) * scale.unsqueeze(-1)
        moved = torch.stack([right_speed, -up_speed], -1) * scale.unsqueeze(-1)
        return seen + 0.5 * (self.size - 1), moved - seen * (depth_speed / depth).unsqueeze(-1)

    def rays(self, offsets: tuple[tuple[float, float], ...], like: Tensor) -> Float[Tensor, "3 rays"]:
        """Unit directions of the rays through every pixel, row by row, for each offset (x, y) from its centre."""
        pixel = torch.arange(self.size, device=like.device, dtype=like.dtype) - 0.5 * (self.size - 1)
        shift = torch.tensor(offsets, device=like.device, dtype=like.dtype)
        shape = (len(offsets), self.size, self.size)
        right = (pixel + shift[:, 0, None, None]).expand(shape)
        up = -(pixel[:, None] + shift[:, 1, None, None]).expand(shape)
        seen = torch.stack([right, up, torch.full_like(right, self._focal_length)]).flatten(1)
        return self._axes(like).mT @ (seen / seen.square().sum(0).sqrt())

    @property
    def _focal_length(self) -> float:
        """Focal length, pixels."""
        return self.size * self.distance / self.view

    def _axes(self, like: Tensor) -> Float[Tensor, "3 3"]:
        """Rows: right, up and forward."""
        slope = math.radians(self.elevation)
        sin, cos = math.sin(slope), math.cos(slope)
        rows = [[1.0, 0.0, 0.0], [0.0, sin, cos], [0.0, cos, -sin]]
        return torch.tensor(rows, device=like.device, dtype=like.dtype)
