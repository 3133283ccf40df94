"""Discs in a square box: starts without overlap, and elastic collisions with walls and with one another.

Positions are in units of length, with the box [0, side] x [0, side]; velocities are in units per frame. An absent disc
has radius 0 and velocity 0: it touches nothing and stays where it is.
"""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

_AT_ONCE = 16_384  # candidate placements of all discs that are tried together


class ElasticPath(NamedTuple):
    """Trajectories of discs, aligned with the frames.

    Attributes:
        states: (x, y, v_x, v_y).
        bounced: whether the disc bounced between the previous frame and this one; False in the first.
    """

    states: Float[Tensor, "sequences time discs 4"]
    bounced: Bool[Tensor, "sequences time discs"]


def place_apart(
    radii: Float[Tensor, "sequences discs"], low: float, high: float, generator: torch.Generator
) -> Float[Tensor, "sequences discs 2"]:
    """Centres uniform on [low, high]^2, given that no two discs overlap.

    All centres of a sequence are drawn again until none overlap (rejection), so the result is uniform over all
    placements without overlap. An attempt ends at the first disc that overlaps an earlier one. There is no limit to the
    number of attempts: the caller ensures that the discs fit with a probability that is not tiny.

    Args:
        radii: units, on the CPU; 0 = an absent disc, which may overlap others.
        low: smallest coordinate of a centre, units.
        high: largest coordinate of a centre, units.
        generator: source of randomness.
    """
    centers = radii.new_zeros(*radii.shape, 2)
    waiting = torch.arange(len(radii))
    while len(waiting):
        sequence = waiting.repeat_interleave(max(1, _AT_ONCE // len(waiting)))
        placed = radii.new_empty(len(sequence), 0, 2)
        for disc in range(radii.shape[1]):
            drawn = torch.rand(len(sequence), 1, 2, generator=generator, dtype=radii.dtype)
            drawn = low + (high - low) * drawn
            own, earlier = radii[sequence, disc, None], radii[sequence, :disc]
            gap = (placed - drawn).square().sum(-1) - (own + earlier).square()
            apart = ((gap >= 0) | (own == 0) | (earlier == 0)).all(-1)
            placed, sequence = torch.cat([placed, drawn], 1)[apart], sequence[apart]
        first = sequence.diff(prepend=torch.tensor([-1])) > 0  # of the successful attempts of each sequence
        centers[sequence[first]] = placed[first]
        waiting = waiting[~torch.isin(waiting, sequence)]
    return centers


def roll_out_elastic(
    states: Float[Tensor, "sequences discs 4"],
    radii: Float[Tensor, "sequences discs"],
    masses: Float[Tensor, "sequences discs"],
    num_frames: int,
    side: float,
    substeps: int,
) -> ElasticPath:
    """Trajectories of discs that collide elastically, by the scheme of Sutskever, Hinton and Taylor (2008).

    Each sub-step moves all discs by dt v with dt = 1 / substeps, reverses the velocity of those that overlap a wall
    towards the inside, and then, for every pair that overlaps and approaches, exchanges momentum along the line of
    centres w = (x_i - x_j) / |x_i - x_j|:

        v_i <- v_i - 2 m_j / (m_i + m_j) (w . (v_i - v_j)) w,     the same for j

    which conserves energy and momentum. Discs that recede do not collide, so they cannot stick together. Pairs are
    visited in rounds of disjoint pairs. The order of rounds matters only for a disc that touches several others in one
    sub-step.

    Args:
        states: (x, y, v_x, v_y) in the first frame.
        radii: units; 0 = absent.
        masses: any unit.
        num_frames: number of frames, at least 1.
        side: side of the box, units.
        substeps: sub-steps per frame.
    """
    contacts = []
    for partner in _rounds(radii.shape[1]):
        partner = partner.to(radii.device)
        both = (radii > 0) & (radii[:, partner] > 0)
        reach = torch.where(both, (radii + radii[:, partner]).square(), 0.0)
        contacts.append((partner, reach, 2.0 * masses[:, partner] / (masses + masses[:, partner])))
    edge = radii.unsqueeze(-1)
    position, velocity = states[..., :2], states[..., 2:]
    path, hits = [states], [torch.zeros_like(radii, dtype=torch.bool)]
    for _ in range(num_frames - 1):
        bounced = torch.zeros_like(hits[0])
        for _ in range(substeps):
            position = torch.add(position, velocity, alpha=1.0 / substeps)
            before, speed = velocity, velocity.abs()
            velocity = torch.where(position < edge, speed, torch.where(position > side - edge, -speed, velocity))
            bounced |= (velocity != before).any(-1)
            for partner, reach, share in contacts:
                offset, relative = position - position[:, partner], velocity - velocity[:, partner]
                squared, closing = offset.square().sum(-1), (offset * relative).sum(-1)
                hit = (squared < reach) & (closing < 0)
                bounced |= hit
                velocity = velocity - torch.where(hit, share * closing / squared, 0.0).unsqueeze(-1) * offset
        path.append(torch.cat([position, velocity], -1))
        hits.append(bounced)
    return ElasticPath(torch.stack(path, 1), torch.stack(hits, 1))


def _rounds(count: int) -> list[Int[Tensor, " discs"]]:
    """Partners of each disc in the rounds of a round-robin tournament, in which every pair meets once.

    With an odd number of discs one has itself as partner in each round.
    """
    seats = list(range(count + count % 2))
    rounds = []
    for _ in range(len(seats) - 1):
        partner = torch.arange(len(seats))
        for one, other in zip(seats, reversed(seats), strict=True):
            partner[one] = other
        partner = partner[:count]
        rounds.append(torch.where(partner < count, partner, torch.arange(count)))
        seats = [seats[0], seats[-1], *seats[1:-1]]
    return rounds
