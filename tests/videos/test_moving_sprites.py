"""Sprites-MOT: lives, paths, boxes and pictures by the published rules, pixel by pixel."""

import math

import pytest
import torch

from videos import MovingSprites
from videos.moving_sprites import COLOURS


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def long():
    """Whole lives of many sprites, small pictures."""
    return MovingSprites(120, 16, masks=True).simulate(60, generator())


def lives(presence):
    """(sequence, slot, first frame, one past the last) of each sprite that is there from birth to end."""
    for sequence, slot in torch.cartesian_prod(torch.arange(len(presence)), torch.arange(3)).tolist():
        changes = presence[sequence, :, slot].int().diff()
        births, ends = (changes == 1).nonzero()[:, 0] + 1, (changes == -1).nonzero()[:, 0] + 1
        for birth in births.tolist():
            if (later := ends[ends > birth]).numel():
                yield sequence, slot, birth, int(later[0])


def test_sprites_cross_the_frame_in_straight_lines(long):
    states = long.state.unflatten(-1, (3, 4))
    lengths, sides = [], []
    for sequence, slot, birth, end in lives(long.presence):
        path = states[sequence, birth:end, slot]
        assert path[:, 2:].unique(dim=0).shape[0] == 1  # one velocity
        speed = path[0, 2:].norm().item()
        assert speed == pytest.approx(5.3, abs=1e-4)
        steps = torch.arange(end - birth)[:, None]
        assert (path[:, :2] - path[:1, :2] - steps * path[0, 2:]).abs().max() <= 1.0001  # whole pixels
        axis = int(path[0, 2:].abs().argmax())
        side = path[0, axis] < 64
        assert abs(path[0, axis] - (10 if side else 117)) <= 0.5
        assert (path[:, :2] > 9).all()
        assert (path[:, :2] < 118).all()
        after = path[-1, axis] + path[-1, 2 + axis]
        assert (after > 116.5) if side else (after < 10.5)
        angle = math.degrees(math.acos(min(1.0, path[0, 2 + axis].abs().item() / speed)))
        assert angle <= 45.1
        lengths.append(end - birth)
        sides.append((axis, bool(side)))
    assert len(lengths) > 400
    assert min(lengths) == 21
    assert max(lengths) <= 30
    counts = torch.tensor([sides.count((axis, side)) for axis in (0, 1) for side in (True, False)])
    assert (counts / len(sides) - 0.25).abs().max() < 0.06


def test_slots_wait_seven_frames_and_then_for_a_coin(long):
    waits = []
    for sequence in range(len(long.presence)):
        for slot in range(3):
            there = long.presence[sequence, :, slot].nonzero()[:, 0]
            gaps = there.diff() - 1
            waits += gaps[gaps > 0].tolist()
    shares = torch.tensor(waits).bincount() / len(waits)
    assert min(waits) == 7
    assert len(waits) > 400
    torch.testing.assert_close(shares[7:11], torch.tensor([0.5, 0.25, 0.125, 0.0625]), rtol=0, atol=0.06)
    lengths = [end - birth for *_, birth, end in lives(long.presence)]
    mean = sum(lengths) / len(lengths)
    by_time = long.presence.float().mean((0, 2))
    assert by_time.mean().item() == pytest.approx(mean / (mean + 8), abs=0.02)  # the first frame is as any other
    assert (by_time[:10].mean() - by_time.mean()).abs() < 0.05


def test_sizes_shapes_and_colours(long):
    sizes = long.box_sizes[long.presence] * 8
    assert (sizes == sizes.round()).all()
    assert sizes.min() >= round(21 * 0.9 * math.sqrt(0.8))
    assert sizes.max() <= round(21 * 1.1 / math.sqrt(0.8))
    assert sizes.mean(0).tolist() == pytest.approx([21.1, 21.0], abs=0.5)
    kinds = long.labels[long.presence].bincount(minlength=24).unflatten(0, (6, 4)) / long.presence.sum()
    assert (kinds.sum(0) - 1 / 4).abs().max() < 0.05
    assert (kinds.sum(1) - 1 / 6).abs().max() < 0.05


def test_pictures_pixel_by_pixel():
    """Inside or outside each shape at four points of every pixel; later slots in front."""
    videos = MovingSprites(2, 64, masks=True).simulate(6, generator(3))
    states = videos.state.double().unflatten(-1, (3, 4))
    place = torch.arange(128, dtype=torch.float64)
    for sequence in range(6):
        picture, owner = torch.zeros(3, 128, 128), torch.full((128, 128), -1)
        for slot in range(3):
            if not videos.presence[sequence, 1, slot]:
                continue
            colour, shape = divmod(int(videos.labels[sequence, 1, slot]), 4)
            width, height = (2 * videos.box_sizes[sequence, 1, slot]).tolist()
            dx = (place - states[sequence, 1, slot, 0])[None, :] / (width / 2)
            dy = (place - states[sequence, 1, slot, 1])[:, None] / (height / 2)
            inside = [
                dx**2 + dy**2 <= 1,
                (dx.abs() <= 1) & (dy.abs() <= 1),
                (dx.abs() <= (dy + 1) / 2) & (dy <= 1),
                dx.abs() + dy.abs() <= 1,
            ][shape]
            owner[inside] = slot
            for channel in range(3):
                picture[channel][inside] = COLOURS[colour][channel]
        reduced = picture.unflatten(1, (64, 2)).unflatten(-1, (64, 2)).mean((2, 4))
        assert ((videos.frames[sequence, 1] - reduced).abs() > 1e-6).float().mean() < 0.001  # rounding at an edge
        for slot in range(3):
            shares = (owner == slot).float().unflatten(0, (64, 2)).unflatten(-1, (64, 2)).mean((1, 3))
            mask = videos.masks[sequence, 1, slot]
            assert (mask & (shares < 0.5)).sum() <= 2
            assert (~mask & (shares > 0.5)).sum() <= 2
            if videos.presence[sequence, 1, slot] and mask.sum() == (shares > 0).sum():
                rows, columns = mask.nonzero().unbind(-1)
                middle = torch.stack([columns.max() + columns.min(), rows.max() + rows.min()]) / 2
                assert (middle - videos.positions[sequence, 1, slot]).abs().max() < 1


def test_frames_of_all_sizes_show_the_same_sprites():
    large, small = (MovingSprites(5, size, masks=True).simulate(20, generator()) for size in (64, 32))
    assert torch.equal(large.presence, small.presence)
    assert torch.equal(large.state, small.state)
    torch.testing.assert_close((large.positions + 0.5)[large.presence], 2 * (small.positions + 0.5)[small.presence])
    reduced = large.frames.unflatten(-2, (32, 2)).unflatten(-1, (32, 2)).mean((-3, -1))
    assert (reduced - small.frames).abs().mean() < 0.002  # edges are sampled at fewer points
    assert small.masks.sum(2).max() == 1
    two = MovingSprites(5, 32, max_objects=2).simulate(2, generator())
    assert two.presence.shape == (2, 5, 2)
    assert two.masks is None


def test_wrong_settings_are_refused():
    for options, message in (
        ({"size": 8}, "size: expected at least 16, got 8"),
        ({"num_frames": 0}, "num_frames: expected at least 1, got 0"),
        ({"max_objects": 0}, "max_objects: expected at least 1, got 0"),
    ):
        with pytest.raises(ValueError, match=message):
            MovingSprites(**options)
    with pytest.raises(ValueError, match="num_sequences: expected a positive number, got 0"):
        MovingSprites().simulate(0, generator())
