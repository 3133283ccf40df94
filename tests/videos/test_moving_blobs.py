"""Each thing that moves is in one box, from the first frame on if the background is learned first."""

import pytest
import torch

from videos import BackgroundSubtraction, MovingBlobs

WIDTH, HEIGHT, SIDE, STEP = 120, 90, 20, 3
WALL, SQUARE = 200, 40


GONE = 40  # frame in which the square has left


def moving_square(num_frames=120):
    """A square that goes to the right, and leaves."""
    noise = 2 * torch.randn(num_frames, HEIGHT, WIDTH, 1, generator=torch.Generator().manual_seed(0))
    clip = (WALL + noise).round().to(torch.uint8).repeat(1, 1, 1, 3)
    for time in range(min(GONE, num_frames)):
        clip[time, 30 : 30 + SIDE, STEP * time : STEP * time + SIDE] = SQUARE
    return clip


def test_a_square_is_in_one_box_from_the_first_frame_on():
    found = list(MovingBlobs(least_area=10).detect(moving_square()))
    assert len(found) == 120
    for time, boxes in enumerate(found[:GONE]):
        expected = torch.tensor([[STEP * time, 30, min(SIDE, WIDTH - STEP * time), SIDE]]).double()
        torch.testing.assert_close(boxes, expected, atol=2.0, rtol=0)
    assert not any(len(boxes) for boxes in found[GONE:])


def test_with_one_pass_the_first_frame_is_background():
    once = list(MovingBlobs(passes=1).detect(moving_square()))
    assert not any(len(boxes) for boxes in once[:5])
    assert all(len(boxes) == 1 for boxes in once[15:30])


def test_small_blobs_are_noise():
    clip = moving_square()
    clip[10:12, 70:82, 10:22] = SQUARE

    def counts(least_area):
        return [len(boxes) for boxes in list(MovingBlobs(least_area=least_area).detect(clip))[:30]]

    assert counts(100).count(2) == 2
    assert counts(200) == 30 * [1]
    assert counts(500) == 30 * [0]


def test_settings_of_the_subtraction_are_used():
    shadow = moving_square().clamp(min=round(0.7 * WALL))
    assert not any(len(boxes) for boxes in MovingBlobs().detect(shadow))
    seen = MovingBlobs(BackgroundSubtraction(shadow_threshold=1.0)).detect(shadow)
    assert all(len(boxes) for boxes in list(seen)[:30])


@pytest.mark.parametrize("name", ["least_area", "passes"])
def test_settings_out_of_range_are_named(name):
    with pytest.raises(ValueError, match=f"{name}: expected at least 1, got 0"):
        MovingBlobs(**{name: 0})
    if name == "passes":
        with pytest.raises(ValueError, match="passes: expected at least 1, got 0"):
            next(BackgroundSubtraction().moving(moving_square(2), passes=0))
