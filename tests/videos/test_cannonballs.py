"""Cannonballs against the recursion of their motion, the moments of their starts and a slow drawing of their discs."""

import math

import pytest
import torch

from videos import Cannonballs

FALL = torch.tensor([0.0, -0.00220725], dtype=torch.float64)  # -g delta^2
DISPLACEMENT = 0.99969  # the largest one over 29 transitions
ALL_SETTINGS = pytest.mark.parametrize(
    "simulator",
    [
        Cannonballs(),
        Cannonballs(num_frames=50),
        Cannonballs(size=32),
        Cannonballs(num_frames=50, size=32, radius=3),
        Cannonballs(num_frames=1, radius=1, max_balls=1),
    ],
    ids=["paper", "50 frames", "32 pixels", "both", "one frame"],
)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def balls(videos):
    """States at the first frame, and sides, of all balls that exist."""
    presence = videos.presence[:, 0]
    return videos.state[:, 0].unflatten(-1, (-1, 4))[presence].double(), videos.labels[:, 0][presence]


def test_roll_out_is_the_linear_recursion():
    step, g = 0.015, 9.81
    transition = torch.eye(4, dtype=torch.float64)
    transition[0, 2] = transition[1, 3] = step
    offset = -g * torch.tensor([0, step**2 / 2, 0, step], dtype=torch.float64)
    state = torch.tensor([-0.3, 0, 1.6, 1.9], dtype=torch.float64)
    path = Cannonballs().roll_out(state)
    for frame in path:
        torch.testing.assert_close(frame, state, rtol=0, atol=1e-12)
        state = transition @ state + offset
    expected = torch.tensor([0.396, -0.10164862, 1.6, -2.36735], dtype=torch.float64)
    torch.testing.assert_close(path[-1], expected, rtol=0, atol=1e-8)
    torch.testing.assert_close(path[:, :2].diff(dim=0).diff(dim=0), FALL.expand(28, 2), rtol=0, atol=1e-14)


def test_without_jitter_balls_fall_freely():
    simulator = Cannonballs(jitter=0.0)
    videos = simulator.simulate(30, generator())
    torch.testing.assert_close(videos.positions, simulator.clean_positions(videos), rtol=0, atol=2e-5)
    bend = videos.positions.double().diff(dim=1).diff(dim=1)
    expected = FALL * simulator.pixels_per_unit * videos.presence[:, 2:, :, None]
    torch.testing.assert_close(bend, expected, rtol=0, atol=5e-5)
    assert expected.max() > 0  # down


def test_velocities_are_pixels_per_frame_without_jitter():
    simulator = Cannonballs()
    videos = simulator.simulate(30, generator())
    moved = simulator.clean_positions(videos).diff(dim=1)
    middle = 0.5 * (videos.velocities[:, 1:] + videos.velocities[:, :-1])  # exact: the paths are parabolas
    torch.testing.assert_close(moved, middle, rtol=0, atol=5e-5)


def test_first_states_have_the_moments_of_their_laws():
    videos = Cannonballs(num_frames=30, size=8, min_balls=3).simulate(5000, generator())
    states, sides = balls(videos)
    assert sides.double().mean().item() == pytest.approx(0.5, abs=0.02)
    # uniform angles in 40 ... 60 degrees: means of cosine and sine by integration
    width = math.radians(20)
    cosine = (math.sin(math.radians(60)) - math.sin(math.radians(40))) / width
    sine = (math.cos(math.radians(40)) - math.cos(math.radians(60))) / width
    for side, sign, x in ((0, 1, -0.3), (1, -1, -0.3 + 0.9 * DISPLACEMENT)):
        state = states[sides == side]
        assert len(state) > 6000
        mean = torch.tensor([x, 0, sign * 2.5 * cosine, 2.5 * sine], dtype=torch.float64)
        torch.testing.assert_close(state.mean(0), mean, rtol=0, atol=0.015)
        torch.testing.assert_close(mean.abs(), torch.tensor([abs(x), 0, 1.6, 1.91]).double(), rtol=0, atol=0.006)
        variance = torch.tensor([0.0133, 0.0833, 0.072, 0.075], dtype=torch.float64)
        torch.testing.assert_close(state.var(0), variance, rtol=0.04, atol=0)
        assert state[:, 2:].abs().T.corrcoef()[0, 1].item() == pytest.approx(0.12, abs=0.04)
        assert state[:, :2].T.corrcoef()[0, 1].item() == pytest.approx(0.0, abs=0.04)
        assert (sign * state[:, 2] > 0).all()


@pytest.mark.parametrize(("num_frames", "displacement"), [(30, 0.99969), (50, 1.689)])
def test_starts_fill_their_ranges(num_frames, displacement):
    simulator = Cannonballs(num_frames=num_frames, size=8)
    assert simulator.max_displacement == pytest.approx(displacement, abs=2e-4)
    states, sides = balls(simulator.simulate(1000, generator()))
    speed = states[:, 2:].norm(dim=-1)
    angle = torch.rad2deg(torch.atan2(states[:, 3], states[:, 2].abs()))
    for values, low, high in (
        (states[sides == 0, 0], -0.5, -0.1),
        (states[sides == 1, 0], -0.5 + 0.9 * displacement, -0.1 + 0.9 * displacement),
        (states[:, 1], -0.5, 0.5),
        (speed, 2.0, 3.0),
        (angle, 40.0, 60.0),
    ):
        slack = 0.02 * (high - low)
        assert low - 1e-3 <= values.min() <= low + slack
        assert high - slack <= values.max() <= high + 1e-3


def test_bounds_of_the_standard_setting():
    assert Cannonballs().bounds == ((-0.73, 1.03), (-1.0, 0.98))
    assert Cannonballs(size=32, jitter=0.0, max_balls=1).bounds == Cannonballs().bounds


@pytest.mark.parametrize("num_frames", [1, 2, 15, 30, 50])
def test_bounds_are_tight_around_all_paths(num_frames):
    simulator = Cannonballs(num_frames=num_frames, size=8)
    # Places are linear in the start, the cosine and the sine, so that extremes are at the corners of the ranges.
    x, y, angle, speed, side = torch.cartesian_prod(
        torch.tensor([-0.5, -0.1]), torch.tensor([-0.5, 0.5]), torch.tensor([40.0, 60.0]), torch.tensor([2.0, 3.0]),
        torch.tensor([0.0, 1.0]),
    ).double().unbind(-1)  # fmt: skip
    angle = torch.deg2rad(angle)
    start = [x + 0.9 * side * simulator.max_displacement, y, (1 - 2 * side) * speed * angle.cos(), speed * angle.sin()]
    places = simulator.roll_out(torch.stack(start, -1))[..., :2].flatten(0, 1)
    if num_frames == 30:
        torch.testing.assert_close(places.amin(0), torch.tensor([-0.600, -0.869]).double(), rtol=0, atol=5e-4)
        torch.testing.assert_close(places.amax(0), torch.tensor([0.900, 0.844]).double(), rtol=0, atol=5e-4)
    for axis, (low, high) in enumerate(simulator.bounds):
        assert low <= places[:, axis].min() - 0.13 + 1e-6
        assert high >= places[:, axis].max() + 0.13 - 1e-6
        # rounded outwards to hundredths; the apex of the highest path may lie between two frames
        assert low > places[:, axis].min() - 0.13 - 0.01
        assert high < places[:, axis].max() + 0.13 + 0.011


@ALL_SETTINGS
def test_to_pixels_maps_the_bounds_to_the_border(simulator):
    (left, right), (low, high) = simulator.bounds
    first, last = simulator.radius, simulator.size - 1 - simulator.radius
    corners = torch.tensor([[left, high], [right, low]], dtype=torch.float64)
    expected = torch.tensor([[first, first], [last, last]], dtype=torch.float64)
    torch.testing.assert_close(simulator.to_pixels(corners), expected)
    points = torch.randn(3, 4, 2, dtype=torch.float64)
    torch.testing.assert_close(
        simulator.to_pixels(points), points @ simulator.pixels_per_unit.diag() + simulator.pixel_offset
    )
    assert simulator.to_pixels(points.float()).dtype == torch.float32
    outside = simulator.to_pixels(torch.tensor([right + 1.0, low - 1.0]))
    assert (outside > last).all()  # unclamped


@ALL_SETTINGS
def test_discs_are_exactly_where_to_pixels_says(simulator):
    videos = simulator.simulate(9, generator())
    columns, rows = torch.meshgrid(torch.arange(simulator.size), torch.arange(simulator.size), indexing="xy")
    middle = videos.positions.clamp(simulator.radius, simulator.size - 1 - simulator.radius).round()
    across, down = columns - middle[..., 0, None, None], rows - middle[..., 1, None, None]
    lit = (across.square() + down.square() <= simulator.radius**2) & videos.presence[..., None, None]
    assert torch.equal(videos.frames[:, :, 0], lit.any(2).float())


def test_one_ball_is_thirteen_whole_pixels_and_several_at_most_as_many():
    videos = Cannonballs(jitter=0.02).simulate(90, generator())  # so much that places leave the bounds
    white, count = videos.frames.sum((2, 3, 4)), videos.presence.sum(-1)
    assert ((videos.positions < 2) | (videos.positions > 45))[videos.presence].any()
    assert (white[count == 1] == 13).all()
    assert (white <= 13 * count).all()
    assert (white >= 13).all()
    assert ((videos.frames == 0) | (videos.frames == 1)).all()


def test_how_often_two_balls_overlap():
    videos = Cannonballs(min_balls=2, max_balls=2).simulate(400, generator())
    overlap = videos.frames.sum((2, 3, 4)) < 26
    assert overlap.any(1).double().mean().item() == pytest.approx(0.37, abs=0.08)
    assert overlap.double().mean().item() == pytest.approx(0.10, abs=0.03)


def test_jitter_is_the_noise_of_the_places_drawn():
    simulator = Cannonballs()
    videos = simulator.simulate(200, generator())
    noise = (videos.positions - simulator.clean_positions(videos)).double() / simulator.pixels_per_unit
    noise = noise[videos.presence]
    assert len(noise) > 10_000
    torch.testing.assert_close(noise.T.cov(), 0.001 * torch.eye(2, dtype=torch.float64), rtol=0, atol=4e-5)
    assert noise.mean(0).abs().max() < 1e-3
    pixels = (videos.positions - simulator.clean_positions(videos))[videos.presence].std(0)
    torch.testing.assert_close(pixels, torch.tensor([0.77, 0.69]), rtol=0, atol=0.02)


@ALL_SETTINGS
def test_one_generator_state_gives_one_batch(simulator):
    one, again, other = (simulator.simulate(4, generator(seed)) for seed in (3, 3, 4))
    for name in ("frames", "positions", "state", "labels"):
        assert torch.equal(getattr(one, name), getattr(again, name))
    assert not torch.equal(one.state, other.state)


def test_jitter_and_size_change_nothing_else():
    one, other = (simulator.simulate(6, generator()) for simulator in (Cannonballs(), Cannonballs(jitter=0.0, size=32)))
    assert torch.equal(one.state, other.state)
    assert torch.equal(one.labels, other.labels)


@pytest.mark.parametrize(
    ("fewest", "most", "expected"), [(1, 3, [1, 2, 3, 1, 2, 3, 1]), (2, 3, [2, 3, 2, 3, 2, 3, 2]), (2, 2, [2] * 7)]
)
def test_numbers_of_balls_are_balanced(fewest, most, expected):
    videos = Cannonballs(min_balls=fewest, max_balls=most).simulate(7, generator())
    assert videos.presence.shape == (7, 30, most)
    assert videos.presence[:, 0].sum(-1).tolist() == expected
    assert (videos.presence == videos.presence[:, :1]).all()
    assert (videos.presence.int().diff(dim=-1) <= 0).all()  # absent balls come last
    assert torch.equal(videos.controls, videos.presence.float())


def test_what_is_said_of_a_ball_that_does_not_exist_is_zero():
    simulator = Cannonballs()
    videos = simulator.simulate(9, generator())
    absent = ~videos.presence
    state = videos.state.unflatten(-1, (3, 4))
    for value in (videos.positions, videos.velocities, videos.box_sizes, state, simulator.clean_positions(videos)):
        assert (value[absent] == 0).all()
        assert (value[videos.presence] != 0).all()
    assert (videos.box_sizes[videos.presence] == 5).all()
    assert (videos.labels[absent] == 0).all()
    assert videos.labels.dtype == torch.int64


def test_labels_are_sides():
    videos = Cannonballs().simulate(60, generator())
    speed = videos.state.unflatten(-1, (3, 4))[..., 2]
    assert torch.equal(videos.labels == 1, speed < 0)
    assert set(videos.labels[videos.presence].tolist()) == {0, 1}


def test_two_balls_come_from_opposite_sides_if_asked():
    plain = Cannonballs().simulate(90, generator())
    videos = Cannonballs(opposite=True).simulate(90, generator())
    two = videos.presence[:, 0].sum(-1) == 2
    sides = videos.labels[:, 0]
    assert (sides[two, :2].sum(-1) == 1).all()
    assert set(sides[two, 0].tolist()) == {0, 1}
    assert not (plain.labels[two, 0, :2].sum(-1) == 1).all()
    assert torch.equal(videos.labels[~two], plain.labels[~two])
    assert torch.equal(videos.state[~two], plain.state[~two])
    assert (Cannonballs(opposite=True, max_balls=1).simulate(3, generator()).presence.sum(-1) == 1).all()


def test_clean_positions_follow_a_selection():
    simulator = Cannonballs()
    videos = simulator.simulate(6, generator())
    chosen = torch.tensor([4, 1])
    assert torch.equal(simulator.clean_positions(videos.select(chosen)), simulator.clean_positions(videos)[chosen])


def test_wrong_settings_and_calls_are_named():
    for settings, message in (
        ({"num_frames": 0}, "num_frames: expected a positive number, got 0"),
        ({"radius": -1}, "radius: expected a positive number, got -1"),
        ({"min_balls": 0}, "min_balls: expected a positive number, got 0"),
        ({"min_balls": 4}, "min_balls: expected at most max_balls = 3, got 4"),
        ({"jitter": -0.001}, "jitter: expected a variance, a finite number of at least 0, got -0.001"),
        ({"jitter": math.nan}, "jitter: expected a variance, a finite number of at least 0, got nan"),
        ({"size": 5}, "size: expected more than a disc's width, at least 6 pixels, got 5"),
    ):
        with pytest.raises(ValueError, match=message):
            Cannonballs(**settings)
    with pytest.raises(ValueError, match="num_sequences: expected a positive number, got 0; ask for at least one"):
        Cannonballs().simulate(0, generator())
    videos = Cannonballs(max_balls=2).simulate(2, generator())
    with pytest.raises(ValueError, match=r"batch: expected state \(sequences, time, 12\) of 3 balls, got \(2, 30, 8\)"):
        Cannonballs().clean_positions(videos)
    with pytest.raises(ValueError, match="batch: expected state and presence, got a batch without them; simulate it"):
        Cannonballs().clean_positions(type(videos)(frames=videos.frames))
