"""What scores of segmentation say about masks that are wrong in known ways, on frames of four balls.

Values of the table were computed elsewhere, on 200 other frames, and rounded.
"""

import math

import pytest
import torch

from inference.metrics import adjusted_rand_index, mean_best_overlap
from videos import MassiveBalls

FRAMES = 200
HALF = {2: 0.005, 3: 0.0005}  # of the last digit


@pytest.fixture(scope="module")
def videos():
    return MassiveBalls(num_frames=1, masks=True).simulate(FRAMES, torch.Generator().manual_seed(0))


def discs(videos, wider):
    """Discs whose radii differ by some pixels from the true ones, the last ball in front."""
    axis = torch.arange(64.0)
    across, down = axis - videos.positions[..., 0, None], axis - videos.positions[..., 1, None]
    radii = 0.5 * videos.box_sizes[..., 0] + wider
    inside = across.square()[..., None, :] + down.square()[..., :, None] < radii.square()[..., None, None]
    return inside & ~(inside.flip(2).int().cumsum(2).flip(2) > 1)


def voronoi(videos):
    axis = torch.arange(64.0)
    across, down = axis - videos.positions[..., 0, None], axis - videos.positions[..., 1, None]
    nearest = (across.square()[..., None, :] + down.square()[..., :, None]).argmin(2)
    return torch.stack([nearest == ball for ball in range(4)], 2)


def with_background(videos, *parts):
    return torch.cat([videos.masks, *parts], 2)


def owned(videos):
    """The first ball's slot has the background too."""
    masks = videos.masks.clone()
    masks[:, :, 0] |= ~videos.masks.any(2)
    return masks


def halves(videos):
    background, left = ~videos.masks.any(2, keepdim=True), torch.arange(64) < 32
    return with_background(videos, background & left, background & ~left)


def random_labels(videos):
    return torch.rand(FRAMES, 1, 5, 64, 64, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(
    ("predict", "whole", "foreground"),
    [
        pytest.param(lambda videos: discs(videos, 0), "1.000", "1.000", id="perfect"),
        pytest.param(lambda videos: discs(videos, 1), "0.80", "0.999", id="a pixel wider"),
        pytest.param(lambda videos: discs(videos, 2), "0.64", "0.99", id="two pixels wider"),
        pytest.param(lambda videos: discs(videos, -1), "0.78", "0.49", id="a pixel narrower"),
        pytest.param(owned, "0.84", "1.000", id="background in a ball's slot"),
        pytest.param(halves, "0.28", "1.000", id="background in halves"),
        pytest.param(voronoi, "0.02", "1.00", id="Voronoi"),
        pytest.param(lambda videos: torch.ones(FRAMES, 1, 1, 64, 64), "0.000", "0.000", id="one cluster"),
        pytest.param(random_labels, "0.00", "0.00", id="random"),
    ],
)
def test_the_table(videos, predict, whole, foreground):
    masks = predict(videos)
    for foreground_only, text in ((False, whole), (True, foreground)):
        index = adjusted_rand_index(masks, videos.masks, foreground_only=foreground_only, over="frame")
        error = index.std().item() / math.sqrt(FRAMES)
        assert error < 0.003
        # both samples are of 200 frames
        tolerance = 4 * math.sqrt(2) * error + HALF[len(text.split(".")[1])]
        assert index.mean().item() == pytest.approx(float(text), abs=tolerance)
        if text in ("1.000", "0.000"):
            assert index.unique().tolist() == [float(text)]


def test_black_frames_miss_a_tenth_of_the_pixels(videos):
    assert videos.frames.square().mean().item() == pytest.approx(0.103, abs=0.002)


def test_best_overlaps_see_what_the_foreground_index_does_not(videos):
    """Two pixels wider, a background that is split and Voronoi cells have an index near 1 in the foreground."""
    overlap = {
        name: mean_best_overlap(masks, videos.masks, over="frame").mean().item()
        for name, masks in (
            ("wider", discs(videos, 2)),
            ("halves", halves(videos)),
            ("cells", voronoi(videos)),
        )
    }
    # of a disc with radius r in one with r + 2: r^2 / (r + 2)^2, for radii of 5.12 and 6.4 pixels
    expected = 0.5 * (5.12**2 / 7.12**2 + 6.4**2 / 8.4**2)
    assert overlap["wider"] == pytest.approx(expected, abs=0.01)
    assert overlap["halves"] == 1
    assert overlap["cells"] < 0.15
