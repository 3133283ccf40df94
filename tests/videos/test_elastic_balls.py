"""Elastic collisions against formulas, conservation laws and a loop over pairs; starts against rejection one by one."""

import math

import pytest
import torch

from videos.elastic_balls import _rounds, place_apart, roll_out_elastic
from videos.massive_balls import MASSES, RADII, SIDE, STARTS, SUBSTEPS

FRAMES = 500


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def drawn(num_sequences, num_balls, seed=0):
    """Starts, radii and masses of balls of both kinds, faster than those of the data."""
    draws = generator(seed)
    kinds = torch.randint(0, 2, (num_sequences, num_balls), generator=draws)
    radii, masses = (torch.tensor(values, dtype=torch.float64)[kinds] for values in (RADII, MASSES))
    velocities = 0.2 * torch.randn(num_sequences, num_balls, 2, generator=draws, dtype=torch.float64)
    return torch.cat([place_apart(radii, *STARTS, draws), velocities], -1), radii, masses


def energies(states, masses):
    return (0.5 * masses[:, None] * states[..., 2:].square().sum(-1)).sum(-1)


def rolled(states, radii, masses, num_frames=FRAMES):
    return roll_out_elastic(states, radii, masses, num_frames, SIDE, SUBSTEPS)


def test_a_light_ball_meets_a_heavy_one_head_on():
    states = torch.tensor([[[4.0, 5.0, 1.0, 0.0], [6.0, 5.0, 0.0, 0.0]]], dtype=torch.float64)
    radii, masses = torch.tensor([[0.8, 1.0]]).double(), torch.tensor([[1.0, 6.0]]).double()
    path = rolled(states, radii, masses, 2)
    expected = torch.tensor([[-5 / 7, 0.0], [2 / 7, 0.0]], dtype=torch.float64)
    torch.testing.assert_close(path.states[0, 1, :, 2:], expected, rtol=0, atol=1e-12)
    assert path.states[0, 1, :, 2].tolist() == pytest.approx([-0.7142857, 0.2857143], abs=1e-7)
    torch.testing.assert_close(energies(path.states, masses)[0], torch.tensor([0.5, 0.5]).double())
    assert path.bounced.tolist() == [[[False, False], [True, True]]]
    # the same with the balls in the other order, and along the other axis
    swapped = rolled(states.flip(1)[..., [1, 0, 3, 2]], radii.flip(1), masses.flip(1), 2)
    torch.testing.assert_close(swapped.states[0, 1, :, 2:], expected.flip(0, 1), rtol=0, atol=1e-12)


def test_an_oblique_collision_changes_velocities_along_the_line_of_centres_alone():
    line = torch.tensor([math.cos(0.7), math.sin(0.7)], dtype=torch.float64)
    across = torch.stack([-line[1], line[0]])
    middle = torch.tensor([5.0, 5.0], dtype=torch.float64)
    speeds = torch.tensor([[0.3, 0.2], [-0.1, 0.05]], dtype=torch.float64)  # along and across, of either ball
    velocities = speeds @ torch.stack([line, across])
    centers = torch.stack([middle, middle + 1.7 * line])  # they already overlap, and approach
    states = torch.cat([centers, velocities], -1)[None]
    radii, masses = torch.tensor([[0.8, 1.0]]).double(), torch.tensor([[1.0, 6.0]]).double()
    found = roll_out_elastic(states, radii, masses, 2, SIDE, 1).states[0, 1, :, 2:]
    # w is the line of centres after the move, which turns a little
    moved = centers + velocities
    axis = (moved[1] - moved[0]) / (moved[1] - moved[0]).norm()
    a, b = (velocities @ axis).tolist()
    after_a, after_b = (a - 6 * (a - 2 * b)) / 7, (2 * a + 5 * b) / 7
    expected = velocities + torch.tensor([[after_a - a], [after_b - b]], dtype=torch.float64) * axis
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


def test_receding_balls_that_overlap_do_not_collide():
    states = torch.tensor([[[4.5, 5.0, -0.1, 0.0], [5.5, 5.0, 0.1, 0.0]]], dtype=torch.float64)
    radii, masses = torch.tensor([[0.8, 1.0]]).double(), torch.tensor([[1.0, 6.0]]).double()
    path = rolled(states, radii, masses, 4)
    assert not path.bounced.any()
    torch.testing.assert_close(path.states[:, -1, :, 2:], states[..., 2:])


@pytest.mark.parametrize("num_balls", [2, 3, 4, 5, 8])
def test_energy_is_constant_and_balls_stay_inside(num_balls):
    states, radii, masses = drawn(20, num_balls)
    path = rolled(states, radii, masses)
    energy = energies(path.states, masses)
    assert ((energy / energy[:, :1] - 1).abs() < 1e-6).all()
    assert path.bounced.float().mean() > 0.02
    step = path.states[..., 2:].abs().amax((1, 2, 3)) / SUBSTEPS
    edge = (radii - step[:, None])[:, None, :, None] - 1e-9
    assert (path.states[..., :2] >= edge).all()
    assert (path.states[..., :2] <= SIDE - edge).all()


def by_pairs(state, radii, masses, num_frames):
    """One sequence, pair by pair in the order of rounds, in python numbers."""
    x, v = [list(row[:2]) for row in state.tolist()], [list(row[2:]) for row in state.tolist()]
    path, count = [[[*x[i], *v[i]] for i in range(len(x))]], len(x)
    for _ in range(num_frames - 1):
        for _ in range(SUBSTEPS):
            for i in range(count):
                for axis in range(2):
                    x[i][axis] += v[i][axis] / SUBSTEPS
                    if x[i][axis] - radii[i] < 0:
                        v[i][axis] = abs(v[i][axis])
                    if x[i][axis] + radii[i] > SIDE:
                        v[i][axis] = -abs(v[i][axis])
            for partners in _rounds(count):
                for i, j in enumerate(partners.tolist()):
                    distance = math.dist(x[i], x[j])
                    if i >= j or distance >= radii[i] + radii[j]:
                        continue
                    w = [(p - q) / distance for p, q in zip(x[i], x[j], strict=True)]
                    a, b = (sum(p * q for p, q in zip(w, v[k], strict=True)) for k in (i, j))
                    if a - b < 0:
                        after_b = (2 * masses[i] * a + b * (masses[j] - masses[i])) / (masses[i] + masses[j])
                        after_a = after_b + b - a
                        v[i] = [p + q * (after_a - a) for p, q in zip(v[i], w, strict=True)]
                        v[j] = [p + q * (after_b - b) for p, q in zip(v[j], w, strict=True)]
        path.append([[*x[i], *v[i]] for i in range(count)])
    return torch.tensor(path, dtype=torch.float64)


@pytest.mark.parametrize("num_balls", [1, 3, 8])
def test_it_is_a_loop_over_walls_and_pairs(num_balls):
    states, radii, masses = drawn(5, num_balls, seed=1)
    path = rolled(states, radii, masses, 30)
    for sequence in range(5):
        expected = by_pairs(states[sequence], radii[sequence].tolist(), masses[sequence].tolist(), 30)
        torch.testing.assert_close(path.states[sequence], expected, rtol=0, atol=1e-7)  # collisions amplify rounding
    assert path.bounced.any()
    changed = (path.states[:, 1:, :, 2:] - path.states[:, :-1, :, 2:]).abs().amax(-1) > 1e-12
    assert torch.equal(path.bounced[:, 1:], changed)
    assert not path.bounced[:, 0].any()


def test_absent_balls_touch_nothing():
    states, radii, masses = drawn(6, 4)
    extended = (torch.cat([value, torch.zeros_like(value[:, :2])], 1) for value in (states, radii))
    with_absent = rolled(*extended, torch.cat([masses, torch.ones(6, 2).double()], 1), 200)
    assert (with_absent.states[:, :, 4:] == 0).all()
    assert not with_absent.bounced[:, :, 4:].any()
    energy = energies(with_absent.states[:, :, :4], masses)
    torch.testing.assert_close(energy, energy[:, :1].expand_as(energy))
    # a ball that approaches the corner, where the absent one is within its reach
    corner = torch.tensor([[[0.5, 0.5, -0.1, -0.1], [0.0, 0.0, 0.0, 0.0]]], dtype=torch.float64)
    path = rolled(corner, torch.tensor([[0.8, 0.0]]).double(), torch.ones(1, 2).double(), 3)
    alone = rolled(corner[:, :1], torch.tensor([[0.8]]).double(), torch.ones(1, 1).double(), 3)
    assert torch.equal(path.states[:, :, :1], alone.states)


@pytest.mark.parametrize("count", [1, 2, 3, 4, 7, 8])
def test_every_pair_meets_once_and_rounds_are_disjoint(count):
    met = []
    for partners in _rounds(count):
        assert torch.equal(partners[partners], torch.arange(count))  # who meets whom is mutual
        met += [(one, other) for one, other in enumerate(partners.tolist()) if one < other]
    assert sorted(met) == [(one, other) for one in range(count) for other in range(one + 1, count)]


def test_starts_are_uniform_given_that_balls_do_not_overlap():
    """Against one candidate at a time."""
    radii = torch.tensor([1.0, 0.8, 1.0, 0.0]).double().expand(4000, 4)
    found = place_apart(radii, *STARTS, generator())
    low, high = STARTS
    assert low <= found.min() < low + 0.01
    assert high - 0.01 < found.max() <= high
    gaps = (found[:, :, None] - found[:, None]).norm(dim=-1)
    one, other = torch.triu_indices(3, 3, 1)
    assert (gaps[:, one, other] >= radii[:, one] + radii[:, other]).all()
    assert (gaps[:, :3, 3].amin(-1) < 0.8).any()  # a ball that is absent may be anywhere
    draws, kept = generator(1), []
    while len(kept) < 4000:
        candidate = low + (high - low) * torch.rand(3, 2, generator=draws, dtype=torch.float64)
        if all((candidate[i] - candidate[j]).norm() >= radii[0, i] + radii[0, j] for i in range(3) for j in range(i)):
            kept.append(candidate)
    expected = torch.stack(kept)
    for statistic in (
        lambda centers: (centers - 5).norm(dim=-1).mean(-1),  # crowded discs are pushed outwards
        lambda centers: (centers[:, 0] - centers[:, 2]).norm(dim=-1),
        lambda centers: (centers[:, 0] - centers[:, 1]).norm(dim=-1),
    ):
        ours, reference = statistic(found[:, :3]), statistic(expected)
        error = math.sqrt((ours.var() + reference.var()) / 4000)
        assert abs(ours.mean() - reference.mean()) < 4 * error
    assert found[:, 0].mean(0).tolist() == pytest.approx([5, 5], abs=0.15)
