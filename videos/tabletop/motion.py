"""Equal discs that slide on a table with friction and collide."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

_TINY = 1e-12
_EXACT = "donot_use_mm_for_euclid_dist"


class Bodies(NamedTuple):
    """Where bodies are and how they move.

    Attributes:
        places: (sequences, objects, 2), units.
        angles: (sequences, objects), radians, counterclockwise.
        velocities: (sequences, objects, 2), units per second.
        spins: (sequences, objects), radians per second.
    """

    places: Float[Tensor, "sequences objects 2"]
    angles: Float[Tensor, "sequences objects"]
    velocities: Float[Tensor, "sequences objects 2"]
    spins: Float[Tensor, "sequences objects"]

    def energy(self, radius: float) -> Float[Tensor, " sequences"]:
        """Kinetic energy over mass, as uniform discs of this radius, squared units per squared second."""
        turning = 0.5 * radius**2 * self.spins.square()
        return 0.5 * (self.velocities.square().sum(-1) + turning).sum(-1)


class Pushes(NamedTuple):
    """At most one push for each body, which gives it a velocity whatever it had before.

    Attributes:
        velocities: (sequences, objects, 2), velocity after the push, units per second.
        times: (sequences, objects), when, seconds after the first frame; infinity = never.
    """

    velocities: Float[Tensor, "sequences objects 2"]
    times: Float[Tensor, "sequences objects"]


class Clock(NamedTuple):
    """Times of frames and steps.

    Attributes:
        num_frames: frames that are filmed.
        num_before: frames that pass before the first of them.
        frame_rate: frames per second.
        num_substeps: steps from frame to frame.
    """

    num_frames: int
    num_before: int
    frame_rate: float
    num_substeps: int


@dataclass(frozen=True)
class Table:
    """What acts on equal uniform discs of mass 1.

    Sliding friction takes a constant part of the speed, and of the spin that which the same friction under a disc
    gives, 4 friction / (3 radius). Where two discs overlap and approach each other with speed u along the line of
    their middles, the one gets the impulse -j n - i t and the other the opposite, with

        j = (1 + restitution) u / 2,   i = slip / 6, at most grip j in size

    for the normal n, the tangent t and the speed `slip` of one surface past the other; i = slip / 6 would end it. So
    momentum is kept and energy does not grow. Discs that overlap are then moved apart, each by half the overlap.

    Args:
        radius: radius of every disc, units.
        friction: deceleration by sliding friction, units per squared second.
        restitution: speed of parting over speed of approach, 0 ... 1.
        grip: largest tangential impulse over normal impulse, at least 0; 0 = smooth discs, which never turn.
    """

    radius: float
    friction: float
    restitution: float
    grip: float

    def slide(self, bodies: Bodies, seconds: float) -> Bodies:
        """Bodies after a time without collisions, exact for constant friction."""
        speed = bodies.velocities.square().sum(-1, keepdim=True).sqrt()
        travelled, slower = _braked(speed, self.friction, seconds)
        direction = bodies.velocities / speed.clamp(min=_TINY)
        turned, spin = _braked(bodies.spins.abs(), 4.0 * self.friction / (3.0 * self.radius), seconds)
        sense = bodies.spins.sign()
        return Bodies(
            bodies.places + direction * travelled, bodies.angles + sense * turned, direction * slower, sense * spin
        )

    def collide(
        self, bodies: Bodies, exists: Bool[Tensor, "sequences objects"]
    ) -> tuple[Bodies, Bool[Tensor, " sequences"]]:
        """Bodies after the collisions of all pairs that overlap, and whether there was one.

        Pairs are taken in rounds without common bodies, as simultaneous impulses on one body could add energy.
        """
        places, angles, velocities, spins = bodies
        hit = torch.zeros_like(exists[:, 0])
        if not bool((self._overlaps(places, exists) > 0).any()):  # mostly so, and quick to see
            return bodies, hit
        for partners in _rounds(exists.shape[1]):
            # Both bodies of a pair compute the same numbers, with opposite normals and tangents.
            apart = places[:, partners] - places
            distance = apart.square().sum(-1).sqrt()
            normal = apart / distance.clamp(min=_TINY).unsqueeze(-1)
            tangent = torch.stack([-normal[..., 1], normal[..., 0]], -1)
            meet = exists & exists[:, partners] & (partners != torch.arange(len(partners)))
            overlap = (2.0 * self.radius - distance).clamp(min=0.0) * meet
            relative = velocities - velocities[:, partners]
            approach = (relative * normal).sum(-1).clamp(min=0.0)
            slip = (relative * tangent).sum(-1) + self.radius * (spins + spins[:, partners])
            push = torch.where(overlap > 0, 0.5 * (1.0 + self.restitution) * approach, 0.0)
            drag = torch.clamp(slip / 6.0, -self.grip * push, self.grip * push)
            velocities = velocities - push.unsqueeze(-1) * normal - drag.unsqueeze(-1) * tangent
            spins = spins - 2.0 * drag / self.radius
            places = places - 0.5 * overlap.unsqueeze(-1) * normal
            hit = hit | (push > 0).any(-1)
        return Bodies(places, angles, velocities, spins), hit

    def step(
        self, bodies: Bodies, exists: Bool[Tensor, "sequences objects"], seconds: float
    ) -> tuple[Bodies, Bool[Tensor, " sequences"]]:
        """Slide, then collide."""
        return self.collide(self.slide(bodies, seconds), exists)

    def roll_out(
        self, bodies: Bodies, exists: Bool[Tensor, "sequences objects"], pushes: Pushes, clock: Clock
    ) -> tuple[Float[Tensor, "sequences time objects 6"], Bool[Tensor, "sequences time"]]:
        """States (x, y, angle, vx, vy, spin) of all bodies in each frame, and whether any collided since the last.

        Args:
            bodies: at the time of the first frame, or `clock.num_before` frames earlier.
            exists: False = the body touches nothing.
            pushes: at the start of the step in which their time lies.
            clock: times.
        """
        seconds = 1.0 / (clock.frame_rate * clock.num_substeps)
        states, hits = [], []
        hit = torch.zeros_like(exists[:, 0])
        for step in range((clock.num_before + clock.num_frames - 1) * clock.num_substeps + 1):
            frame, substep = divmod(step, clock.num_substeps)
            if substep == 0:
                if frame >= clock.num_before:
                    columns = bodies.places, bodies.angles[..., None], bodies.velocities, bodies.spins[..., None]
                    states.append(torch.cat(columns, -1))
                    hits.append(hit)
                hit = torch.zeros_like(hit)
            time = (step - clock.num_before * clock.num_substeps) * seconds
            now = (pushes.times >= time) & (pushes.times < time + seconds)
            bodies = bodies._replace(velocities=torch.where(now[..., None], pushes.velocities, bodies.velocities))
            bodies, touched = self.step(bodies, exists, seconds)
            hit = hit | touched
        return torch.stack(states, 1), torch.stack(hits, 1)

    def _overlaps(self, places: Tensor, exists: Tensor) -> Tensor:
        """Depth to which each pair overlaps, (sequences, objects, objects), above the diagonal; 0 elsewhere."""
        depth = (2.0 * self.radius - torch.cdist(places, places, compute_mode=_EXACT)).clamp(min=0.0)
        return depth.triu(1) * (exists[:, None] & exists[..., None])


def _braked(speed: Tensor, brake: float, seconds: float) -> tuple[Tensor, Tensor]:
    """Distance travelled in a time under constant deceleration, and the speed that is left."""
    if brake == 0:
        return speed * seconds, speed
    time = (speed / brake).clamp(max=seconds)
    return speed * time - 0.5 * brake * time.square(), (speed - brake * seconds).clamp(min=0.0)


@cache
def _rounds(num_objects: int) -> list[Tensor]:
    """All pairs, in rounds in which each object has one partner at most (the circle method of tournaments).

    Returns:
        For each round the partner of every object, int64 (objects,); one without a partner has itself.
    """
    players = list(range(num_objects + num_objects % 2))
    rounds = []
    for _ in range(len(players) - 1):
        partners = list(range(len(players)))
        for one, other in zip(players, reversed(players), strict=True):
            partners[one] = other
        rounds.append(torch.tensor([p if p < num_objects else i for i, p in enumerate(partners[:num_objects])]))
        players = [players[0], players[-1], *players[1:-1]]
    return rounds
