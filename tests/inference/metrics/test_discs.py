"""Places of discs in pictures."""

import pytest
import torch

from inference.metrics import find_discs
from videos import Cannonballs


def test_discs_of_simulated_frames_are_found():
    """Rounded to pixels, wherever discs do not touch."""
    videos = Cannonballs(size=32, min_balls=2, max_balls=2).simulate(40, torch.Generator().manual_seed(0))
    places = videos.positions.round()
    places = places.clamp(2, 29)
    apart = (places[:, :, 0] - places[:, :, 1]).norm(dim=-1) > 6
    found = find_discs(videos.frames[:, :, 0], 2)
    assert found.shape == places.shape
    gaps = torch.cdist(found[apart], places[apart])
    torch.testing.assert_close(gaps.amin(-1), torch.zeros(int(apart.sum()), 2))
    torch.testing.assert_close(gaps.amin(-2), torch.zeros(int(apart.sum()), 2))


def test_the_brightest_comes_first_and_the_centre_of_its_light_counts():
    picture = torch.full((20, 30), 0.001)
    picture[4, 10:12] = torch.tensor([0.6, 0.2])
    picture[12:14, 20] = 0.45
    found = find_discs(picture, 2, radius=1)
    torch.testing.assert_close(found, torch.tensor([[20.0, 12.5], [10.25, 4.0]]), rtol=0, atol=0.02)


def test_an_empty_picture_has_some_place():
    assert find_discs(torch.zeros(2, 9, 9), 3).isfinite().all()


@pytest.mark.parametrize(("count", "radius"), [(0, 2), (1, 5)])
def test_errors(count, radius):
    with pytest.raises(ValueError, match="count, radius: expected at least 1 disc"):
        find_discs(torch.zeros(9, 9), count, radius)
