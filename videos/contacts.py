"""How a disc bounces off walls: in the engine of the KVAE data, and in textbook physics.

Coordinates are the authors' (pixels, y up), velocities in pixels per time unit, in float64 throughout: contacts are
yes-or-no decisions, some of which single precision would change.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

# Chipmunk's defaults, which the authors did not change.
_SLOP = 0.1  # overlap that is not pushed out, pixels
_KEPT_OVERLAP_PER_TIME = 0.9**60  # share of the overlap that is left after one time unit
_ITERATIONS = 10  # sweeps of the impulse solver
_MAX_CONTACTS = 2  # simultaneous contacts of a disc with walls: no world has three walls within reach of a point


@dataclass(frozen=True)
class Walls:
    """Straight walls: segments thickened by a radius, for one sequence each or shared by all.

    Args:
        starts: (sequences or 1, walls, 2), pixels, y up.
        ends: (sequences or 1, walls, 2).
        radii: (walls,), half the thickness of each wall in pixels.
    """

    starts: Float[Tensor, "#sequences walls 2"]
    ends: Float[Tensor, "#sequences walls 2"]
    radii: Float[Tensor, " walls"]


@dataclass(frozen=True)
class Contacts:
    """Contacts of a disc after a step, in the order in which the engine's solver visits the walls.

    Args:
        normals: (sequences, 2, 2), unit vectors from the wall to the disc.
        overlaps: (sequences, 2), pixels, positive where the disc and the wall overlap.
        bounced: bool (sequences,), whether any wall changed the velocity.
    """

    normals: Float[Tensor, "sequences contacts 2"]
    overlaps: Float[Tensor, "sequences contacts"]
    bounced: Bool[Tensor, " sequences"]


@dataclass(frozen=True)
class Disc:
    """A moving disc of unit mass.

    Args:
        position: (sequences, 2), pixels, y up.
        velocity: (sequences, 2), pixels per time unit.
        push: (sequences, 2), velocity by which the engine removes an overlap during the next step only.
    """

    position: Float[Tensor, "sequences 2"]
    velocity: Float[Tensor, "sequences 2"]
    push: Float[Tensor, "sequences 2"]


def engine_step(
    disc: Disc, walls: Walls, radius: float, restitution: float, gravity: Float[Tensor, " 2"], time_step: float
) -> tuple[Disc, Contacts]:
    """One step in the order of operations of Chipmunk 7 (static walls, no friction, no spin).

    Move by velocity and push; find overlaps; add gravity; then ten Gauss-Seidel sweeps over the contacts, each with
    target speed restitution times the approach speed from before gravity, and never pulling. The disc therefore sinks
    into a wall before it bounces. Walls added last are visited first. For walls at right angles one sweep is exact; at
    other angles ten sweeps do not converge, which shows in the data.

    Args:
        disc: position, velocity and push of the disc.
        walls: the walls of this step.
        radius: radius of the disc, pixels.
        restitution: elasticity of disc times elasticity of wall.
        gravity: (2,), pixels per squared time unit.
        time_step: length of the step in time units.
    """
    position = torch.add(disc.position, disc.velocity + disc.push, alpha=time_step)
    offset, distance = _nearest(position, walls)
    overlap = walls.radii + radius - distance
    # The deepest two overlaps, then the later wall first.
    order = overlap.topk(_MAX_CONTACTS, -1).indices.sort(-1, descending=True).values
    overlap = overlap.gather(-1, order)
    picked = order.unsqueeze(-1).expand(-1, -1, 2)
    normals = offset.gather(1, picked) / distance.gather(1, order).clamp(min=1e-12).unsqueeze(-1)

    velocity = torch.add(disc.velocity, gravity, alpha=time_step)
    before = (normals * disc.velocity.unsqueeze(1)).sum(-1)
    after = (normals * velocity.unsqueeze(1)).sum(-1)
    push = (overlap - _SLOP).clamp_(min=0.0) * ((1.0 - _KEPT_OVERLAP_PER_TIME**time_step) / time_step)
    # Impulse and push obey the same recursion in the two contacts, so both are solved as one: (2 kinds, sequences,
    # contacts).
    wanted = torch.stack([-restitution * before - after, push])
    wanted = wanted.masked_fill_(overlap <= 0, -torch.inf)  # no overlap, no impulse
    impulses = _solve_two_contacts(wanted, (normals[:, 0] * normals[:, 1]).sum(-1))
    changes = (impulses.unsqueeze(-1) * normals).sum(-2)
    bounced = (impulses[0] > 0).any(-1)
    return Disc(position, velocity + changes[0], changes[1]), Contacts(normals, overlap, bounced)


def _nearest(
    position: Float[Tensor, "sequences 2"], walls: Walls
) -> tuple[Float[Tensor, "sequences walls 2"], Float[Tensor, "sequences walls"]]:
    """Vector from the nearest point of each wall's segment to the disc, and its length."""
    span = walls.ends - walls.starts
    relative = position.unsqueeze(1) - walls.starts
    along = ((relative * span).sum(-1) / (span * span).sum(-1)).clamp_(0.0, 1.0)
    offset = torch.addcmul(relative, along.unsqueeze(-1), span, value=-1)
    return offset, torch.linalg.vector_norm(offset, dim=-1)


def _solve_two_contacts(
    wanted: Float[Tensor, "kinds sequences 2"], cosine: Float[Tensor, " sequences"]
) -> Float[Tensor, "kinds sequences 2"]:
    """Projected Gauss-Seidel for j_1 = max(0, wanted_1 - cosine j_2) and j_2 = max(0, wanted_2 - cosine j_1)."""
    first_wanted, second_wanted = wanted.unbind(-1)
    second = torch.zeros_like(second_wanted)
    first = second
    for _ in range(_ITERATIONS):
        first = torch.addcmul(first_wanted, cosine, second, value=-1).relu_()
        second = torch.addcmul(second_wanted, cosine, first, value=-1).relu_()
    return torch.stack([first, second], -1)


@dataclass(frozen=True)
class HalfPlanes:
    """The convex region that the centre of a disc may reach: normals . position >= offsets.

    Args:
        normals: (walls, 2), unit vectors into the region.
        offsets: (walls,), pixels.
    """

    normals: Float[Tensor, "walls 2"]
    offsets: Float[Tensor, " walls"]

    @staticmethod
    def inside(walls: Walls, middle: tuple[float, float], reach: float) -> "HalfPlanes":
        """The side of static walls on which `middle` lies, kept `reach` pixels away from their surfaces."""
        starts, span = walls.starts[0], walls.ends[0] - walls.starts[0]
        normals = torch.stack([-span[:, 1], span[:, 0]], -1)
        normals = normals / torch.linalg.vector_norm(normals, dim=-1, keepdim=True)
        to_middle = ((torch.tensor(middle, dtype=starts.dtype, device=starts.device) - starts) * normals).sum(-1)
        normals = normals * to_middle.sign().unsqueeze(-1)
        return HalfPlanes(normals, (normals * starts).sum(-1) + walls.radii + reach)

    def margins(self, positions: Float[Tensor, "*batch 2"]) -> Float[Tensor, "*batch walls"]:
        """Distance of each position from each bound, negative outside."""
        return positions @ self.normals.T - self.offsets


def ideal_step(
    disc: Disc,
    region: HalfPlanes,
    restitution: float,
    gravity: Float[Tensor, " 2"],
    time_step: float,
    max_bounces: int = 4,
) -> tuple[Disc, Contacts]:
    """One step of exact flight and reflection: the centre stays in the region and bounces off its boundary.

    Between bounces p(t) = p + v t + g t^2 / 2; at a bounce the normal velocity v_n becomes -restitution v_n.

    Args:
        disc: position and velocity of the disc.
        region: allowed region of its centre.
        restitution: elasticity of disc times elasticity of wall.
        gravity: (2,), pixels per squared time unit.
        time_step: length of the step in time units.
        max_bounces: bounces within one step; a corner of 90 degrees or more needs two.
    """
    position, velocity = disc.position, disc.velocity
    remaining = position.new_full(position.shape[:1], time_step)
    bounced = torch.zeros_like(remaining, dtype=torch.bool)
    pull = region.normals @ gravity
    for _ in range(max_bounces):
        wait, wall = _time_to_wall(region.margins(position), velocity @ region.normals.T, pull).min(-1)
        bounces = wait < remaining
        flight = torch.minimum(wait, remaining).unsqueeze(-1)
        position = position + velocity * flight + 0.5 * gravity * flight.square()
        velocity = velocity + gravity * flight
        normal = region.normals[wall]
        approach = (velocity * normal).sum(-1).clamp(max=0.0) * bounces
        velocity = velocity - ((1.0 + restitution) * approach).unsqueeze(-1) * normal
        remaining = remaining - flight.squeeze(-1)
        bounced = bounced | bounces
    flight = remaining.unsqueeze(-1)
    position = position + velocity * flight + 0.5 * gravity * flight.square()
    velocity = velocity + gravity * flight
    # Nothing overlaps, so no contact is reported.
    normals = torch.zeros_like(position).unsqueeze(1).expand(-1, _MAX_CONTACTS, -1)
    return Disc(position, velocity, disc.push), Contacts(normals, normals[..., 0], bounced)


def _time_to_wall(
    margin: Float[Tensor, "sequences walls"], speed: Float[Tensor, "sequences walls"], pull: Float[Tensor, " walls"]
) -> Float[Tensor, "sequences walls"]:
    """Time at which margin + speed t + pull t^2 / 2 falls through zero, infinity if never.

    Approaching walls use 2 margin / (root - speed), receding ones that the pull brings back (-speed - root) / pull:
    each is free of cancellation where it is used.
    """
    margin = margin.clamp(min=0.0)
    root = (speed.square() - 2.0 * pull * margin).sqrt()  # NaN: turns back before the wall
    approaching = torch.where(speed < 0, 2.0 * margin / (root - speed), torch.inf)
    returning = torch.where((speed >= 0) & (pull < 0), (-speed - root) / pull, torch.inf)
    wait = torch.minimum(approaching, returning)
    return torch.where(wait.isnan(), torch.inf, wait)
