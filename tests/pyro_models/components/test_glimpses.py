"""Windows against torch's spatial transformer and against published numbers."""

import pytest
import torch
from torch.nn.functional import affine_grid, grid_sample

from pyro_models.components.glimpses import Windows, cover, paste_and_add, paste_glimpses, read_glimpses


def windows(batch=5, where_dim=4):
    return Windows.from_logits(torch.randn(batch, where_dim, dtype=torch.float64))


def spatial_transformer(images, scale, shift, size):
    """The published method: a grid of points, bilinear interpolation, zeros outside."""
    theta = torch.zeros(len(images), 2, 3, dtype=images.dtype)
    theta[:, 0, 0], theta[:, 1, 1], theta[:, :, 2] = scale[:, 0], scale[:, 1], shift
    grid = affine_grid(theta, [len(images), 1, *size], align_corners=True)
    return grid_sample(images[:, None], grid, align_corners=True, padding_mode="zeros")[:, 0]


@pytest.mark.parametrize("where_dim", [3, 4])
def test_both_ways_are_the_spatial_transformer(where_dim):
    images, glimpses = torch.rand(5, 17, 23, dtype=torch.float64), torch.rand(5, 6, 9, dtype=torch.float64)
    w = windows(where_dim=where_dim)
    read = read_glimpses(images, w, (6, 9))
    torch.testing.assert_close(read, spatial_transformer(images, w.scale, w.shift, (6, 9)))
    pasted = paste_glimpses(glimpses, w, (17, 23))
    torch.testing.assert_close(pasted, spatial_transformer(glimpses, 1 / w.scale, -w.shift / w.scale, (17, 23)))


def test_gradients_are_those_of_finite_differences():
    torch.manual_seed(1)
    where = torch.randn(2, 4, dtype=torch.float64, requires_grad=True)
    images = torch.rand(2, 8, 7, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x, w: read_glimpses(x, Windows.from_logits(w), (3, 5)), (images, where))
    assert torch.autograd.gradcheck(lambda x, w: paste_glimpses(x, Windows.from_logits(w), (9, 8)), (images, where))


def test_the_whole_image_is_read_and_pasted_as_it_is():
    images = torch.rand(3, 11, 11)
    whole = Windows(torch.ones(3, 2), torch.zeros(3, 2))
    torch.testing.assert_close(read_glimpses(images, whole, (11, 11)), images)
    torch.testing.assert_close(paste_glimpses(images, whole, (11, 11)), images)


def test_a_smooth_glimpse_survives_pasting_and_reading():
    """Published oracle: a Gaussian bump of width 0.4, pasted at scale 0.4 into 50 x 50 and read back: within 0.02."""
    line = torch.linspace(-1, 1, 20, dtype=torch.float64)
    bump = torch.exp(-0.5 * (line[:, None] ** 2 + line**2) / 0.4**2)[None]
    w = Windows(torch.full((1, 2), 0.4, dtype=torch.float64), torch.tensor([[0.13, -0.21]], dtype=torch.float64))
    again = read_glimpses(paste_glimpses(bump, w, (50, 50)), w, (20, 20))
    assert (again - bump).abs().max() < 0.02
    ones = paste_glimpses(torch.ones(1, 20, 20, dtype=torch.float64), Windows(w.scale, 0 * w.shift), (50, 50))
    assert ones.sum().item() == pytest.approx(426.1, abs=0.5)


def test_objects_are_pasted_and_counted_together():
    glimpses, where = torch.rand(4, 3, 6, 9, dtype=torch.float64), torch.randn(4, 3, 4, dtype=torch.float64)
    w, weights = Windows.from_logits(where.requires_grad_()), torch.rand(4, 3, dtype=torch.float64)
    torch.testing.assert_close(paste_and_add(glimpses, w, (17, 23)), paste_glimpses(glimpses, w, (17, 23)).sum(1))
    covered = cover(weights, w, (6, 9), (17, 23))
    ones = paste_and_add(weights[..., None, None].expand_as(glimpses), w, (17, 23))
    torch.testing.assert_close(covered, ones)
    slopes = (torch.autograd.grad((one * torch.arange(23)).sum(), where, retain_graph=True) for one in (covered, ones))
    torch.testing.assert_close(*slopes)


def test_middles_and_sizes_are_pixels():
    w = Windows(torch.tensor([[0.4, 0.2]]), torch.tensor([[-1.0, 0.5]]))
    torch.testing.assert_close(w.middles(50, 50), torch.tensor([[0.0, 36.75]]))
    torch.testing.assert_close(w.sizes(50, 50), torch.tensor([[20.6, 10.8]]))
    drawn = paste_glimpses(torch.ones(1, 20, 20), Windows(w.scale, torch.zeros(1, 2)), (50, 50))[0]
    assert [int((drawn > 0.5).any(dim).sum()) for dim in (0, 1)] == [20, 10]


def test_images_broadcast_against_particles():
    images, w = torch.rand(2, 9, 9), Windows.from_logits(torch.randn(4, 2, 3))
    glimpses = read_glimpses(images, w, (5, 5))
    assert glimpses.shape == (4, 2, 5, 5)
    alone = read_glimpses(images[1], Windows(w.scale[3, 1], w.shift[3, 1]), (5, 5))
    torch.testing.assert_close(glimpses[3, 1], alone)
    where = torch.randn(4, 1, 3, 3)
    several = read_glimpses(images[:, None], Windows.from_logits(where), (5, 5))
    assert several.shape == (4, 2, 3, 5, 5)
    alone = read_glimpses(images[1], Windows.from_logits(where[:, 0, 2]), (5, 5))
    torch.testing.assert_close(several[:, 1, 2], alone)
    with pytest.raises(ValueError, match=r"where: expected 3 or 4 numbers a window, got shape \(4, 2\)"):
        Windows.from_logits(torch.zeros(4, 2))


def test_channels_share_a_window():
    images, w = torch.rand(2, 3, 9, 11), Windows.from_logits(torch.randn(4, 2, 4))
    glimpses = read_glimpses(images, w, (5, 6), channels=True)
    assert glimpses.shape == (4, 2, 3, 5, 6)
    for channel in range(3):
        torch.testing.assert_close(glimpses[:, :, channel], read_glimpses(images[:, channel], w, (5, 6)))
    pasted = paste_and_add(glimpses, w, (9, 11), channels=True)
    assert pasted.shape == (4, 3, 9, 11)
    for channel in range(3):
        torch.testing.assert_close(pasted[:, channel], paste_and_add(glimpses[:, :, channel], w, (9, 11)))
