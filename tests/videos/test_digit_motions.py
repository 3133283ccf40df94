"""Digits on lines and ellipses, and DDPAE's moving MNIST: rules of motion, drawing, and the predictors' yardsticks."""

import gzip
import math

import numpy as np
import pytest
import torch

from videos import DDPAEDigits, EllipticDigits, LinearDigits
from videos.digit_motions import _ink_offset, _SubPixelDigits
from videos.digits import Digits, _from_scikit_learn, load_digits
from videos.moving_digits import DigitScenes, _scaled, _without_replacement

SIDE = 28


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(autouse=True)
def ten_digits(monkeypatch):
    """One digit of each class, so that a label names a template; they do not outlive the test."""
    digits = _from_scikit_learn("train")
    first = torch.stack([(digits.labels == label).nonzero()[0, 0] for label in range(10)])
    digits = Digits(digits.tiles[first], digits.sizes[first], torch.arange(10), "one of each")
    monkeypatch.setattr("videos.moving_digits.load_digits", lambda split, folder: digits)
    _scaled.cache_clear()
    yield digits
    _scaled.cache_clear()


@pytest.fixture
def mnist(monkeypatch, data_folder):
    """The real digits, in place of the ten."""
    monkeypatch.setattr("videos.moving_digits.load_digits", load_digits)
    return data_folder / "mnist"


@pytest.fixture
def unfilmed(monkeypatch):
    """Thousands of sequences without their frames, whose black pixels share one number."""

    def black(simulator, tiles, corner, presence):
        return torch.zeros(1).expand(*corner.shape[:2], 1, simulator.size, simulator.size)

    for motions in (DigitScenes, _SubPixelDigits):
        monkeypatch.setattr(motions, "_film", black)


def corners(videos):
    """Top left corners of the tight boxes, float64."""
    return videos.positions.double() - 0.5 * (videos.box_sizes - 1)


def pasted(ink, corner, size):
    """One digit on a canvas, one pixel of it after the other: its ink is shared by the four pixels around it."""
    canvas = np.zeros((size + 2, size + 2))  # a border of one pixel takes what has no weight inside
    left, top = (math.floor(place) for place in corner)
    right, down = corner[0] - left, corner[1] - top
    for row, column in np.argwhere(ink):
        if -1 <= top + row < size and -1 <= left + column < size:
            for dy, dx, weight in (
                (0, 0, (1 - down) * (1 - right)),
                (0, 1, (1 - down) * right),
                (1, 0, down * (1 - right)),
                (1, 1, down * right),
            ):
                canvas[top + row + dy + 1, left + column + dx + 1] += weight * ink[row, column] / 255
    return canvas[1:-1, 1:-1]


def layers(videos, digits, sequence, time):
    """The pictures of a frame's digits, from ground truth and templates."""
    place, there, size = corners(videos), videos.presence[sequence, time], videos.frames.shape[-1]
    return [
        pasted(digits.tiles[videos.labels[sequence, time, digit]].numpy(), place[sequence, time, digit].tolist(), size)
        for digit in there.nonzero()[:, 0].tolist()
    ]


@pytest.mark.parametrize(
    "simulator",
    [
        LinearDigits(num_frames=4, min_digits=2, overlap=True),
        LinearDigits(num_frames=4, min_digits=2, wall_distance=3.0, speed=(4.0, 9.0), blend="sum"),
        EllipticDigits(num_frames=4, min_digits=2, max_digits=3, blend="sum"),
        DDPAEDigits(num_frames=4),
    ],
)
def test_frames_are_drawn_again_from_what_is_known(simulator, ten_digits):
    videos = simulator.simulate(10, generator())
    met = 0
    for sequence in range(10):
        for time in range(4):
            pictures = np.stack(layers(videos, ten_digits, sequence, time))
            merged = pictures.sum(0) if getattr(simulator, "blend", "max") == "sum" else pictures.max(0)
            met += int(((pictures > 0).sum(0) > 1).sum())
            np.testing.assert_allclose(videos.frames[sequence, time, 0].numpy(), merged.clip(max=1), atol=2e-5)
    assert met > 100


@pytest.mark.parametrize("motion", [LinearDigits, EllipticDigits])
def test_a_digit_keeps_its_intensity_and_its_mass_moves_by_the_displacement(motion):
    videos = motion(min_digits=1, max_digits=1).simulate(20, generator())
    ink, pixel = videos.frames[:, :, 0].double(), torch.arange(50.0).double()
    total = ink.sum((-2, -1))
    torch.testing.assert_close(total, total[:, :1].expand_as(total), rtol=0, atol=1e-4)
    mass = torch.stack([(ink.sum(-2) * pixel).sum(-1), (ink.sum(-1) * pixel).sum(-1)], -1) / total[..., None]
    torch.testing.assert_close(mass.diff(dim=1), videos.positions[:, :, 0].double().diff(dim=1), rtol=0, atol=1e-4)


@pytest.mark.parametrize("distance", [0.0, 3.0])
def test_lines_are_mirrored_at_all_four_walls(distance):
    """Step by step: what goes too far comes back by as much, and that component of the velocity flips."""
    videos = LinearDigits(num_frames=100, wall_distance=distance).simulate(30, generator())
    there = videos.presence[:, :1].expand(-1, 99, -1)
    corner, velocity = corners(videos), videos.velocities.double()
    low = torch.full_like(corner, -distance)
    high = 50 - videos.box_sizes.double() + distance
    place = corner[:, :-1] + velocity[:, :-1]
    below, above = place < low[:, 1:], place > high[:, 1:]
    place = torch.where(below, 2 * low[:, 1:] - place, torch.where(above, 2 * high[:, 1:] - place, place))
    torch.testing.assert_close(corner[:, 1:][there], place[there], rtol=0, atol=2e-5)
    flipped = torch.where(below | above, -velocity[:, :-1], velocity[:, :-1])
    assert torch.equal(velocity[:, 1:][there], flipped[there])
    assert below[there].sum(0).min() > 30
    assert above[there].sum(0).min() > 30
    assert corner[videos.presence].min() >= -distance
    assert (high - corner)[videos.presence].min() >= -1e-5
    if distance:
        assert corner[videos.presence].amin(0).max() < -2
    speed = velocity.norm(dim=-1)
    torch.testing.assert_close(speed, speed[:, :1].expand_as(speed), rtol=0, atol=1e-6)
    state = videos.state.unflatten(-1, (2, 4))
    torch.testing.assert_close(state, torch.cat([videos.positions, videos.velocities], -1), rtol=0, atol=1e-5)


@pytest.mark.usefixtures("unfilmed")
def test_lines_start_anywhere_inside_at_any_speed_and_direction():
    simulator = LinearDigits(num_frames=1, wall_distance=3.0, speed=(2.0, 6.0), min_digits=2)
    videos = simulator.simulate(4000, generator())
    share = (corners(videos) / (50 - videos.box_sizes))[:, 0]
    speed = videos.velocities[:, 0].norm(dim=-1)
    direction = torch.atan2(videos.velocities[..., 1], videos.velocities[..., 0]) / (2 * math.pi) + 0.5
    for uniform in (share[..., 0], share[..., 1], (speed - 2) / 4, direction):
        assert -1e-6 <= uniform.min() < 0.01
        assert 0.99 < uniform.max() <= 1 + 1e-6
        share_of_tenths = (uniform * 10).long().clamp(0, 9).flatten().bincount(minlength=10) / uniform.numel()
        torch.testing.assert_close(share_of_tenths, torch.full((10,), 0.1), rtol=0, atol=0.015)


@pytest.mark.usefixtures("unfilmed")
def test_ellipses_stay_inside_and_turn_at_a_constant_rate():
    videos = EllipticDigits(num_frames=60, min_digits=2).simulate(500, generator())
    center, axes, angle, omega = videos.state.unflatten(-1, (2, 6)).double().split([2, 2, 1, 1], -1)
    on_ellipse = ((videos.positions - center) / axes).square().sum(-1)
    torch.testing.assert_close(on_ellipse, torch.ones_like(on_ellipse), rtol=0, atol=1e-5)
    place = (videos.positions - center) / axes
    measured = torch.atan2(place[..., 1], place[..., 0])
    turned = (measured.diff(dim=1) + math.pi).remainder(2 * math.pi) - math.pi
    torch.testing.assert_close(turned, omega[:, 1:, :, 0], rtol=0, atol=1e-4)
    torch.testing.assert_close(angle.diff(dim=1), omega[:, 1:], rtol=0, atol=1e-4)
    assert torch.equal(omega, omega[:, :1].expand_as(omega))
    assert corners(videos).min() >= -1e-5
    assert (50 - videos.box_sizes - corners(videos)).min() >= -1e-5
    assert (center - 0.5 * (videos.box_sizes - 1) - axes).min() >= -1e-5
    assert axes.min() == pytest.approx(5, abs=0.05)
    fit = 0.5 * (50 - videos.box_sizes)
    assert ((axes - 5) / (fit - 5)).mean() == pytest.approx(0.5, abs=0.03)
    assert 0.1 <= omega.abs().min() < 0.102
    assert 0.298 < omega.abs().max() <= 0.3
    assert (omega > 0).double().mean() == pytest.approx(0.5, abs=0.06)
    assert (angle[:, 0] / (2 * math.pi)).mean() == pytest.approx(0.5, abs=0.04)
    # The derivative of the position, up to the third order of a central difference.
    central = 0.5 * (videos.positions[:, 2:] - videos.positions[:, :-2])
    torch.testing.assert_close(videos.velocities[:, 1:-1], central, rtol=0, atol=float(fit.max()) * 0.3**3 / 6 + 1e-4)
    assert (videos.velocities[:, 1:-1] - central).abs().mean() < 0.03


@pytest.mark.parametrize("motion", [LinearDigits, EllipticDigits])
def test_without_overlap_digits_share_no_pixel_of_the_first_frame(motion, ten_digits):
    """Of the drawn pixels, from templates alone; later digits may meet, and with overlap they meet at once."""
    met_at_once = {}
    for overlap in (False, True):
        videos = motion(min_digits=2, overlap=overlap, num_frames=10).simulate(60, generator())
        pictures = np.stack([layers(videos, ten_digits, sequence, 0) for sequence in range(60)])
        met_at_once[overlap] = int(((pictures > 1e-6).sum(1) > 1).any((1, 2)).sum())
        later = [((np.stack(layers(videos, ten_digits, n, 9)) > 1e-6).sum(0) > 1).any() for n in range(60)]
        assert sum(later) > 10
        counts = motion(overlap=overlap, num_frames=1).simulate(600, generator()).presence.sum((1, 2)).bincount()
        torch.testing.assert_close(counts / 600, torch.full((3,), 1 / 3), rtol=0, atol=0.06)
    assert met_at_once[False] == 0
    assert met_at_once[True] > 20


def test_no_room_without_overlap_is_an_error(monkeypatch):
    monkeypatch.setattr("videos.digit_motions.ROUNDS", 5)
    crowded = LinearDigits(size=30, min_digits=6, max_digits=6, overlap=False)
    with pytest.raises(ValueError, match=r"overlap: expected room for up to 6 digits on 30 x 30 pixels .* in 5 draws"):
        crowded.simulate(2, generator())


def test_share_of_first_frames_in_which_mnist_digits_meet(mnist):
    """0.459 of two-digit scenes at whole pixels (measured by others); bilinear weights widen the ink."""
    simulator = LinearDigits(num_frames=1, min_digits=2, folder=mnist)
    digits = load_digits("train", mnist)
    chosen = _without_replacement(6000, 2, len(digits.tiles), generator())
    tiles, boxes = digits.tiles[chosen], digits.sizes[chosen].flip(-1).double()
    there = torch.ones(6000, 2, dtype=torch.bool)
    parameters = simulator._draw_parameters(boxes, generator(1))

    def share(places):
        parts = [slice(begin, begin + 500) for begin in range(0, 6000, 500)]
        return torch.cat([simulator._share_a_pixel(places[p], tiles[p], boxes[p], there[p]) for p in parts])

    assert share(parameters).double().mean() == pytest.approx(0.535, abs=0.02)
    whole = (torch.rand(boxes.shape, generator=generator(2), dtype=torch.float64) * (51 - boxes)).floor()
    assert share(torch.cat([whole, parameters[..., 2:]], -1)).double().mean() == pytest.approx(0.459, abs=0.02)


def test_ddpae_moves_first_clamps_and_flips_and_truncates(ten_digits):
    videos = DDPAEDigits(num_frames=60).simulate(200, generator())
    place, velocity = videos.state.unflatten(-1, (2, 4)).double().split(2, -1)
    moved = place[:, :-1] + 0.1 * velocity[:, :-1]
    torch.testing.assert_close(place[:, 1:], moved.clamp(0, 1), rtol=0, atol=1e-6)
    clear = ((moved - moved.clamp(0, 1)).abs() > 1e-6) | ((moved > 1e-6) & (moved < 1 - 1e-6))
    flipped = torch.where((moved <= 0) | (moved >= 1), -velocity[:, :-1], velocity[:, :-1])
    assert torch.equal(velocity[:, 1:][clear], flipped[clear])
    stopped = (place == 0) | (place == 1)
    assert stopped.sum((0, 1, 2)).min() > 500
    step = 36 * place.diff(dim=1).norm(dim=-1)
    free = ~stopped[:, 1:].any(-1)
    torch.testing.assert_close(step[free], torch.full_like(step[free], 3.6), rtol=0, atol=1e-4)
    assert step.max() < 3.6 + 1e-4
    assert (step[~free] < 3.5).double().mean() > 0.5
    # The first frame has moved, too: each coordinate is at a wall with probability 0.1 E|cos| = 0.2 / pi.
    first = DDPAEDigits(num_frames=1, size=32, digit_scale=0.5).simulate(2500, generator())
    place = first.state.unflatten(-1, (2, 4))[..., :2]
    assert ((place == 0) | (place == 1)).double().mean() == pytest.approx(0.2 / math.pi, abs=0.01)
    # The tile, margins included, is at a truncated place.
    margins = _ink_offset(ten_digits.tiles, ten_digits.sizes.flip(-1))[videos.labels]
    place = videos.state.unflatten(-1, (2, 4))[..., :2].double()
    certain = ((36 * place) - (36 * place).round()).abs() > 1e-4
    tile = corners(videos) - margins
    assert torch.equal(tile[certain], (36 * place).floor()[certain])
    assert torch.equal(tile.unique(), torch.arange(37.0, dtype=torch.float64))
    torch.testing.assert_close(videos.velocities.double(), 3.6 * velocity, rtol=0, atol=1e-5)
    assert bool((DDPAEDigits().visibility(videos) == 1).all())


def test_ink_lies_in_the_tiles_of_ddpae_where_mnist_has_it(mnist):
    raw = gzip.decompress((mnist / "t10k-images-idx3-ubyte.gz").read_bytes())
    images = np.frombuffer(raw, np.uint8, offset=16).reshape(-1, SIDE, SIDE)
    margins = np.stack([(images > 0).any(1).argmax(1), (images > 0).any(2).argmax(1)], 1)
    digits = load_digits("test", mnist)
    boxes = digits.sizes.flip(-1)
    found = _ink_offset(digits.tiles[:, None], boxes[:, None])[:, 0]
    assert (found.numpy() != margins).any(1).sum() == 1
    # The published bias of the tile's middle as ground truth: (0.45, 0.66) on average, 1.58 pixels in length.
    bias = found + 0.5 * (boxes - 1) - 13.5
    torch.testing.assert_close(bias.mean(0), torch.tensor([0.45, 0.66], dtype=bias.dtype), rtol=0, atol=0.02)
    assert bias.norm(dim=1).mean() == pytest.approx(1.58, abs=0.02)
    # Drawn at the corner of a tile, a digit is the image of the file.
    videos = DDPAEDigits(num_frames=30, min_digits=1, max_digits=1, split="test", folder=mnist).simulate(1, generator())
    corner = corners(videos)[0, 0, 0].long() - (videos.state[0, 0, :2] * 36).floor().long()
    window = (videos.state[0, 0, :2] * 36).floor().long().tolist()
    cut = videos.frames[0, 0, 0, window[1] : window[1] + SIDE, window[0] : window[0] + SIDE]
    errors = np.abs(images / 255 - cut.numpy()).max((1, 2))
    assert errors.min() < 0.005
    assert margins[errors.argmin()].tolist() == corner.tolist()


def mean_error(predicted, truth, there):
    return float((predicted - truth).norm(dim=-1)[there].mean())


@pytest.mark.usefixtures("unfilmed")
@pytest.mark.parametrize(
    ("motion", "hold_last", "constant_velocity"), [(LinearDigits, 13.6, 21.4), (EllipticDigits, 13.4, 16.6)]
)
def test_yardsticks_of_simple_predictors(motion, hold_last, constant_velocity, mnist):
    """Over frames 6 to 20 after five, in pixels; velocity from the last two frames seen, without bounces."""
    videos = motion(folder=mnist).simulate(6000, generator())
    place, there = videos.positions, videos.presence[:, 5:]
    assert mean_error(place[:, 4:5], place[:, 5:], there) == pytest.approx(hold_last, abs=0.3)
    ahead = torch.arange(1, 16)[:, None, None] * (place[:, 4:5] - place[:, 3:4])
    assert mean_error(place[:, 4:5] + ahead, place[:, 5:], there) == pytest.approx(constant_velocity, abs=0.5)


@pytest.mark.usefixtures("unfilmed")
def test_number_of_bounces(mnist):
    """2.4 per sequence and digit in 20 steps, so in 21 frames."""
    videos = LinearDigits(num_frames=21, folder=mnist).simulate(6000, generator())
    bounces = (videos.velocities[:, 1:] * videos.velocities[:, :-1] < 0).sum((1, 3))[videos.presence[:, 0]]
    assert bounces.double().mean() == pytest.approx(2.4, abs=0.07)


@pytest.mark.usefixtures("unfilmed")
def test_yardsticks_of_ddpaes_videos(mnist):
    """Mean over frames 11 to 20, and at frames 30 and 60, after ten; the mirrored line starts with the last step."""
    videos = DDPAEDigits(num_frames=60, folder=mnist).simulate(3000, generator())
    place, tile = videos.positions.double(), 36 * videos.state.unflatten(-1, (2, 4))[..., :2].double()
    line = tile[:, 9:10] + torch.arange(1, 51)[:, None, None] * (tile[:, 9:10] - tile[:, 8:9])
    mirrored = 36 - (line.remainder(72) - 36).abs()
    for name, error, expected, tolerance in (
        ("hold last", place[:, 10:] - place[:, 9:10], (14.7, 17.9, 19.3), 0.4),
        ("centre", place[:, 10:] - 31.5, (14.3, 14.3, 14.5), 0.3),
        ("mirrored line", mirrored - tile[:, 10:], (2.33, 5.1, 8.8), 0.4),
    ):
        distance = error.norm(dim=-1).mean((0, 2))
        measured = (distance[:10].mean(), distance[19], distance[49])
        assert [float(value) for value in measured] == pytest.approx(expected, abs=tolerance), name


@pytest.mark.parametrize("motion", [LinearDigits, EllipticDigits])
def test_blends_differ_only_where_digits_meet(motion):
    brighter, sum_ = (motion(min_digits=2, blend=blend).simulate(20, generator()) for blend in ("max", "sum"))
    assert torch.equal(brighter.positions, sum_.positions)
    assert bool((sum_.frames >= brighter.frames - 1e-6).all())
    assert (sum_.frames > brighter.frames + 0.05).sum() > 100
    assert sum_.frames.max() == 1


def test_visibility_behind_virtual_walls(monkeypatch):
    """A block of full boxes: what is lit is what is seen."""
    tiles = torch.zeros(2, SIDE, SIDE, dtype=torch.uint8)
    tiles[0, :20, :14], tiles[1, :11, :19] = 255, 255
    blocks = Digits(tiles, torch.tensor([[20, 14], [11, 19]]), torch.arange(2), "blocks")
    monkeypatch.setattr("videos.moving_digits.load_digits", lambda split, folder: blocks)
    simulator = LinearDigits(min_digits=1, max_digits=1, wall_distance=3.0, speed=(3.0, 6.0))
    videos = simulator.simulate(40, generator())
    seen = simulator.visibility(videos)[..., 0]
    lit = videos.frames.sum((2, 3, 4)) / videos.box_sizes[:, :, 0].prod(-1)
    torch.testing.assert_close(seen, lit, rtol=0, atol=1e-5)
    assert (seen[:, 0] > 1 - 1e-5).all()
    assert seen.min() < 0.85
    inside = LinearDigits().simulate(20, generator())
    assert (LinearDigits().visibility(inside)[inside.presence] > 1 - 1e-6).all()


@pytest.mark.parametrize(
    ("motion", "settings", "words"),
    [
        (
            LinearDigits,
            {"speed": (3.0, 1.0)},
            r"speed: expected \(lowest, highest\), two .* from 0 up, got \(3.0, 1.0\)",
        ),
        (LinearDigits, {"wall_distance": -1.0}, "wall_distance: expected a finite number of at least 0, got -1.0"),
        (LinearDigits, {"size": 28}, "size: expected more than a digit's tile, 28 pixels, got 28"),
        (
            EllipticDigits,
            {"angular_speed": (-0.1, 0.3)},
            r"angular_speed: expected \(lowest, highest\).*got \(-0.1, 0.3\)",
        ),
        (
            EllipticDigits,
            {"smallest_axis": 12.0},
            r"smallest_axis: expected more than 0 and at most 11.0 pixels.*got 12.0",
        ),
        (DDPAEDigits, {"step": 0.0}, "step: expected a positive number, got 0.0"),
        (DDPAEDigits, {"max_digits": 1}, "min_digits: expected 0 to max_digits = 1, got 2"),
        (DDPAEDigits, {"split": "all"}, "split: expected one of train, validation, test, got 'all'"),
    ],
)
def test_wrong_settings_are_refused(motion, settings, words):
    with pytest.raises(ValueError, match=words):
        motion(**settings)


def test_a_wrong_blend_is_refused_without_a_shape_checker():
    simulator = LinearDigits()
    object.__setattr__(simulator, "blend", "mean")  # the checker of these tests would be first
    with pytest.raises(ValueError, match="blend: expected one of max, sum, got 'mean'"):
        simulator.__post_init__()
