"""Rays against spheres, upright cubes and upright cylinders, in closed form.

Points and directions have their coordinate first, (3, frames, rays), z up, in units of length.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Float64, Int64
from torch import Tensor

from videos.tabletop.kinds import SHAPES

_SPHERE, _CUBE, _CYLINDER = range(len(SHAPES))
_TINY = 1e-9  # a ray parallel to a face is tilted by this much


@dataclass(frozen=True)
class Solids:
    """Solids on a table, whose footprints all lie in circles of one radius r.

    In its own axes each is the intersection of a box and a quadric,

        |x|, |y|, |z| <= h   and   x^2 + y^2 + k z^2 <= r^2

    with h = r and k = 1 for a sphere, h = r and k = 0 for a cylinder as high as wide, and h = r / sqrt(2) and k = 0 for
    a cube, which the quadric touches in its upright edges. So one formula serves all three, and a ray meets a solid
    from the last entry into these sets to the first exit.

    Args:
        shapes: int64 (frames, objects), places in `SHAPES`.
        middles: (3, frames, objects), middle of each solid.
        angles: (frames, objects), rotation about the vertical axis, radians, counterclockwise from above.
        exists: bool (frames, objects), False = no ray meets it.
        radius: radius of a footprint.
    """

    shapes: Int64[Tensor, "frames objects"]
    middles: Float[Tensor, "3 frames objects"]
    angles: Float[Tensor, "frames objects"]
    exists: Bool[Tensor, "frames objects"]
    radius: float

    @property
    def half_heights(self) -> Float[Tensor, "frames objects"]:
        """Half the height of each solid, h."""
        return half_heights(self.shapes, self.radius).to(self.middles.dtype)

    def select(self, index: slice) -> "Solids":
        """The solids of some frames."""
        return Solids(self.shapes[index], self.middles[:, index], self.angles[index], self.exists[index], self.radius)

    def to(self, device: torch.device | str) -> "Solids":
        """The same solids with every tensor on `device`."""
        return Solids(
            self.shapes.to(device), self.middles.to(device), self.angles.to(device), self.exists.to(device), self.radius
        )

    def nearest(
        self, origins: Float[Tensor, "3 #frames #rays"], directions: Float[Tensor, "3 #frames rays"]
    ) -> tuple[Float[Tensor, "frames rays"], Int64[Tensor, "frames rays"]]:
        """Distance to the first solid that a ray enters, in lengths of its direction, and the solid's index.

        A ray that enters none has distance infinity, and an arbitrary index.

        Args:
            origins: start of each ray, outside all solids.
            directions: direction of each ray.
        """
        enter, leave = self._crossings(origins, directions)
        met = (enter < leave) & (enter > 0) & self.exists.unsqueeze(-1)
        distance, owner = torch.where(met, enter, math.inf).min(1)
        return distance, owner

    def between(
        self,
        points: Float[Tensor, "3 frames rays"],
        ends: Float[Tensor, "3 frames #rays"],
        without: Int64[Tensor, "frames rays"],
    ) -> Bool[Tensor, "frames rays"]:
        """Whether a solid is between a point and an end, such as a lamp.

        Args:
            points: start of each segment.
            ends: end of each segment.
            without: index of a solid to leave out, the one on whose surface the point lies; -1 = none.
        """
        enter, leave = self._crossings(points, ends - points)
        blocks = (enter < leave) & (leave > 0) & (enter < 1) & self.exists.unsqueeze(-1)
        index = torch.arange(self.shapes.shape[1], device=without.device)[:, None]
        return (blocks & (index != without.unsqueeze(1))).any(1)

    def normals(
        self, points: Float[Tensor, "3 frames rays"], owners: Int64[Tensor, "frames rays"]
    ) -> Float[Tensor, "3 frames rays"]:
        """Unit normals, outwards, at points on the surfaces of the solids `owners`; arbitrary on edges."""
        cos, sin = self._of_owners(self.angles.cos(), owners), self._of_owners(self.angles.sin(), owners)
        shape = self._of_owners(self.shapes, owners)
        x, y, z = points - torch.stack([self._of_owners(middle, owners) for middle in self.middles])
        along, across = cos * x + sin * y, cos * y - sin * x
        height = self._of_owners(self.half_heights, owners)
        faces = torch.stack([along.abs(), across.abs(), z.abs()])
        face = (faces == faces.amax(0)).to(z.dtype) * torch.stack([along, across, z]).sign()  # of a cube
        wall = z.abs() * self.radius <= torch.hypot(x, y) * height  # of a cylinder
        flat = torch.where(wall, torch.stack([x, y, torch.zeros_like(z)]), torch.stack([0 * x, 0 * y, z]))
        rotated = torch.stack([cos * face[0] - sin * face[1], sin * face[0] + cos * face[1], face[2]])
        normal = torch.where(shape == _CUBE, rotated, torch.where(shape == _CYLINDER, flat, torch.stack([x, y, z])))
        return normal / normal.square().sum(0).sqrt().clamp(min=_TINY)

    def _crossings(self, origins: Tensor, directions: Tensor) -> tuple[Tensor, Tensor]:
        """Where rays enter and leave each solid, both (frames, objects, rays); enter >= leave = never."""
        cos, sin = self.angles.cos().unsqueeze(-1), self.angles.sin().unsqueeze(-1)
        dx, dy, dz = directions.unsqueeze(2)
        x, y, z = origins.unsqueeze(2) - self.middles.unsqueeze(-1)
        half = self.half_heights.unsqueeze(-1)
        round_ = (self.shapes == _SPHERE).unsqueeze(-1).to(x.dtype)
        square = (dx * dx + dy * dy + round_ * (dz * dz)).clamp(min=_TINY**2)
        mixed = x * dx + y * dy + (round_ * z) * dz
        rest = x * x + y * y + round_ * (z * z) - self.radius**2
        root = (mixed * mixed - square * rest).clamp(min=0.0).sqrt()  # 0 where the quadric is missed: enter = leave
        inverse = square.reciprocal()
        enter, leave = -(mixed + root) * inverse, (root - mixed) * inverse
        for place, step in (
            (cos * x + sin * y, cos * dx + sin * dy),
            (cos * y - sin * x, cos * dy - sin * dx),
            (z, dz),
        ):
            inverse = torch.where(step.abs() < _TINY, _TINY, step).reciprocal()
            middle, reach = -place * inverse, half * inverse.abs()
            enter, leave = torch.maximum(enter, middle - reach), torch.minimum(leave, middle + reach)
        return enter, leave

    def _of_owners(self, values: Tensor, owners: Tensor) -> Tensor:
        return values.gather(1, owners)


def half_heights(shapes: Int64[Tensor, "*batch"], radius: float) -> Float64[Tensor, "*batch"]:
    """Half the height of solids with a footprint of this radius; their middles are as high above the table."""
    return radius - (1.0 - math.sqrt(0.5)) * radius * (shapes == _CUBE).double()
