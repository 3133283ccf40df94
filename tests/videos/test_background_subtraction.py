"""A static scene becomes black, one moving thing one component where it is, a shadow nothing; it is all done once."""

import logging
import math
import os

import cv2
import numpy as np
import pytest
import torch

from videos import BackgroundSubtraction, synthetic_clip
from videos.background_subtraction import load_foreground
from videos.camera_motion import CameraMotion

WIDTH, HEIGHT, SIDE, STEP = 160, 120, 16, 2
SUBTRACTION = BackgroundSubtraction(warm_up=25, width=120, height=90)  # three quarters of the clip's size
SQUARE, WALL = 40, 200


def moving_square(num_frames=60, value=SQUARE, num_squares=1, wall=WALL):
    """Squares that go to the right, one below the other, and the left edge of the first in each frame."""
    noise = 2 * torch.randn(num_frames, HEIGHT, WIDTH, 1, generator=torch.Generator().manual_seed(0))
    clip = (wall + noise).round().to(torch.uint8).repeat(1, 1, 1, 3)
    left = 8 + STEP * torch.arange(num_frames)
    for time, start in enumerate(left.tolist()):
        for row in range(num_squares):
            clip[time, 10 + 30 * row : 10 + 30 * row + SIDE, start : start + SIDE] = value
    return clip, left


def test_a_static_scene_is_black_after_the_warm_up():
    clip = synthetic_clip(torch.Generator().manual_seed(0), num_frames=60, num_objects=0)
    foreground = BackgroundSubtraction(warm_up=20).extract(clip)
    assert foreground.light.shape == (40, 175, 240)
    assert not foreground.light.any()
    assert not foreground.components.any()
    clip[50:, 60:100, 60:100] = 20  # something is put there
    changed = BackgroundSubtraction(warm_up=20).extract(clip).light.flatten(1).any(1)
    assert changed.tolist() == 30 * [False] + 10 * [True]


def test_a_moving_square_is_one_component_where_it_is():
    clip, left = moving_square()
    foreground = SUBTRACTION.extract(clip)
    assert foreground.numbers.tolist() == list(range(25, 60))
    assert foreground.clip_size == (WIDTH, HEIGHT)
    for number, light, labels in zip(foreground.numbers, foreground.light, foreground.components, strict=True):
        assert labels.unique().tolist() == [0, 1]
        rows, columns = labels.nonzero().unbind(-1)
        edges = torch.stack([columns.min(), columns.max() + 1, rows.min(), rows.max() + 1])
        start = left[number]
        expected = 0.75 * torch.tensor([start, start + SIDE, 10, 10 + SIDE])
        assert (edges - expected).abs().max() <= 1
        inner = light[rows.min() + 2 : rows.max() - 1, columns.min() + 2 : columns.max() - 1]
        assert (inner == 255 - SQUARE).all()
        assert light.count_nonzero() <= (edges[1] - edges[0] + 2) * (edges[3] - edges[2] + 2)


@pytest.mark.parametrize("invert", [True, False])
def test_a_clip_is_followed_frame_by_frame(invert):
    """The square is one component, as bright as it should be, where it is, once it has left where it stood at first."""
    clip, left = moving_square()
    frames = list(SUBTRACTION.follow(clip, stride=3, invert=invert))
    assert [frame.number for frame in frames] == list(range(0, 60, 3))
    for frame in frames[5:]:
        assert frame.clip_size == (WIDTH, HEIGHT)
        assert frame.components.unique().tolist() == [0, 1]
        rows, columns = frame.components.nonzero().unbind(-1)
        edges = torch.stack([columns.min(), columns.max() + 1, rows.min(), rows.max() + 1])
        start = left[frame.number]
        assert (edges - 0.75 * torch.tensor([start, start + SIDE, 10, 10 + SIDE])).abs().max() <= 1
        inner = frame.light[rows.min() + 2 : rows.max() - 1, columns.min() + 2 : columns.max() - 1]
        assert (inner == (255 - SQUARE if invert else SQUARE)).all()
    with pytest.raises(ValueError, match="stride: expected at least 1 frame, got 0"):
        next(SUBTRACTION.follow(clip, stride=0, invert=invert))


@pytest.mark.parametrize(("value", "wall"), [(40, 200), (200, 40), (90, 200), (110, 70)])
def test_contrast_decides_whether_light_is_inverted(value, wall):
    clip, _ = moving_square(value=value, wall=wall)
    light = SUBTRACTION.extract(clip).light
    dark = value < wall
    assert light.amax() == (255 - value if dark else value)
    assert SUBTRACTION.extract(clip).inverted == dark
    for invert in (True, False):
        forced = BackgroundSubtraction(warm_up=25, width=120, height=90, invert=invert).extract(clip).light
        assert torch.equal(forced, light) == (invert == dark)


def test_a_clip_of_a_moving_camera_is_refused():
    """The same wall, seen by a camera that is held still, and by one that is turned by a pixel a frame, or two."""
    wall = synthetic_clip(torch.Generator().manual_seed(0), 1, HEIGHT, 4 * WIDTH, 0, noise=0.0)[0]
    wall = wall.float() + 20 * torch.rand(HEIGHT // 4, WIDTH, 1).repeat_interleave(4, 0).repeat_interleave(4, 1)
    noise = 3 * torch.randn(60, HEIGHT, WIDTH, 1)

    def seen(speed):
        frames = torch.stack([wall[:, speed * time : speed * time + WIDTH] for time in range(60)])
        return (frames + noise).clamp(0, 255).to(torch.uint8)

    assert not SUBTRACTION.extract(seen(0)).components.any()
    for speed in (1, 2):
        message = (
            "clip: expected one of a static camera, .* in frames in memory: the background moves, and would be taken"
        )
        with pytest.raises(ValueError, match=message):
            SUBTRACTION.extract(seen(speed))
        with pytest.raises(ValueError, match=message):  # and so by all that tracks, before the first frame
            next(SUBTRACTION.moving(seen(speed), passes=2))


@pytest.mark.parametrize("shift", [(0.0, 0.0), (0.3, 0.0), (0.0, -0.4), (0.5, 0.5)])
def test_camera_motion_is_that_of_most_of_the_picture(shift):
    """Waves that move by a known part of a pixel; a quarter of the picture stands still."""
    rows, columns = np.meshgrid(np.arange(48.0), np.arange(64.0), indexing="ij")

    def waves(x, y):
        phases = ((0.5, 0.1, 0), (0.15, 0.6, 1), (0.4, -0.35, 2), (0.25, 0.2, 3))
        return 128 + 25 * sum(np.sin(a * (columns - x) + b * (rows - y) + c) for a, b, c in phases)

    motion = CameraMotion()
    before, after = waves(0, 0), waves(*shift)
    after[:24, :32] = before[:24, :32]
    motion.compare(before, after)
    assert motion.share_of_width == pytest.approx(math.hypot(*shift) / 64, rel=0.2, abs=1e-4)


def test_blank_walls_do_not_tell_of_the_camera():
    motion = CameraMotion()
    motion.compare(np.full((48, 64), 7.0), np.full((48, 64), 9.0))
    assert motion.share_of_width == 0


def test_light_is_inverted_unless_it_is_not():
    clip, _ = moving_square()
    plain = BackgroundSubtraction(warm_up=25, width=120, height=90, invert=False).extract(clip)
    assert plain.light.max() == SQUARE


def test_shadows_are_dropped():
    shadow, _ = moving_square(value=round(0.7 * WALL))
    assert not SUBTRACTION.extract(shadow).components.any()
    kept = BackgroundSubtraction(warm_up=25, width=120, height=90, shadow_threshold=1.0).extract(shadow)
    assert kept.components.flatten(1).any(1).all()


def test_components_are_numbered_from_left_to_right():
    first, _ = moving_square(num_squares=3)
    clip = first.flip(1).clone()
    clip[:, :60] = first.flip(2)[:, :60]  # the upper two go to the left
    foreground = SUBTRACTION.extract(clip)
    for labels in foreground.components:
        middles = [labels.eq(number).nonzero()[:, 1].float().mean() for number in range(1, 1 + int(labels.max()))]
        assert middles == sorted(middles)
    assert foreground.components.max() >= 3


def test_small_things_are_noise():
    clip, left = moving_square()
    clip[:, 100:104, 100:104] = WALL
    clip[40::2, 100:104, 100:104] = SQUARE  # nine resized pixels that flicker
    foreground = SUBTRACTION.extract(clip)
    assert foreground.components.max() == 1
    assert not foreground.light[:, 72:80, 72:80].any()
    tolerant = BackgroundSubtraction(warm_up=25, width=120, height=90, least_area=4).extract(clip)
    assert tolerant.components.max() == 2
    assert tolerant.light[:, 72:80, 72:80].any()


@pytest.mark.parametrize("ratio", [0.9, 0.7])
def test_what_stands_still_becomes_background_after_the_time_that_is_documented(ratio):
    clip, _ = moving_square(num_frames=1)
    clip = clip.repeat(200, 1, 1, 1)
    clip[:100] = WALL
    subtraction = BackgroundSubtraction(warm_up=100, history=100, background_ratio=ratio, width=120, height=90)
    lit = subtraction.extract(clip).light.flatten(1).any(1)
    assert int(lit.sum()) == pytest.approx(-100 * math.log(ratio), abs=2)
    assert lit[0]


def write_film(path, clip, rate):
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), rate, (WIDTH, HEIGHT))
    for frame in clip.numpy():
        writer.write(frame[..., ::-1].copy())
    writer.release()


@pytest.mark.parametrize(("rate", "stride"), [(30.0, 5), (10.0, 2), (4.0, 1)])
def test_every_so_manieth_frame_of_a_file_is_kept(tmp_path, rate, stride):
    write_film(tmp_path / "film.avi", moving_square()[0], rate)
    foreground = SUBTRACTION.extract(tmp_path / "film.avi")
    assert foreground.numbers.tolist() == list(range(25, 60, stride))
    assert (foreground.components.flatten(1).amax(1) == 1).all()


def test_a_given_stride_is_taken():
    chosen = BackgroundSubtraction(warm_up=25, stride=4, width=120, height=90)
    assert chosen.extract(moving_square()[0]).numbers.tolist() == list(range(25, 60, 4))


def test_a_clip_not_longer_than_the_warm_up_is_refused():
    with pytest.raises(ValueError, match="warm_up: expected fewer frames than the clip has = 60, got 200"):
        BackgroundSubtraction().extract(moving_square()[0])


@pytest.mark.parametrize(
    ("name", "value"),
    [("warm_up", -1), ("history", 0), ("width", 0), ("coverage", 0.0), ("background_ratio", 1.5), ("stride", 0)]
    + [("least_area", 0), ("frames_per_second", -6.0)],
)
def test_settings_out_of_range_are_named(name, value):
    with pytest.raises(ValueError, match=f"{name}: expected .*, got {value}"):
        BackgroundSubtraction(**{name: value})


@pytest.fixture
def extracted(monkeypatch):
    """The clips of which the background was really subtracted."""
    clips = []
    extract = BackgroundSubtraction.extract

    def counted(self, clip):
        clips.append(clip)
        return extract(self, clip)

    monkeypatch.setattr(BackgroundSubtraction, "extract", counted)
    return clips


def test_a_clip_is_subtracted_once_per_content_and_settings(tmp_path, extracted):
    clip, _ = moving_square()
    first = load_foreground(clip, SUBTRACTION)
    assert load_foreground(clip.clone(), BackgroundSubtraction(warm_up=25, width=120, height=90)) is first
    assert load_foreground(clip, BackgroundSubtraction(warm_up=26, width=120, height=90)) is not first
    assert load_foreground(clip.flip(1), SUBTRACTION) is not first
    assert len(extracted) == 3

    path = tmp_path / "film.avi"
    write_film(path, clip, 6.0)
    before = load_foreground(path, SUBTRACTION)
    assert load_foreground(str(path), SUBTRACTION) is before
    write_film(path, clip.flip(1), 6.0)
    os.utime(path, ns=(1, 1))
    after = load_foreground(path, SUBTRACTION)
    assert not torch.equal(after.light, before.light)
    with pytest.raises(FileNotFoundError, match="none.avi, which is not a file"):
        load_foreground(tmp_path / "none.avi", SUBTRACTION)


def test_a_folder_keeps_it_for_the_next_process(tmp_path, extracted, caplog):
    from videos.background_subtraction import _load

    clip, _ = moving_square(num_frames=40)
    first = load_foreground(clip, SUBTRACTION, tmp_path / "cache")
    _load.cache_clear()
    second = load_foreground(clip, SUBTRACTION, tmp_path / "cache")
    assert len(extracted) == 1
    assert second is not first
    for name in ("light", "components", "numbers"):
        assert torch.equal(getattr(first, name), getattr(second, name))
        assert getattr(first, name).dtype == getattr(second, name).dtype
    assert second.clip_size == first.clip_size

    (file,) = (tmp_path / "cache").iterdir()
    file.write_bytes(file.read_bytes()[:300])
    _load.cache_clear()
    with caplog.at_level(logging.WARNING):
        third = load_foreground(clip, SUBTRACTION, tmp_path / "cache")
    assert len(extracted) == 2
    assert "the background is subtracted again" in caplog.text
    assert torch.equal(third.light, first.light)
    _load.cache_clear()
    assert torch.equal(load_foreground(clip, SUBTRACTION, tmp_path / "cache").numbers, first.numbers)
    assert len(extracted) == 2
