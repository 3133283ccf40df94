"""How scenes start: where objects stand or wait, and the pushes that set the waiting ones in motion."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from videos.tabletop.camera import Camera
from videos.tabletop.motion import Bodies, Pushes

_TINY = 1e-12
_EXACT = "donot_use_mm_for_euclid_dist"
_CANDIDATES = 64  # places tried for each object
_MOST_TAKEN = 0.75  # share of a region that other objects may keep from the last one: 1 in 10^8 finds no candidate free
_GAP = 0.2  # between two objects, radii
_WIDTH, _DEPTH = 0.7, 0.6  # shares of the visible table, about its middle, on which objects stand
_STRIP = 3.0  # width of the strip on each side beyond the frame in which objects wait, diameters
_REACH = 1.5  # distance from a solid's middle that contains all of it, radii
_AIM = 0.5  # share of the region of standing objects at which pushes aim that aim at no object


@dataclass(frozen=True)
class Regions:
    """Where on the table objects stand in view, and where others wait out of it.

    Objects stand in a rectangle in the middle of the frame, and wait in strips along its left and right edges, just out
    of view. Both span the same depths.

    Args:
        camera: the camera.
        radius: radius of a footprint, units.
    """

    camera: Camera
    radius: float

    @property
    def depths(self) -> tuple[float, float]:
        """Smallest and largest y of both regions, units."""
        near, far = self.camera.depths
        middle, half = 0.5 * (near + far), 0.5 * _DEPTH * (far - near)
        return middle - half, middle + half

    @property
    def half_width(self) -> float:
        """Largest |x| of a standing object's middle, units."""
        return _WIDTH * float(self.camera.half_width(torch.tensor(self.depths[0], dtype=torch.float64)))

    @property
    def capacity(self) -> int:
        """Number of objects for which either region surely has room."""
        near, far = self.depths
        narrower = min(2.0 * self.half_width, 2.0 * self._strip)
        kept_off = math.pi * self._least_distance**2
        return 1 + int(_MOST_TAKEN * narrower * (far - near) / kept_off)

    def draw(
        self, shape: tuple[int, int], still: float, generator: torch.Generator
    ) -> tuple[Bodies, Bool[Tensor, "sequences objects"]]:
        """Bodies at rest that do not overlap, at random angles, and which of them stand in view.

        Each body in turn takes the first of 64 uniform places that is free.

        Args:
            shape: numbers of sequences and of bodies in each.
            still: probability of standing in view; unless it is 0, the first body always does.
            generator: source of randomness; its state advances.
        """
        stands = _uniform(shape, generator) < still
        stands[:, 0] = still > 0
        places = torch.empty(shape[0], 0, 2, dtype=torch.float64)
        for stand in stands.unbind(1):
            tried = self._candidates(stand, generator)
            if places.shape[1]:
                room = torch.cdist(tried, places, compute_mode=_EXACT).amin(-1).clamp(max=self._least_distance)
                chosen = room.argmax(-1)  # the first with room enough
            else:
                chosen = torch.zeros_like(stand, dtype=torch.long)
            places = torch.cat([places, tried.gather(1, chosen[:, None, None].expand(-1, 1, 2))], 1)
        angles = 2.0 * math.pi * _uniform(shape, generator)
        still_bodies = Bodies(places, angles, torch.zeros_like(places), torch.zeros_like(angles))
        return still_bodies, stands

    def pushes(
        self,
        bodies: Bodies,
        stands: Bool[Tensor, "sequences objects"],
        speed: tuple[float, float],
        times: tuple[float, float],
        generator: torch.Generator,
    ) -> Pushes:
        """Pushes of waiting bodies, half of them towards the first body if it stands, else to the middle of the scene.

        Args:
            bodies: where they are.
            stands: those that are not pushed.
            speed: (lowest, highest) speed after a push, units per second, uniform.
            times: (first, last) time of a push, seconds, uniform.
            generator: source of randomness; its state advances.
        """
        drawn = _uniform((*stands.shape, 5), generator)
        near, far = self.depths
        x = _AIM * self.half_width * (2.0 * drawn[..., 0] - 1.0)
        y = 0.5 * (near + far) + _AIM * (far - near) * (drawn[..., 1] - 0.5)
        at_first = stands[:, :1] & (drawn[..., 4] < 0.5)
        aims = torch.where(at_first[..., None], bodies.places[:, :1], torch.stack([x, y], -1))
        way = aims - bodies.places
        pace = speed[0] + (speed[1] - speed[0]) * drawn[..., 2:3]
        moment = times[0] + (times[1] - times[0]) * drawn[..., 3]
        direction = way / way.square().sum(-1, keepdim=True).sqrt().clamp(min=_TINY)
        return Pushes(pace * direction, torch.where(stands, math.inf, moment))

    def _candidates(
        self, stands: Bool[Tensor, " sequences"], generator: torch.Generator
    ) -> Float[Tensor, "sequences candidates 2"]:
        """Places in view for bodies that stand, out of view for the others."""
        drawn = _uniform((len(stands), _CANDIDATES, 2), generator)
        near, far = self.depths
        y = near + (far - near) * drawn[..., 1]
        across = 2.0 * drawn[..., 0] - 1.0
        beyond = self.camera.half_width(y) + _REACH * self.radius / math.cos(self.camera.half_angle)
        waiting = across.sign() * (beyond + self._strip * across.abs())
        return torch.stack([torch.where(stands[:, None], self.half_width * across, waiting), y], -1)

    @property
    def _strip(self) -> float:
        """Width of a strip, units."""
        return _STRIP * 2.0 * self.radius

    @property
    def _least_distance(self) -> float:
        """Between the middles of two bodies, units."""
        return (2.0 + _GAP) * self.radius


def _uniform(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    return torch.rand(shape, generator=generator, dtype=torch.float64)
