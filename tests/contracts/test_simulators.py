"""What every simulator of the registry promises."""

from dataclasses import FrozenInstanceError, fields, is_dataclass

import pytest
import torch

from videos import SIMULATORS, VideoBatch

SEQUENCES = 9
IN_COLOUR = ("sprites", "tabletop")
# The others draw digits, or several objects: tests/videos/
BALLS = sorted(
    name
    for name, world in SIMULATORS.items()
    if not hasattr(world, "visibility") and name not in ("cannonballs", "massive-balls", *IN_COLOUR)
)
DTYPES = {"observed": torch.bool, "hits": torch.bool, "presence": torch.bool, "labels": torch.int64}
TENSORS = tuple(field.name for field in fields(VideoBatch))


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def present(videos: VideoBatch) -> dict[str, torch.Tensor]:
    return {name: getattr(videos, name) for name in TENSORS if getattr(videos, name) is not None}


@pytest.fixture(params=sorted(SIMULATORS))
def simulator(request):
    return SIMULATORS[request.param]()


@pytest.fixture
def videos(simulator) -> VideoBatch:
    return simulator.simulate(SEQUENCES, generator())


def test_settings_are_a_frozen_dataclass(simulator):
    assert is_dataclass(simulator)
    assert simulator == type(simulator)()
    with pytest.raises(FrozenInstanceError):
        simulator.num_frames = 3


def test_shapes_and_dtypes(simulator, videos):
    channels = 3 if isinstance(simulator, tuple(SIMULATORS[name] for name in IN_COLOUR)) else 1
    shape = (SEQUENCES, simulator.num_frames, channels, simulator.size, simulator.size)
    assert videos.frames.shape == shape
    counts = [
        getattr(simulator, name) for name in ("max_digits", "max_balls", "max_objects") if hasattr(simulator, name)
    ]
    objects = counts[0] if counts else 1
    assert videos.positions.shape == videos.velocities.shape == (*shape[:2], objects, 2)
    assert videos.state.shape[:2] == shape[:2]
    for name, value in present(videos).items():
        assert value.dtype == DTYPES.get(name, torch.float32), name
        assert value.is_contiguous() or name != "frames", name


def test_values_are_finite_and_frames_in_range(simulator, videos):
    for name, value in present(videos).items():
        assert value.isfinite().all(), name
    if hasattr(simulator, "supersampled"):  # a lit table: nothing is black
        assert 0 < videos.frames.min() < 0.3
        assert videos.frames.max() <= 1
        return
    assert videos.frames.min() == 0
    assert 0.99 < videos.frames.max() <= 1  # digits between pixels, and small ones enlarged, may fall short of white


def test_the_number_of_frames_is_a_setting(simulator):
    short = type(simulator)(num_frames=3).simulate(SEQUENCES, generator())
    assert short.num_frames == 3
    # The beginning of a video does not depend on its length, whatever was drawn for its later frames.
    if short.controls is None:
        long = simulator.simulate(SEQUENCES, generator())
        assert torch.equal(short.state[:, : long.num_frames], long.state[:, :3])


def test_one_generator_state_gives_one_batch(simulator, videos):
    again = simulator.simulate(SEQUENCES, generator())
    for name, value in present(videos).items():
        assert torch.equal(value, getattr(again, name)), name
    other = simulator.simulate(SEQUENCES, generator(1))
    assert not torch.equal(videos.frames, other.frames)


def test_the_generator_moves_on(simulator):
    one = generator()
    assert not torch.equal(simulator.simulate(2, one).state, simulator.simulate(2, one).state)


def test_the_global_generator_is_neither_read_nor_moved(simulator, videos):
    torch.manual_seed(1234)
    before = torch.get_rng_state()
    again = simulator.simulate(SEQUENCES, generator())
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(again.frames, videos.frames)


def test_sequences_differ(videos):
    empty = torch.zeros(SEQUENCES, dtype=torch.bool) if videos.presence is None else ~videos.presence.any((1, 2))
    assert empty.sum() < SEQUENCES
    assert len(videos.state[~empty, 0].unique(dim=0)) == SEQUENCES - empty.sum()


@pytest.mark.parametrize("name", BALLS)
def test_positions_are_where_the_ball_is_drawn(name):
    simulator = SIMULATORS[name]()
    videos = simulator.simulate(50, generator())
    size = simulator.size
    columns, rows = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="xy")
    ink = videos.frames[:, :, 0].clone()
    # Away from walls, paddles and contact marks the neighbourhood shows the ball alone.
    x, y = videos.positions[..., 0, 0, None, None], videos.positions[..., 0, 1, None, None]
    near = ((columns - x).abs() <= 5) & ((rows - y).abs() <= 5)
    still = (videos.frames[:, :, 0] > 0).all(0).all(0)
    alone = ~(near & (still | (columns <= 1) | (columns >= size - 2))).any(-1).any(-1)
    if videos.state.shape[-1] == 2:  # the pendulum draws nothing but its bob
        near, alone = torch.ones_like(near), torch.ones_like(alone)
    ink = ink * near
    middle = torch.stack([(ink * columns).sum((-1, -2)), (ink * rows).sum((-1, -2))], -1)
    middle = middle / ink.sum((-1, -2))[..., None]
    error = (middle - videos.positions[:, :, 0])[alone]
    assert len(error) > 200
    # Whole pixels: half a pixel of rounding, and half a pixel by which the authors' disc is up and left of its centre.
    binary = bool(((videos.frames == 0) | (videos.frames == 1)).all())
    assert error.abs().max() < (1.05 if binary else 0.05)
    if binary:
        torch.testing.assert_close(error.mean(0), torch.tensor([-0.36, -0.48]), rtol=0, atol=0.05)


@pytest.mark.parametrize("name", BALLS)
def test_velocities_are_pixels_per_frame(name):
    videos = SIMULATORS[name]().simulate(SEQUENCES, generator())
    moved = videos.positions[:, 1:] - videos.positions[:, :-1]
    if videos.hits is None:  # smooth motion: the mean of both ends, up to the curvature of the path
        middle = 0.5 * (videos.velocities[:, 1:] + videos.velocities[:, :-1])
        assert (moved - middle).norm(dim=-1).median() < 0.1
    else:
        free = ~(videos.hits[:, 1:] | videos.hits[:, :-1])
        torch.testing.assert_close(moved[free], videos.velocities[:, :-1][free], rtol=0, atol=1e-4)


def test_the_device_is_honoured_and_nothing_depends_on_values(simulator):
    # The meta device has shapes and no values: a branch on a value, or a tensor left on another device, is an error.
    videos = simulator.simulate(SEQUENCES, generator(), device="meta")
    for name, value in present(videos).items():
        assert value.device.type == "meta", name


@pytest.mark.gpu
def test_the_gpu_gives_the_same_videos(simulator, videos):
    there = simulator.simulate(SEQUENCES, generator(), device="cuda")
    for name, value in present(there).items():
        assert value.device.type == "cuda", name
        torch.testing.assert_close(value.cpu(), getattr(videos, name), rtol=0, atol=1e-4)
