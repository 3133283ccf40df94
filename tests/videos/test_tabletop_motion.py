"""Discs on a table: textbook collisions and friction, what is kept and what never grows."""

import math

import pytest
import torch

from videos import TabletopScenes
from videos.tabletop.motion import Bodies, Clock, Pushes, Table

RADIUS = 0.35


def bodies(places, velocities, spins=None):
    places, velocities = (torch.tensor([value], dtype=torch.float64) for value in (places, velocities))
    spins = torch.zeros(places.shape[:2]).double() if spins is None else torch.tensor([spins], dtype=torch.float64)
    return Bodies(places, torch.zeros_like(spins), velocities, spins)


def crowd(num_sequences, num_objects, seed, spread=0.7, speed=2.0):
    """Overlapping bodies that move in all directions."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return 2.0 * torch.rand(num_sequences, num_objects, *shape, generator=generator, dtype=torch.float64) - 1.0

    return Bodies(spread * draw(2), draw(), speed * draw(2), 3.0 * draw())


def everyone(state):
    return torch.ones(state.spins.shape, dtype=torch.bool)


def no_push(state):
    return Pushes(torch.zeros_like(state.places), torch.full_like(state.spins, math.inf))


def test_equal_discs_exchange_their_velocities_head_on():
    start = bodies([[0.0, 0.0], [0.69, 0.0]], [[2.0, 0.0], [-1.0, 0.0]])
    after, hit = Table(RADIUS, 0.0, 1.0, 0.3).collide(start, everyone(start))
    assert hit.all()
    assert torch.allclose(after.velocities[0], torch.tensor([[-1.0, 0.0], [2.0, 0.0]], dtype=torch.float64))
    assert torch.allclose(after.places[0, :, 0], torch.tensor([-0.005, 0.695], dtype=torch.float64))
    half = Table(RADIUS, 0.0, 0.5, 0.3).collide(start, everyone(start))[0].velocities[0, :, 0]
    assert (half[1] - half[0]).item() == pytest.approx(0.5 * 3.0)  # parting over approach
    assert half.sum().item() == pytest.approx(1.0)


def test_discs_that_part_or_do_not_exist_do_not_collide():
    parting = bodies([[0.0, 0.0], [0.69, 0.0]], [[-2.0, 0.0], [1.0, 0.0]])
    after, hit = Table(RADIUS, 0.0, 1.0, 0.3).collide(parting, everyone(parting))
    assert not hit.any()
    assert torch.equal(after.velocities, parting.velocities)
    meeting = bodies([[0.0, 0.0], [0.5, 0.0]], [[2.0, 0.0], [-1.0, 0.0]])
    after, hit = Table(RADIUS, 0.0, 1.0, 0.3).collide(meeting, torch.tensor([[True, False]]))
    assert not hit.any()
    assert all(torch.equal(one, other) for one, other in zip(after, meeting, strict=True))


def test_a_firm_grip_ends_the_slip_and_keeps_both_momenta():
    """Touching discs in an oblique collision, by the equations of impulse for uniform discs."""
    direction = torch.tensor([0.6, 0.8], dtype=torch.float64)
    start = bodies([[0.0, 0.0], (2 * (RADIUS - 1e-9) * direction).tolist()], [[2.0, 0.5], [-0.3, 0.1]], [1.0, -4.0])
    after, _ = Table(RADIUS, 0.0, 0.8, 100.0).collide(start, everyone(start))
    tangent = torch.tensor([-0.8, 0.6], dtype=torch.float64)

    def slip(state):
        relative = state.velocities[0, 0] - state.velocities[0, 1]
        return (relative @ tangent + RADIUS * state.spins.sum()).item()

    def turning(state):
        x, y = state.places[0].unbind(-1)
        vx, vy = state.velocities[0].unbind(-1)
        return (x * vy - y * vx + 0.5 * RADIUS**2 * state.spins[0]).sum().item()

    assert abs(slip(start)) > 0.5
    assert slip(after) == pytest.approx(0.0, abs=1e-9)
    assert turning(after) == pytest.approx(turning(start), abs=1e-8)
    assert torch.allclose(after.velocities.sum(1), start.velocities.sum(1))
    # a smooth disc keeps its spin, a weak grip is limited by the normal impulse
    smooth, _ = Table(RADIUS, 0.0, 0.8, 0.0).collide(start, everyone(start))
    assert torch.equal(smooth.spins, start.spins)
    weak, _ = Table(RADIUS, 0.0, 0.8, 0.01).collide(start, everyone(start))
    change = weak.velocities[0, 1] - start.velocities[0, 1]
    assert abs((change @ tangent) / (change @ direction)).item() == pytest.approx(0.01)


@pytest.mark.parametrize("num_objects", [2, 3, 4, 5, 6])
@pytest.mark.parametrize(("restitution", "grip"), [(1.0, 0.0), (1.0, 0.5), (0.6, 0.3), (0.0, 0.0)])
def test_collisions_keep_momentum_and_add_no_energy(num_objects, restitution, grip):
    start = crowd(200, num_objects, seed=num_objects)
    after, hit = Table(RADIUS, 0.0, restitution, grip).collide(start, everyone(start))
    assert hit.float().mean() > 0.1
    assert torch.allclose(after.velocities.sum(1), start.velocities.sum(1), atol=1e-12)
    assert torch.allclose(after.places.sum(1), start.places.sum(1), atol=1e-12)
    before, later = start.energy(RADIUS), after.energy(RADIUS)
    assert (later <= before + 1e-12).all()
    if restitution == 1.0 and grip == 0.0:
        assert torch.allclose(before, later)
    else:
        assert (later < before - 1e-9)[hit].float().mean() > 0.9


def test_every_pair_collides():
    for num_objects in (2, 3, 4, 5, 6):
        for one in range(num_objects):
            for other in range(one):
                places = [[3.0 * number, 0.0] for number in range(num_objects)]
                places[one] = [places[other][0] + 0.6, 0.0]
                velocities = [[0.0, 0.0] for _ in places]
                velocities[other] = [1.0, 0.0]
                start = bodies(places, velocities)
                after, hit = Table(RADIUS, 0.0, 1.0, 0.0).collide(start, everyone(start))
                assert hit.all()
                assert after.velocities[0, one, 0].item() == pytest.approx(1.0)
                assert after.velocities[0].abs().sum().item() == pytest.approx(1.0)


def test_energy_never_grows_over_time_and_bodies_come_to_rest():
    table, start = Table(RADIUS, 0.6, 0.8, 0.3), crowd(50, 5, seed=3)
    exists = everyone(start)
    state, energy = start, [start.energy(RADIUS)]
    for _ in range(60):
        state, _ = table.step(state, exists, 0.02)
        energy.append(state.energy(RADIUS))
    change = torch.stack(energy).diff(dim=0)
    assert (change <= 1e-12).all()
    assert (change[-1] < 0).any()
    for _ in range(300):
        state, _ = table.step(state, exists, 0.02)
    assert not state.velocities.any()
    assert not state.spins.any()


def test_free_bodies_slide_as_far_as_friction_lets_them():
    start = bodies([[0.0, 0.0], [0.0, 5.0]], [[1.8, 2.4], [0.0, 0.0]], [-5.0, 0.0])
    table = Table(RADIUS, 0.6, 0.8, 0.3)
    short = table.slide(start, 2.0)  # 3 units per second, of which 1.2 are lost
    assert short.places[0, 0].tolist() == pytest.approx([0.6 * 4.8, 0.8 * 4.8])
    assert short.velocities[0, 0].tolist() == pytest.approx([0.6 * 1.8, 0.8 * 1.8])
    rest = table.slide(start, 100.0)
    assert rest.places[0, 0].tolist() == pytest.approx([0.6 * 7.5, 0.8 * 7.5])  # v^2 / 2a
    assert rest.angles[0].tolist() == pytest.approx([-25.0 / (2 * 4 * 0.6 / (3 * RADIUS)), 0.0])
    assert not rest.velocities.any()
    assert torch.equal(rest.places[0, 1], start.places[0, 1])
    state = start
    for _ in range(100):
        state = table.slide(state, 0.02)
    assert torch.allclose(state.places, short.places)
    smooth = Table(RADIUS, 0.0, 0.8, 0.3).slide(start, 2.0)
    assert smooth.places[0, 0].tolist() == pytest.approx([3.6, 4.8])


def test_frames_hits_and_pushes_are_on_time():
    """A push after one and a half frames sends a body half a unit a frame towards another 1.7 units away."""
    start = bodies([[0.0, 0.0], [1.7, 0.0]], [[0.0, 0.0], [0.0, 0.0]])
    velocities = torch.tensor([[[5.0, 0.0], [9.0, 9.0]]], dtype=torch.float64)
    pushes = Pushes(velocities, torch.tensor([[0.152, math.inf]], dtype=torch.float64))
    table = Table(RADIUS, 0.0, 1.0, 0.0)
    state, hits = table.roll_out(start, everyone(start), pushes, Clock(6, 0, 10.0, 20))  # steps of 0.005 seconds
    assert state[0, :4, 0, 0].tolist() == pytest.approx([0.0, 0.0, 0.25, 0.75])
    assert state[0, :4, 1, 0].tolist() == pytest.approx([1.7] * 4)
    assert hits[0].tolist() == [False, False, False, False, True, False]  # after 0.15 + 1.0 / 5 seconds
    assert state[0, 5, 1, 3].item() == pytest.approx(5.0)
    assert state[0, 5, 0, 3].item() == pytest.approx(0.0)
    later, _ = table.roll_out(start, everyone(start), pushes, Clock(6, 2, 10.0, 20))
    assert torch.allclose(later[0, 0], state[0, 0])  # nothing happens before the first frame
    early = pushes._replace(times=pushes.times - 0.2)
    later, late_hits = table.roll_out(start, everyone(start), early, Clock(4, 2, 10.0, 20))
    assert torch.allclose(later[0], state[0, 2:])
    assert torch.equal(late_hits[0], hits[0, 2:])


def test_bodies_of_scenes_overlap_by_little_and_collide():
    world = TabletopScenes(min_objects=5, friction=0.3, still=0.4)
    generator = torch.Generator().manual_seed(0)
    exists = torch.ones(400, 5, dtype=torch.bool)
    start, stands = world._regions.draw((400, 5), world.still, generator)
    pushes = world._regions.pushes(start, stands, world.speed, world._push_times, generator)
    state, hits = world.table.roll_out(start, exists, pushes, Clock(60, 12, 12.5, world.num_substeps))
    places = state[..., :2]
    distance = (places[..., :, None, :] - places[..., None, :, :]).norm(dim=-1) + 9.0 * torch.eye(5)
    assert hits.any(1).float().mean() > 0.3
    assert distance.min() > 2 * world.radius - 0.05 * world.radius
    start_distance = torch.cdist(start.places, start.places) + 9.0 * torch.eye(5)
    assert start_distance.min() > 2.19 * world.radius
