"""The engine's bounce against a plain Python one, contact by contact; ideal flight against its invariants."""

import math

import pytest
import torch

from videos.contacts import Disc, HalfPlanes, Walls, engine_step, ideal_step

HEXAGON = [(3.0, 1.0), (1.0, 15.0), (8.0, 30.0), (25.0, 30.0), (30.0, 8.0), (15.0, 1.0)]


def walls_through(corners: list[tuple[float, float]], radius: float = 0.0) -> Walls:
    ends = torch.tensor(corners, dtype=torch.float64)
    return Walls(ends[None], ends.roll(-1, 0)[None], torch.full((len(corners),), radius, dtype=torch.float64))


def plain_engine_step(state, walls, radius, restitution, gravity, dt):
    """Chipmunk's step for one disc, with lists and floats: every wall in turn, ten times, the last wall first."""
    (px, py), (vx, vy), (bx, by) = state
    px, py, bx, by = px + (vx + bx) * dt, py + (vy + by) * dt, 0.0, 0.0
    contacts = []
    for (x0, y0), (x1, y1), wall_radius in reversed(walls):
        dx, dy = x1 - x0, y1 - y0
        along = min(max(((px - x0) * dx + (py - y0) * dy) / (dx * dx + dy * dy), 0.0), 1.0)
        nx, ny = px - x0 - along * dx, py - y0 - along * dy
        length = math.hypot(nx, ny)
        depth = radius + wall_radius - length
        if depth > 0:
            nx, ny = nx / length, ny / length
            push = (1 - 0.9 ** (60 * dt)) * max(0.0, depth - 0.1) / dt
            contacts.append([nx, ny, restitution * (vx * nx + vy * ny), push, 0.0, 0.0])
    vx, vy = vx + gravity[0] * dt, vy + gravity[1] * dt
    for _ in range(10):
        for contact in contacts:
            nx, ny, bounce, push, impulse, bias = contact
            new_bias = max(bias + push - (bx * nx + by * ny), 0.0)
            new_impulse = max(impulse - (bounce + vx * nx + vy * ny), 0.0)
            bx, by = bx + (new_bias - bias) * nx, by + (new_bias - bias) * ny
            vx, vy = vx + (new_impulse - impulse) * nx, vy + (new_impulse - impulse) * ny
            contact[4:] = new_impulse, new_bias
    return ((px, py), (vx, vy), (bx, by)), len(contacts), any(contact[4] > 0 for contact in contacts)


@pytest.mark.parametrize(("restitution", "gravity", "radius"), [(1.0, (0.0, 0.0), 0.0), (0.7, (0.5, -5.0), 0.5)])
def test_engine_step_is_the_plain_one(restitution, gravity, radius):
    generator = torch.Generator().manual_seed(0)
    corners = torch.tensor(HEXAGON, dtype=torch.float64)
    # Near the corners, where two walls are touched at once and the ten sweeps have not converged.
    position = corners.repeat(40, 1) * 0.85 + 16 * 0.15 + torch.randn(240, 2, generator=generator, dtype=torch.float64)
    velocity = 12 * torch.randn(240, 2, generator=generator, dtype=torch.float64)
    push = torch.randn(240, 2, generator=generator, dtype=torch.float64)
    walls = walls_through(HEXAGON, radius)
    after, contacts = engine_step(
        Disc(position, velocity, push), walls, 3.0, restitution, torch.tensor(gravity, dtype=torch.float64), 0.2
    )
    lists = list(zip(walls.starts[0].tolist(), walls.ends[0].tolist(), walls.radii.tolist(), strict=True))
    counts = []
    for row in range(240):
        state = (position[row].tolist(), velocity[row].tolist(), push[row].tolist())
        expected, count, bounced = plain_engine_step(state, lists, 3.0, restitution, gravity, 0.2)
        counts.append(count)
        got = torch.stack([after.position[row], after.velocity[row], after.push[row]])
        torch.testing.assert_close(got, torch.tensor(expected, dtype=torch.float64), rtol=0, atol=1e-9)
        assert int((contacts.overlaps[row] > 0).sum()) == count
        assert bool(contacts.bounced[row]) == bounced
    assert {0, 1, 2} == set(counts)


def test_engine_conserves_speed_in_a_box_without_gravity():
    corners = [(2.0, 2.0), (2.0, 30.0), (30.0, 30.0), (30.0, 2.0)]
    generator = torch.Generator().manual_seed(1)
    angle = 6.28 * torch.rand(50, generator=generator, dtype=torch.float64)
    velocity = 14 * torch.stack([angle.cos(), angle.sin()], -1)
    disc = Disc(
        6 + 20 * torch.rand(50, 2, generator=generator, dtype=torch.float64), velocity, torch.zeros_like(velocity)
    )
    walls, gravity, hits = walls_through(corners), torch.zeros(2, dtype=torch.float64), 0
    for _ in range(40):
        disc, contacts = engine_step(disc, walls, 3.0, 1.0, gravity, 0.2)
        hits += int(contacts.bounced.sum())
        assert (contacts.normals.norm(dim=-1) - 1).abs().max() < 1e-12
    assert hits > 100
    torch.testing.assert_close(disc.velocity.norm(dim=-1), velocity.norm(dim=-1), rtol=0, atol=1e-9)


def test_engine_pushes_an_overlapping_disc_out():
    walls = Walls(
        torch.tensor([[[0.0, 0.0], [0.0, 50.0]]]).double(),
        torch.tensor([[[50.0, 0.0], [50.0, 50.0]]]).double(),
        torch.zeros(2).double(),
    )
    still = torch.zeros(1, 2, dtype=torch.float64)
    disc = Disc(torch.tensor([[25.0, 1.0]], dtype=torch.float64), still, still)
    heights = []
    for _ in range(30):
        disc, _ = engine_step(disc, walls, 3.0, 1.0, still[0], 0.2)
        heights.append(disc.position[0, 1].item())
    # Each step works off 1 - 0.9^12 of what exceeds the slop of 0.1 pixels.
    assert heights[1] - 1.0 == pytest.approx((1 - 0.9**12) * 1.9, abs=1e-12)
    assert heights[-1] == pytest.approx(2.9, abs=1e-6)
    assert disc.velocity.abs().max() == 0


def region_of(corners: list[tuple[float, float]], reach: float = 3.0) -> HalfPlanes:
    return HalfPlanes.inside(walls_through(corners), (16.0, 16.0), reach)


def test_region_is_the_polygon_moved_inwards():
    region = region_of(HEXAGON)
    assert (region.margins(torch.tensor([16.0, 16.0]).double()) > 0).all()
    on_lowest_wall = torch.tensor([9.0, 1.0], dtype=torch.float64)  # the wall from (15, 1) to (3, 1)
    assert region.margins(on_lowest_wall)[5].item() == pytest.approx(-3.0, abs=1e-12)


@pytest.mark.parametrize("pull", [0.0, -5.0])
def test_ideal_flight_stays_inside_and_conserves_energy(pull):
    region, gravity = region_of(HEXAGON), torch.tensor([0.0, pull], dtype=torch.float64)
    generator = torch.Generator().manual_seed(2)
    position = 16 + 2 * torch.randn(60, 2, generator=generator, dtype=torch.float64)
    velocity = 9 * torch.randn(60, 2, generator=generator, dtype=torch.float64)
    disc, hits = Disc(position, velocity, torch.zeros_like(position)), 0

    def energy(disc: Disc) -> torch.Tensor:
        return 0.5 * disc.velocity.square().sum(-1) - disc.position @ gravity

    before = energy(disc)
    for _ in range(100):
        disc, contacts = ideal_step(disc, region, 1.0, gravity, 0.2)
        hits += int(contacts.bounced.sum())
        assert region.margins(disc.position).min() > -1e-9
    assert hits > 500
    torch.testing.assert_close(energy(disc), before, rtol=0, atol=1e-9)


def test_ideal_box_is_periodic():
    # In x a ball returns with its velocity after 44 / |v_x|: twice the 22 pixels that are free to its centre.
    region = region_of([(2.0, 2.0), (2.0, 30.0), (30.0, 30.0), (30.0, 2.0)])
    steps, position, still = 25, torch.tensor([[11.0, 9.0]], dtype=torch.float64), torch.zeros(2, dtype=torch.float64)
    velocity = torch.tensor([[44.0 / (0.2 * steps), 3.0]], dtype=torch.float64)
    disc = Disc(position, velocity, torch.zeros_like(position))
    for _ in range(steps):
        disc, _ = ideal_step(disc, region, 1.0, still, 0.2)
    torch.testing.assert_close(disc.position[:, 0], position[:, 0], rtol=0, atol=1e-9)
    torch.testing.assert_close(disc.velocity[:, 0], velocity[:, 0], rtol=0, atol=1e-12)


def test_ideal_bounces_lose_speed_along_the_normal_only():
    region = region_of([(2.0, 2.0), (2.0, 30.0), (30.0, 30.0), (30.0, 2.0)])
    still = torch.zeros(1, 2, dtype=torch.float64)
    disc = Disc(torch.tensor([[26.0, 16.0]]).double(), torch.tensor([[10.0, 1.0]]).double(), still)
    disc, contacts = ideal_step(disc, region, 0.5, still[0], 0.2)
    assert contacts.bounced.all()
    torch.testing.assert_close(disc.velocity, torch.tensor([[-5.0, 1.0]]).double())
    torch.testing.assert_close(disc.position, torch.tensor([[27.0 - 0.1 * 5.0, 16.2]]).double())


def test_ideal_fall_bounces_as_the_parabola_says():
    # Dropped from 11.25 pixels over the floor at rest: impact after sqrt(2 h / g), back at the top after twice that.
    region = region_of([(2.0, 2.0), (2.0, 30.0), (30.0, 30.0), (30.0, 2.0)])
    gravity, still = torch.tensor([0.0, -5.0]).double(), torch.zeros(1, 2, dtype=torch.float64)
    period = 2 * math.sqrt(2 * 11.25 / 5.0)
    disc = Disc(torch.tensor([[16.0, 5.0 + 11.25]]).double(), still, still)
    for _ in range(30):
        disc, _ = ideal_step(disc, region, 1.0, gravity, period / 30)
    torch.testing.assert_close(disc.position, torch.tensor([[16.0, 16.25]]).double(), rtol=0, atol=1e-9)
