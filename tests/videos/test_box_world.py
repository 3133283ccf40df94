"""The four worlds: against the authors' own data, frame by frame and state by state, and by their invariants.

The authors' initial states are drawn here as they drew them (numpy's legacy generator, seeds 1234 and 5678).
"""

import math

import numpy as np
import pytest
import torch

from videos import BoxWorld, GravityWorld, PolygonWorld, PongWorld

WORLDS = [BoxWorld, GravityWorld, PolygonWorld, PongWorld]
AUTHORS = {
    "box": (BoxWorld, 10.0, 10.0, 15.0),
    "box_gravity": (GravityWorld, 8.0, 5.0, 10.0),
    "polygon": (PolygonWorld, 2.5, 10.0, 15.0),
}


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def authors_initial_states(count: int, seed: int, std: float, slowest: float, fastest: float) -> torch.Tensor:
    draws, states = np.random.RandomState(seed), []
    for _ in range(count):
        angle, speed = draws.uniform(0, 360) * np.pi / 180, draws.uniform(slowest, fastest)
        position = np.clip(16 + std * draws.normal(size=2), 6, 26)
        states.append([*position, speed * np.cos(angle), speed * np.sin(angle)])
    return torch.tensor(np.array(states))


@pytest.mark.parametrize("part", [("", 1234, 5000), ("_test", 5678, 1000)], ids=["train", "test"])
@pytest.mark.parametrize("name", AUTHORS)
def test_states_and_frames_are_the_authors(data_folder, name, part):
    suffix, seed, count = part
    world, std, slowest, fastest = AUTHORS[name]
    data = np.load(data_folder / "kvae" / f"{name}{suffix}.npz")
    # One frame more: their state[:, t] belongs to frame t + 1.
    videos = world(num_frames=21).roll_out(authors_initial_states(count, seed, std, slowest, fastest))

    error = (videos.state[:, 1:] - torch.from_numpy(data["state"])).abs().amax((1, 2))
    agree = (error < 1e-3).float().mean().item()
    # Measured: every sequence of all six files, worst error 4e-6 pixels (the rounding of float32).
    assert agree == 1.0
    wrong_pixels = (videos.frames[:, :20, 0] > 0).numpy() != data["images"]
    # Measured: 0 pixels of 20,480 per sequence; walls, line on the ball and contact marks included.
    assert wrong_pixels.sum() == 0


def test_pong_is_what_the_engine_gives():
    # Recorded once from pymunk 7.3.1 driven as the authors' pong does: ball, velocity, heights of the paddles.
    initial = [
        [14.174026692180902, 14.500878040612122, -9.171682620228253, -3.9850016203011767],
        [14.560449131117561, 14.186053153092589, -8.888567266302655, -4.58185245860372],
    ]
    recorded = {
        0: [
            [12.33969, 13.703878, -9.171683, -3.985002, 14.0, 14.0],
            [12.782736, 13.269683, -8.888567, -4.581852, 14.0, 14.0],
        ],
        9: [
            [10.230839, 6.530875, 8.171969, -3.985002, 8.0, 8.0],
            [10.234124, 5.022348, 7.919713, -4.581852, 6.0, 6.0],
        ],
        19: [
            [26.574778, 8.003415, -7.281225, 3.550636, 8.0, 8.0],
            [26.073551, 10.231253, -7.056465, 4.082431, 10.0, 10.0],
        ],
    }
    videos = PongWorld().roll_out(torch.tensor(initial, dtype=torch.float64))
    for frame, expected in recorded.items():
        torch.testing.assert_close(videos.state[:, frame], torch.tensor(expected), rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("world", "std", "slowest", "fastest"),
    [(BoxWorld, 10, 10, 15), (GravityWorld, 8, 5, 10), (PolygonWorld, 2.5, 10, 15), (PongWorld, 3, 10, 10)],
)
def test_initial_law(world, std, slowest, fastest):
    state = world()._draw_initial(4000, generator())
    position, speed = state[:, :2], state[:, 2:].norm(dim=-1)
    assert position.min() >= 6
    assert position.max() <= 26
    inner = (position > 6).all(-1) & (position < 26).all(-1)
    # The clipped coordinates are an atom of the authors' distribution; in the box more than half of the sequences have
    # one.
    clipped = 1 - math.erf(10 / std / math.sqrt(2)) ** 2
    assert (~inner).double().mean().item() == pytest.approx(clipped, abs=0.03)
    assert speed.min() >= slowest - 1e-9
    assert speed.max() <= fastest + 1e-9
    assert speed.mean().item() == pytest.approx((slowest + fastest) / 2, abs=0.1)
    assert (state[:, 2:] / speed[:, None]).mean(0).abs().max() < 5 / 4000**0.5


@pytest.mark.parametrize("physics", ["engine", "ideal"])
def test_box_conserves_speed(physics):
    state = BoxWorld(physics=physics).simulate(50, generator()).state
    speed = state[..., 2:].double().norm(dim=-1)
    torch.testing.assert_close(speed, speed[:, :1].expand_as(speed), rtol=0, atol=1e-5)


def test_how_often_the_ball_hits_the_box():
    hits = BoxWorld(num_frames=21).simulate(2000, generator()).hits
    assert not hits[:, 0].any()
    assert hits.sum(1).double().mean().item() == pytest.approx(2.7, abs=0.1)


@pytest.mark.parametrize("physics", ["engine", "ideal"])
@pytest.mark.parametrize("world", WORLDS)
def test_hits_are_the_changes_of_velocity(world, physics):
    videos = world(physics=physics).simulate(40, generator())
    assert videos.hits.any()
    change = videos.state[:, 1:, 2:4] - videos.state[:, :-1, 2:4]
    change[..., 1] += world().gravity * 0.2
    assert torch.equal(change.abs().amax(-1) > 1e-4, videos.hits[:, 1:])


@pytest.mark.parametrize("world", WORLDS)
def test_ideal_ball_stays_where_it_can_be(world):
    x, y = world(physics="ideal").simulate(200, generator()).state[..., :2].unbind(-1)
    low, high = {BoxWorld: (5, 27), GravityWorld: (5, 27), PolygonWorld: (4, 27), PongWorld: (4, 29)}[world]
    assert y.min() >= low - 1e-4
    assert y.max() <= high + 1e-4
    if world is not PolygonWorld:
        assert x.min() >= {PongWorld: 4}.get(world, 5) - 1e-4
        assert x.max() <= {PongWorld: 26}.get(world, 27) + 1e-4


def test_ideal_and_engine_physics_agree_until_the_first_bounce():
    engine = BoxWorld().simulate(100, generator())
    ideal = BoxWorld(physics="ideal").simulate(100, generator())
    # Ideal bounces come first: the engine's ball has to sink in before it turns.
    before = ~(ideal.hits | engine.hits).cumsum(1).bool()
    gap = (engine.positions - ideal.positions).norm(dim=-1)[..., 0]
    assert gap[before].max() < 1e-5
    # Once bounces differ, so do the paths: in the median video by 3.5 pixels at worst.
    assert gap.amax(1).median().item() == pytest.approx(3.5, abs=1.0)


def test_no_ball_leaves_the_box_under_gravity():
    # Of the engine's own sequences about one in ninety leaves.
    state = GravityWorld().simulate(2000, generator()).state
    assert state[..., :2].min() > 2
    assert state[..., :2].max() < 30
    free = GravityWorld().roll_out(GravityWorld()._draw_initial(2000, generator())).state[..., :2]
    left = ((free < 2) | (free > 30)).any(-1).any(-1)
    assert 0.005 < left.double().mean().item() < 0.02


def test_a_world_that_nearly_every_ball_leaves_still_fills_its_batch():
    state = GravityWorld(gravity=60.0).simulate(20, generator()).state
    assert state[..., :2].min() > 2
    assert state[..., :2].max() < 30


def test_paddles_keep_up_and_stay_in_the_frame():
    state = PongWorld().simulate(500, generator()).state
    ball, paddles = state[..., :2], state[..., 4:]
    assert paddles.min() >= 3
    assert paddles.max() <= 29
    assert (paddles[:, 1:] - paddles[:, :-1]).abs().max() <= 2 + 1e-5
    # No ball gets past: its centre never reaches the line that a paddle moves on.
    assert ball[..., 0].min() > 1
    assert ball[..., 0].max() < 29
    # Each bounce costs speed, nothing gives any.
    speed = state[..., 2:4].norm(dim=-1)
    assert (speed[:, 1:] - speed[:, :-1]).max() < 1e-5


@pytest.mark.parametrize("rendering", ["authors", "antialiased"])
@pytest.mark.parametrize(("world", "pixels"), [(BoxWorld, 112), (PolygonWorld, 95), (PongWorld, 64)])
def test_walls_are_in_every_frame(world, pixels, rendering):
    frames = world(rendering=rendering).simulate(60, generator()).frames
    always = (frames > 0.99).all(0).all(0)[0]
    if rendering == "authors":
        assert int(always.sum()) == pixels
        assert set(frames.unique().tolist()) == {0.0, 1.0}
    elif world is BoxWorld:
        outline = torch.zeros(32, 32, dtype=torch.bool)
        outline[2:31, [2, 30]] = outline[[2, 30], 2:31] = True
        assert torch.equal(always, outline)


def test_contact_marks_appear_with_the_touch_only():
    # Straight into the right wall, x = 30: on touching, the ball's frame shows a mark beyond the wall, at x = 31.
    videos = BoxWorld().roll_out(torch.tensor([[22.0, 16.0, 12.0, 0.0]], dtype=torch.float64))
    beyond = videos.frames[0, :, 0, 16, 31]
    touching = videos.positions[0, :, 0, 0] + 3 > 30
    assert torch.equal(beyond.bool(), touching)
    assert touching.sum() == 1
    assert videos.frames[0, :, 0].sum((1, 2))[0] == 112 + 25


def test_truth_is_in_pixels_and_frames():
    videos = BoxWorld().roll_out(torch.tensor([[16.0, 20.0, 5.0, -3.0]], dtype=torch.float64))
    torch.testing.assert_close(videos.positions[0, 0, 0], torch.tensor([16.0, 12.0]))
    torch.testing.assert_close(videos.velocities[0, 0, 0], torch.tensor([1.0, 0.6]))
    torch.testing.assert_close(videos.positions[0, 1] - videos.positions[0, 0], videos.velocities[0, 0])
    torch.testing.assert_close(videos.state[0, 0], torch.tensor([16.0, 20.0, 5.0, -3.0]))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_frames": 0}, "num_frames: expected a positive number, got 0; leave it out"),
        ({"time_step": -0.2}, "time_step: expected a positive number, got -0.2"),
        (
            {"radius": 2.5},
            r"radius: expected a whole number from 1 to 5 with rendering='authors', got 2.5; use rendering",
        ),
    ],
)
def test_wrong_settings_are_named(settings, message):
    with pytest.raises(ValueError, match=message):
        BoxWorld(**settings)


def test_wrong_calls_are_named():
    with pytest.raises(ValueError, match="num_sequences: expected a positive number, got 0; ask for at least one"):
        BoxWorld().simulate(0, generator())
    with pytest.raises(ValueError, match=r"initial_state: expected \(sequences, 4\), got \(5, 3\); give x, y, vx, vy"):
        BoxWorld().roll_out(torch.zeros(5, 3))
