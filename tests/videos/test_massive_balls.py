"""Massive balls: constants measured on the published videos, and pictures against the distance of every pixel."""

import math

import pytest
import torch

from videos import MassiveBalls
from videos.massive_balls import MASSES, PALETTE, RADII

ALL_SETTINGS = pytest.mark.parametrize(
    "simulator",
    [
        MassiveBalls(masks=True, num_frames=20),
        MassiveBalls(size=24, max_balls=3, min_balls=2, masks=True),
        MassiveBalls(size=32, max_balls=8, min_balls=6, colour=True, masks=True, num_frames=10),
        MassiveBalls(size=24, max_balls=5, colour=True, palette_size=4, masks=True, num_frames=15),
        MassiveBalls(num_frames=1, max_balls=1, min_balls=1, masks=True),
    ],
    ids=["4 balls", "24 pixels", "6 to 8 in colour", "4 colours", "one ball"],
)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def by_ball(videos):
    """States in double precision, (sequences, time, balls, 4), and masses, (sequences, balls)."""
    states = videos.state.double().unflatten(-1, (-1, 4))
    return states, torch.tensor(MASSES, dtype=torch.float64)[videos.labels[:, 0]]


def test_two_balls_meet_head_on():
    states = torch.tensor([[[4.0, 5.0, 1.0, 0.0], [6.0, 5.0, 0.0, 0.0]]])
    videos = MassiveBalls(num_frames=2).roll_out(states, torch.tensor([[0, 1]]))
    expected = torch.tensor([[-0.7142857, 0.0], [0.2857143, 0.0]])
    torch.testing.assert_close(videos.state[0, 1].unflatten(-1, (2, 4))[:, 2:], expected)
    torch.testing.assert_close(videos.velocities[0, 1], 6.4 * expected)
    assert videos.hits.tolist() == [[False, True]]
    assert videos.presence.all()


def test_energy_stays_and_velocities_start_with_norm_one_third():
    videos = MassiveBalls(num_frames=500, size=10, min_balls=4, max_balls=8).simulate(30, generator())
    states, masses = by_ball(videos)
    norm = states[:, 0, :, 2:].square().sum((-1, -2)).sqrt()
    torch.testing.assert_close(norm, torch.full((30,), 1 / 3).double(), rtol=1e-6, atol=0)
    energy = (0.5 * masses[:, None] * states[..., 2:].square().sum(-1)).sum(-1)
    assert ((energy / energy[:, :1] - 1).abs() < 1e-6).all()
    assert videos.hits.any(1).all()
    assert len(videos.presence[:, 0].sum(-1).unique()) == 5
    momentum = (masses[:, None, :, None] * states[..., 2:]).sum(2)
    free = ~videos.hits[:, 1:]
    torch.testing.assert_close(momentum[:, 1:][free], momentum[:, :-1][free], rtol=0, atol=1e-6)


def test_root_mean_square_speed_in_pixels():
    for count, expected in ((4, 1.07), (8, 0.75)):
        videos = MassiveBalls(num_frames=1, min_balls=count, max_balls=count).simulate(200, generator())
        assert videos.velocities.square().sum(-1).mean().sqrt().item() == pytest.approx(expected, abs=0.01)


def test_kinds_are_fair_and_independent():
    labels = MassiveBalls(num_frames=1, size=10).simulate(5000, generator()).labels[:, 0].double()
    assert labels.mean().item() == pytest.approx(0.5, abs=4 * 0.5 / math.sqrt(20_000))
    counts = labels.sum(-1).long().bincount(minlength=5) / 5000
    assert counts.tolist() == pytest.approx([1 / 16, 4 / 16, 6 / 16, 4 / 16, 1 / 16], abs=0.025)


def test_numbers_of_balls_are_uniform():
    videos = MassiveBalls(num_frames=2, size=10, min_balls=6, max_balls=8).simulate(900, generator())
    assert videos.presence.shape == (900, 2, 8)
    counts = videos.presence[:, 0].sum(-1).bincount(minlength=9)[6:] / 900
    assert counts.tolist() == pytest.approx([1 / 3] * 3, abs=4 * math.sqrt(2 / 9 / 900))
    assert (videos.presence.int().diff(dim=-1) <= 0).all()  # absent balls come last
    absent = ~videos.presence
    state = videos.state.unflatten(-1, (8, 4))
    for value in (videos.positions, videos.velocities, videos.box_sizes, state, videos.labels):
        assert (value[absent] == 0).all()


@ALL_SETTINGS
def test_discs_are_where_positions_say(simulator):
    """Every pixel by the distance of its centre, in units; the last of several balls owns it."""
    videos = simulator.simulate(12, generator())
    count = simulator.max_balls
    states, _ = by_ball(videos)
    radii = torch.tensor(RADII, dtype=torch.float64)[videos.labels]
    centre = (torch.arange(simulator.size, dtype=torch.float64) + 0.5) * 10 / simulator.size
    across, down = centre - states[..., 0, None], centre - states[..., 1, None]
    distance = torch.hypot(across[..., None, :], down[..., :, None])
    reach = torch.where(videos.presence, radii, -1.0)[..., None, None]
    near_tie = ((distance - reach).abs() < 1e-5).any(2)  # the batch has rounded states
    discs = distance < reach
    behind = discs.flip(2).int().cumsum(2).flip(2) > 1
    expected = discs & ~behind
    wrong = ((videos.masks != expected) & ~near_tie[:, :, None]).sum()
    assert wrong == 0
    assert near_tie.float().mean() < 1e-3
    assert torch.equal(videos.masks.any(2), (videos.frames > 0).any(2))
    assert videos.masks.sum(2).max() == 1
    colours = torch.tensor(PALETTE)[torch.arange(count) % simulator.palette_size] / 255
    colours = colours if simulator.colour else torch.ones(count, 1)
    painted = torch.einsum("stkhw,kc->stchw", videos.masks.float(), colours)
    torch.testing.assert_close(videos.frames, painted, rtol=0, atol=1e-6)
    pixels = (states[..., :2] * simulator.size / 10 - 0.5).float()
    torch.testing.assert_close(
        videos.positions, torch.where(videos.presence[..., None], pixels, 0.0), rtol=0, atol=1e-5
    )
    sizes = torch.where(videos.presence, 2 * radii * simulator.size / 10, 0.0).float()
    torch.testing.assert_close(videos.box_sizes, sizes[..., None].expand_as(videos.box_sizes))


def test_the_last_of_overlapping_balls_is_in_front():
    states = torch.tensor([[[5.0, 5.0, 0.0, 0.0], [5.9, 5.0, 0.0, 0.0], [5.5, 5.6, 0.0, 0.0]]])
    videos = MassiveBalls(num_frames=1, colour=True, masks=True).roll_out(states, torch.tensor([[1, 0, 1]]))
    alone = [
        MassiveBalls(num_frames=1).roll_out(states[:, [ball]], torch.tensor([[kind]])).frames[0, 0, 0] > 0
        for ball, kind in enumerate((1, 0, 1))
    ]
    expected = torch.stack([alone[0] & ~alone[1] & ~alone[2], alone[1] & ~alone[2], alone[2]])
    assert (alone[0] & alone[1] & alone[2]).any()
    assert torch.equal(videos.masks[0, 0], expected)
    front = (255 * videos.frames[0, 0, :, alone[2]]).round().int().unique(dim=1)
    assert front[:, 0].tolist() == list(PALETTE[2])


def test_areas_of_discs_at_64_pixels():
    videos = MassiveBalls(num_frames=1, min_balls=1, max_balls=1, masks=True).simulate(4000, generator())
    areas, kinds = videos.masks.sum((1, 2, 3, 4)).double(), videos.labels[:, 0, 0]
    for kind, expected in ((0, 82.35), (1, 128.68)):
        own = areas[kinds == kind]
        error = own.std().item() / math.sqrt(len(own))
        assert error < 0.06
        assert own.mean().item() == pytest.approx(expected, abs=4 * error + 0.005)


def test_share_of_foreground():
    four, many = (
        MassiveBalls(num_frames=20, min_balls=low, max_balls=high).simulate(150, generator()).frames.mean().item()
        for low, high in ((4, 4), (6, 8))
    )
    assert four == pytest.approx(0.103, abs=0.002)
    assert many == pytest.approx(0.18, abs=0.005)


@pytest.mark.parametrize("kind", [0, 1])
def test_a_pixel_is_a_tenth_of_the_frame_over_its_size(kind):
    """0.15625 units at 64 pixels, along either axis."""
    start = torch.tensor([[[4.03, 5.21, 0.0, 0.0]]])
    simulator = MassiveBalls(num_frames=1)
    at_start = simulator.roll_out(start, torch.tensor([[kind]])).frames[0, 0, 0]
    for axis, dim in ((0, 1), (1, 0)):
        moved = start.clone()
        moved[..., axis] += 0.15625
        picture = simulator.roll_out(moved, torch.tensor([[kind]])).frames[0, 0, 0]
        assert not torch.equal(picture, at_start)
        assert torch.equal(picture, at_start.roll(1, dim))


def test_starts_are_apart_and_centres_stay_within_walls_up_to_a_step():
    videos = MassiveBalls(num_frames=300, size=10, min_balls=6, max_balls=8).simulate(40, generator())
    states, _ = by_ball(videos)
    radii = torch.tensor(RADII, dtype=torch.float64)[videos.labels[:, 0]]
    there = videos.presence[:, 0]
    first = states[:, 0, :, :2]
    assert first[there].min() >= 1.25
    assert first[there].max() <= 8.75
    gap = (first[:, :, None] - first[:, None]).norm(dim=-1) - (radii[:, :, None] + radii[:, None])
    pairs = there[:, :, None] & there[:, None] & ~torch.eye(8, dtype=torch.bool)
    assert gap[pairs].min() >= -1e-6
    step = states[..., 2:].abs().amax() / 2
    margin = torch.minimum(states[..., :2], 10 - states[..., :2]) - radii[:, None, :, None]
    assert margin[videos.presence].min() >= -step
    assert margin[videos.presence].min() < 0.01  # they reach the walls


def test_velocities_are_pixels_per_frame():
    videos = MassiveBalls(size=32).simulate(60, generator())
    moved = videos.positions[:, 1:] - videos.positions[:, :-1]
    free = ~videos.hits[:, 1:]
    assert 0.5 < free.float().mean() < 0.95
    torch.testing.assert_close(moved[free], videos.velocities[:, :-1][free], rtol=0, atol=1e-4)
    bent = (moved - videos.velocities[:, :-1]).abs().amax((-1, -2)) > 1e-3
    assert not (bent & free).any()


def test_size_and_colour_change_nothing_else():
    one = MassiveBalls().simulate(5, generator())
    for other in (MassiveBalls(size=32), MassiveBalls(colour=True, palette_size=4), MassiveBalls(antialiased=True)):
        videos = other.simulate(5, generator())
        assert torch.equal(videos.state, one.state)
        assert torch.equal(videos.labels, one.labels)
        assert videos.frames.shape[2] == (3 if other.colour else 1)


def test_the_first_four_balls_look_the_same_under_both_palettes():
    four, eight = (
        MassiveBalls(num_frames=2, min_balls=8, max_balls=8, colour=True, palette_size=size, masks=True).simulate(
            6, generator()
        )
        for size in (4, 8)
    )
    differ = (four.frames != eight.frames).any(2)
    assert torch.equal(differ, four.masks[:, :, 4:].any(2))
    shown = {tuple(row) for row in (255 * eight.frames).round().int().movedim(2, -1).flatten(0, 3).tolist()}
    assert shown == {(0, 0, 0), *PALETTE}
    shown = {tuple(row) for row in (255 * four.frames).round().int().movedim(2, -1).flatten(0, 3).tolist()}
    assert shown == {(0, 0, 0), *PALETTE[:4]}


def test_soft_edges_keep_sharp_masks():
    for colour in (False, True):
        settings = {"num_frames": 5, "size": 24, "min_balls": 3, "max_balls": 4, "colour": colour, "masks": True}
        sharp, soft = (
            MassiveBalls(antialiased=antialiased, **settings).simulate(20, generator()) for antialiased in (False, True)
        )
        assert torch.equal(sharp.masks, soft.masks)
        assert ((soft.frames > 0.05) & (soft.frames < 0.1)).any()
        # away from edges they are the same
        outside = torch.nn.functional.max_pool2d(sharp.masks.any(2).float(), 3, 1, 1) == 0
        assert not soft.frames.amax(2)[outside].any()
        inside = torch.stack(
            [-torch.nn.functional.max_pool2d(-mask.float(), 3, 1, 1) > 0 for mask in sharp.masks.unbind(2)], 2
        ).any(2)
        inside = inside.unsqueeze(2).expand_as(soft.frames)
        torch.testing.assert_close(soft.frames[inside], sharp.frames[inside])
        # the soft picture has the ball's exact middle
        one = MassiveBalls(num_frames=1, min_balls=1, max_balls=1, antialiased=True).simulate(50, generator())
        weight = one.frames[:, 0, 0] / one.frames.sum((1, 2, 3, 4))[:, None, None]
        axis = torch.arange(64.0)
        middle = torch.stack([(weight.sum(1) * axis).sum(-1), (weight.sum(2) * axis).sum(-1)], -1)
        torch.testing.assert_close(middle, one.positions[:, 0, 0], rtol=0, atol=0.03)


def test_wrong_settings_and_calls_are_named():
    for settings, message in (
        ({"num_frames": 0}, "num_frames: expected a positive number, got 0; leave it out for the default"),
        ({"min_balls": 0}, "min_balls: expected a positive number, got 0; leave"),
        ({"max_balls": 3}, "min_balls: expected at most max_balls = 3, got 4; set both"),
        ({"max_balls": 40}, "max_balls: expected at most 10, since placements .*, got 40; take fewer balls"),
        ({"size": 9}, "size: expected at least 10 pixels, one per unit of the box, got 9; take larger frames"),
        ({"palette_size": 6}, "palette_size: expected 4 or 8, got 6; leave it out for all colours"),
    ):
        with pytest.raises(ValueError, match=message):
            MassiveBalls(**settings)
    with pytest.raises(ValueError, match="num_sequences: expected a positive number, got 0; ask for at least one"):
        MassiveBalls().simulate(0, generator())
    states, kinds = torch.rand(2, 3, 4), torch.zeros(2, 3, dtype=torch.long)
    with pytest.raises(ValueError, match=r"initial_state: expected \(sequences, balls, 4\), got \(2, 12\); give x, y"):
        MassiveBalls.roll_out.__wrapped__(MassiveBalls(), states.flatten(1), kinds)
    with pytest.raises(ValueError, match=r"kinds: expected 0 or 1 for each ball, \(2, 3\), got values \[0, 2\] of sh"):
        MassiveBalls().roll_out(states, kinds + torch.tensor([0, 0, 2]))


def test_ten_balls_are_placed():
    videos = MassiveBalls(num_frames=1, size=10, min_balls=10, max_balls=10).simulate(3, generator())
    assert videos.presence.all()
