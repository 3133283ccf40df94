"""Windows that each follow one person through the foreground of a clip, seen through them by particles of SQAIR."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import pad

from inference.estimators.carried_filter import CarriedFilter, Particles
from inference.estimators.resampling import select_particles
from inference.metrics.boxes import box_overlaps
from pyro_models.components.glimpses import Windows
from pyro_models.sqair.model import SequentialAttendInferRepeat
from pyro_models.sqair.object_slots import ObjectSlots

NOBODY = -2  # name of an object that no particle has
SAME = 0.3  # least overlap of the boxes of one person in two particles
INSIDE = 0.98  # largest coordinate, from -1 to 1, of an object's middle in its window


class Seen(NamedTuple):
    """What the particles say about the person of each window.

    Attributes:
        chances: probability that the person is there, by weight of particles.
        boxes: mean of the box over the particles in which the person is there: left, top, right and lower edge, pixels
            of the frame; NaN if there is none.
    """

    chances: Float[Tensor, " windows"]
    boxes: Float[Tensor, "windows 4"]


@dataclass(frozen=True, eq=False)
class FollowedWindows:
    """Windows on a frame, the particles of SQAIR in each, and whom each window follows.

    Attributes:
        filter: the particle filter of the trained pair; a sequence is a window.
        corners: left and top edge, pixels of the frame.
        particles: of all windows.
        owners: name of the person followed, in each particle, `NOBODY` where the person is gone.
        level: light from which what an object shows belongs to its box.
    """

    filter: CarriedFilter
    corners: Int[Tensor, "windows 2"]
    particles: Particles
    owners: Int[Tensor, "particles windows"]
    level: float

    @classmethod
    def opened(
        cls, filter: CarriedFilter, light: Tensor, targets: Float[Tensor, "windows 2"], level: float
    ) -> FollowedWindows:
        """New windows around places, each of which follows the person found nearest to it.

        Args:
            filter: the particle filter.
            light: the frame, (height, width), from 0 to 1.
            targets: where something moves, (x, y) pixels.
            level: see the class.
        """
        corners = _corners(targets, filter.model, light)
        particles = filter.step(_cut(light, corners, filter.model), None)
        objects = _Objects.of(filter.model, particles, level)
        somebody = (objects.presence > 0).any(-1)
        best = torch.where(somebody, particles.log_weights, -torch.inf).argmax(0)
        every = torch.arange(len(corners))
        presence, boxes = objects.presence[best, every], objects.boxes[best, every]  # of the best particle
        middles = 0.5 * (boxes[..., :2] + boxes[..., 2:]) + corners[:, None]
        distances = (middles - targets[:, None]).square().sum(-1)
        nearest = torch.where(presence > 0, distances, torch.inf).argmin(-1)
        reference = boxes[every, nearest][None, :, None]
        overlaps = edge_overlaps(objects.boxes, reference.expand(len(objects.boxes), -1, -1, -1))[..., 0]
        overlaps = torch.where(objects.presence > 0, overlaps, 0.0).nan_to_num()
        closest, slot = overlaps.max(-1)
        names = objects.names.gather(-1, slot[..., None])[..., 0]
        there = (closest >= SAME) & (presence[every, nearest] > 0)
        return cls(filter, corners, particles, torch.where(there, names, NOBODY), level)

    def __len__(self) -> int:
        """Number of windows."""
        return len(self.corners)

    def seen(self) -> Seen:
        """The people of all windows."""
        objects = _Objects.of(self.filter.model, self.particles, self.level)
        own = (objects.presence > 0) & (objects.names == self.owners[..., None])
        weights = self.particles.shares[..., None] * own
        chances = weights.sum((0, 2))
        boxes = (weights[..., None] * torch.where(own[..., None], objects.boxes, 0.0)).sum((0, 2)) / chances[:, None]
        return Seen(chances, boxes + self.corners.repeat(1, 2))

    def moved(self, seen: Seen, light: Tensor) -> FollowedWindows:
        """The same, after each window has gone where its person is in the middle, if the frame's edges let it."""
        middles = 0.5 * (seen.boxes[:, :2] + seen.boxes[:, 2:])
        wanted = _corners(middles.nan_to_num(), self.filter.model, light)
        corners = torch.where(seen.chances[:, None] > 0, wanted, self.corners)
        states = _shifted(self.particles.states, corners - self.corners, self.filter.model.frame_shape[1:])
        return FollowedWindows(self.filter, corners, self.particles._replace(states=states), self.owners, self.level)

    def stepped(self, light: Tensor) -> FollowedWindows:
        """The same after one more frame, (height, width), from 0 to 1."""
        particles, ancestors = self.filter.resampled(self.particles)
        owners = select_particles(self.owners, ancestors, 2)
        particles = self.filter.step(_cut(light, self.corners, self.filter.model), particles)
        return FollowedWindows(self.filter, self.corners, particles, owners, self.level)

    def select(self, windows: Int[Tensor, " chosen"]) -> FollowedWindows:
        """Some of the windows."""
        particles = self.filter.select(self.particles, windows)
        return FollowedWindows(self.filter, self.corners[windows], particles, self.owners[:, windows], self.level)

    def joined(self, others: FollowedWindows) -> FollowedWindows:
        """These and other windows."""
        return FollowedWindows(
            self.filter,
            torch.cat([self.corners, others.corners]),
            self.filter.joined(self.particles, others.particles),
            torch.cat([self.owners, others.owners], 1),
            self.level,
        )


class _Objects(NamedTuple):
    """Objects in all windows: presence, boxes (edges, pixels of the window) of what they show, names."""

    presence: Float[Tensor, "particles windows slots"]
    boxes: Float[Tensor, "particles windows slots 4"]
    names: Int[Tensor, "particles windows slots"]

    @classmethod
    @torch.no_grad()
    def of(cls, model: SequentialAttendInferRepeat, particles: Particles, level: float) -> _Objects:
        state = particles.states[0]
        slots = ObjectSlots(*(value.flatten(0, 1) for value in state.slots))
        patches = model.patch_gain * model.decoder(slots.what)
        shown = slots.presence * (patches.amax((-2, -1)) > level)
        boxes = lit_boxes(patches, Windows.from_logits(slots.where), model.frame_shape[1:], level)
        return cls(shown, boxes, state.identities.names.flatten(0, 1))


def lit_boxes(
    patches: Float[Tensor, "*batch height width"], windows: Windows, size: tuple[int, int], level: float
) -> Float[Tensor, "*batch 4"]:
    """Boxes around what glimpses show, pasted into an image: left, top, right and lower edge, pixels.

    An edge is where the brightest pixel of a column (a row), linear in between, falls below `level`. A glimpse that is
    nowhere as bright has the box of its window. A box covers pixel i from i to i + 1.

    Args:
        patches: the glimpses.
        windows: their windows.
        size: height and width of the image, pixels.
        level: see above.
    """
    edges = []
    for axis, (profile, num) in enumerate(((patches.amax(-2), size[1]), (patches.amax(-1), size[0]))):
        low, high = _lit_span(profile, level)
        whole = low > high
        count = profile.shape[-1]
        for end, place in ((-0.5, low), (count - 0.5, high)):
            place = 2 * torch.where(whole, end, place) / (count - 1) - 1
            place = windows.scale[..., axis] * place + windows.shift[..., axis]
            edges.append(0.5 * (place + 1) * (num - 1) + 0.5)
    left, right, top, bottom = edges
    return torch.stack([left, top, right, bottom], -1)


def _lit_span(profile: Float[Tensor, "*batch line"], level: float) -> tuple[Tensor, Tensor]:
    """First and last place along a line where it crosses the level, pixels from its first; low > high if nowhere."""
    line = pad(profile, (1, 1))
    lit = line > level
    rest, drop = line - level, line.diff()
    places = torch.arange(-1, profile.shape[-1] + 1, device=line.device)
    up = places[:-1] - rest[..., :-1] / drop
    rising, falling = lit[..., 1:] & ~lit[..., :-1], lit[..., :-1] & ~lit[..., 1:]
    low = torch.where(rising, up, torch.inf).amin(-1)
    high = torch.where(falling, up, -torch.inf).amax(-1)
    return low, high


def edge_overlaps(edges: Tensor, others: Tensor) -> Tensor:
    """Intersection over union of all pairs of boxes (..., boxes, 4) given by left, top, right and lower edge."""
    sizes, other_sizes = edges[..., 2:] - edges[..., :2], others[..., 2:] - others[..., :2]
    return box_overlaps(edges[..., :2] + sizes / 2, sizes, others[..., :2] + other_sizes / 2, other_sizes)


def _corners(middles: Tensor, model: SequentialAttendInferRepeat, light: Tensor) -> Int[Tensor, "windows 2"]:
    """Corners of windows in the frame whose middles are as near as possible to those given."""
    _, height, width = model.frame_shape
    size = middles.new_tensor([width, height])
    room = middles.new_tensor([light.shape[1] - width, light.shape[0] - height])
    return torch.minimum((middles - size / 2).round().clamp(min=0), room).long()


def _cut(light: Tensor, corners: Tensor, model: SequentialAttendInferRepeat) -> Float[Tensor, "windows 1 height width"]:
    _, height, width = model.frame_shape
    rows = corners[:, 1, None, None] + torch.arange(height)[:, None]
    columns = corners[:, 0, None, None] + torch.arange(width)
    return light[rows, columns][:, None]


def seen_from(slots: ObjectSlots, moves: Int[Tensor, "windows 2"], size: tuple[int, int]) -> ObjectSlots:
    """The same objects in windows that have moved; those whose middle is outside are dropped.

    Args:
        slots: dims (..., windows, slots).
        moves: how far each window went, (x, y) pixels.
        size: height and width of a window, pixels.
    """
    steps = 2 * moves[:, None] / slots.where.new_tensor([size[1] - 1, size[0] - 1])
    shift = slots.where[..., 2:].tanh() - steps
    where = torch.cat([slots.where[..., :2], shift.clamp(-INSIDE, INSIDE).atanh()], -1)
    still = (steps == 0).all(-1, keepdim=True)
    there = still[..., 0] | (shift.abs() < INSIDE).all(-1)
    return ObjectSlots(torch.where(there, slots.presence, 0.0), torch.where(still, slots.where, where), slots.what)


def _shifted(states: tuple[Any, Any], moves: Int[Tensor, "windows 2"], size: tuple[int, int]) -> tuple[Any, Any]:
    """States of model and guide in windows that have moved."""
    objects, followed = states
    known = followed.objects
    return (
        objects._replace(slots=seen_from(objects.slots, moves, size)),
        followed._replace(objects=known._replace(slots=seen_from(known.slots, moves, size))),
    )
