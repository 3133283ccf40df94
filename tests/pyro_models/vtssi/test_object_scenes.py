"""Opacities, count prior, centring mask and geometry of VTSSI's scenes, against numbers by hand and torch's sampler."""

import math

import pytest
import torch
from pyro.distributions import Normal
from torch.distributions import kl_divergence
from torch.nn.functional import affine_grid, grid_sample

from pyro_models import DisentangledStateSpaceModel, ObjectScenes
from pyro_models.components.glimpses import paste_glimpses, read_glimpses
from pyro_models.vtssi.geometry import edge_windows, to_pixels
from pyro_models.vtssi.object_scenes import bell


def count_of(number, objects):
    return torch.logit(torch.as_tensor(number, dtype=torch.float64) / objects)


def small(**options):
    return ObjectScenes((1, 12, 10), **({"what_dim": 3, "glimpse_size": 5, "hidden": (7,)} | options))


def test_opacities_by_hand():
    counts = count_of([1e-9, 0.4, 1.0, 2.4, 3.0], 4)
    opacity = small(num_objects=4).double().opacities(counts)
    expected = [[0, 0, 0, 0], [0.4, 0, 0, 0], [1, 0, 0, 0], [1, 1, 0.4, 0], [1, 1, 1, 0]]
    torch.testing.assert_close(opacity.T, torch.tensor(expected, dtype=torch.float64), rtol=0, atol=1e-7)


def test_opacities_add_up_to_the_count_and_so_do_their_slopes():
    scenes = small(num_objects=4).double()
    counts = torch.linspace(-5, 5, 22, dtype=torch.float64, requires_grad=True)
    total = scenes.opacities(counts).sum(0)
    torch.testing.assert_close(total, 4 * counts.sigmoid())
    (slope,) = torch.autograd.grad(total.sum(), counts)
    torch.testing.assert_close(slope, 4 * counts.sigmoid() * (1 - counts.sigmoid()))


@pytest.mark.parametrize(
    ("mean", "chances", "second"),
    [(-2.0, (0.81631, 0.18272, 0.00097), 0.02275), (-3.0, (0.97137, 0.02860, 2.08e-5), 0.00135)],
)
def test_the_count_prior_by_hand(mean, chances, second):
    scenes = small(count_mean=mean).double()
    law = scenes.count_law()
    edges = [-math.inf, *(count_of(number, 2).item() for number in (0.5, 1.5)), math.inf]
    for number, chance in enumerate(chances):
        low, high = edges[number : number + 2]
        middle = torch.tensor([min(max(low, -20.0), 20.0) / 2 + min(max(high, -20.0), 20.0) / 2], dtype=torch.float64)
        assert scenes.presences(middle).sum() == number
        assert law.cdf(torch.tensor(high)) - law.cdf(torch.tensor(low)) == pytest.approx(chance, rel=3e-3)
    (threshold,) = scenes.count_thresholds()
    assert threshold == 0
    assert 1 - law.cdf(torch.tensor(threshold)) == pytest.approx(second, rel=1e-3)
    counts = torch.tensor([-30.0, threshold - 1e-6, threshold + 1e-6], dtype=torch.float64)
    assert scenes.in_play(scenes.opacities(counts)).T.tolist() == [[True, False], [True, False], [True, True]]


def test_the_price_of_a_count():
    law = small(count_mean=-3.0).count_law()
    assert kl_divergence(Normal(0.0, 0.1), law).item() == pytest.approx(6.3076, abs=1e-4)
    assert kl_divergence(Normal(4.595, 0.5), law).item() == pytest.approx(29.160, abs=1e-3)
    assert 2 * torch.tensor(4.595).sigmoid() == pytest.approx(1.98, abs=1e-4)


def test_the_bell_by_hand():
    values = bell(25)
    assert values[12, 12] == 1
    assert values[12, 0] == pytest.approx(0.135335, abs=1e-6)
    assert values[0, 0] == pytest.approx(0.018316, abs=1e-6)
    assert values.mean() == pytest.approx(0.335625, abs=1e-6)
    assert bell(32).max() == 1
    assert bell(32)[0, 0] == pytest.approx(0.018392, abs=1e-6)


def test_the_centring_mask_flattens_and_is_off_in_evaluation():
    scenes = small(glimpse_size=25)
    assert torch.equal(scenes.centring_mask(), torch.ones(25, 25))
    before = torch.zeros(25, 25)
    for offset, smallest in ((0, 0.018316), (1, 0.509158), (10, 0.910756), (78, 0.987574), (100, 0.990280)):
        scenes.bell_offset.fill_(offset)
        mask = scenes.centring_mask()
        assert mask.min() == pytest.approx(smallest, abs=1e-6)
        assert bool((mask >= before).all())
        assert mask.max() == 1
        before = mask
    scenes.bell_offset.fill_(0)
    what, opacity = torch.randn(2, 4, 3), torch.rand(2, 4)
    trained = scenes.train().glimpses(what, opacity)
    evaluated = scenes.eval().glimpses(what, opacity)
    torch.testing.assert_close(trained, evaluated * bell(25))
    torch.testing.assert_close(
        evaluated, scenes.decoder(what).sigmoid().unflatten(-1, (25, 25)) * opacity[..., None, None]
    )
    assert "bell_offset" in scenes.state_dict()
    assert "count_mean" in scenes.state_dict()


def spatial_transformer(images, scale, position, size):
    """torch's own, with frame edges at -1 and 1: images are read at scale * u + position."""
    zeros = torch.zeros_like(scale[:, 0])
    rows = [[scale[:, 0], zeros, position[:, 0]], [zeros, scale[:, 1], position[:, 1]]]
    matrix = torch.stack([torch.stack(row, -1) for row in rows], -2)
    grid = affine_grid(matrix, [len(images), 1, *size], align_corners=False)
    return grid_sample(images[:, None], grid, align_corners=False)[:, 0]


def test_windows_are_torchs_with_edges():
    scale, position = torch.rand(30, 2) + 0.1, 2.4 * torch.rand(30, 2) - 1.2
    images, glimpses = torch.rand(30, 12, 10), torch.rand(30, 5, 5)
    windows = edge_windows(scale, position, 5, (12, 10))
    expected = spatial_transformer(images, scale, position, (5, 5))
    torch.testing.assert_close(read_glimpses(images, windows, (5, 5)), expected, rtol=0, atol=1e-5)
    expected = spatial_transformer(glimpses, 1 / scale, -position / scale, (12, 10))
    torch.testing.assert_close(paste_glimpses(glimpses, windows, (12, 10)), expected, rtol=0, atol=1e-5)


def test_a_white_glimpse_covers_its_box():
    position = (torch.tensor([14.5, 24.5]) + 0.5) * 2 / 50 - 1
    torch.testing.assert_close(to_pixels(position, (50, 50)), torch.tensor([14.5, 24.5]))
    scenes = ObjectScenes((1, 50, 50), num_objects=1)
    canvas = scenes.canvas(torch.ones(1, 1, 25, 25), torch.full((1, 1, 2), 0.2), position.expand(1, 1, 2))[0]
    expected = torch.zeros(50, 50)
    expected[20:30, 10:20] = 1
    torch.testing.assert_close(canvas, expected, rtol=0, atol=1e-5)
    columns = torch.arange(50.0)
    assert canvas.sum() == pytest.approx(100, abs=1e-3)
    assert (canvas.sum(0) * columns).sum() / 100 == pytest.approx(14.5, abs=1e-4)
    assert (canvas.sum(1) * columns).sum() / 100 == pytest.approx(24.5, abs=1e-4)


def test_pasting_what_was_read_gives_it_back():
    """A smooth blob in the middle of its window, up to what two bilinear interpolations blur."""
    line = torch.linspace(-1, 1, 50)
    image = (-((line[:, None] - 0.2) ** 2 + (line + 0.3) ** 2) / 0.04).exp()
    windows = edge_windows(torch.full((2,), 0.8), torch.tensor([-0.3, 0.2]), 60, (50, 50))
    again = paste_glimpses(read_glimpses(image, windows, (60, 60)), windows, (50, 50))
    torch.testing.assert_close(again, image, rtol=0, atol=0.03)


def test_a_shift_by_whole_pixels_shifts_the_picture():
    scenes = ObjectScenes((1, 40, 50), num_objects=2, glimpse_size=7)
    glimpses, scale = torch.rand(2, 3, 7, 7), 0.1 + 0.1 * torch.rand(2, 3, 2)
    position = 0.4 * torch.rand(2, 3, 2) - 0.2
    canvas = scenes.canvas(glimpses, scale, position)
    moved = scenes.canvas(glimpses, scale, position + torch.tensor([2 * 3 / 50, -2 * 4 / 40]))
    torch.testing.assert_close(moved, canvas.roll((-4, 3), (-2, -1)), rtol=0, atol=1e-5)


def test_objects_of_negative_size_are_drawn_small():
    scenes = small(num_objects=1)
    scale = torch.tensor([-0.3, 0.05]).expand(1, 1, 2)
    canvas = scenes.canvas(torch.ones(1, 1, 5, 5), scale, torch.zeros(1, 1, 2))
    torch.testing.assert_close(
        canvas, scenes.canvas(torch.ones(1, 1, 5, 5), scale.clamp(min=0.05), torch.zeros(1, 1, 2))
    )
    assert canvas.isfinite().all()


def test_parameter_counts():
    """Those of the paper's layers: decoder, position and motion dynamics."""
    model = DisentangledStateSpaceModel()
    assert sum(one.numel() for one in model.scenes.decoder.parameters()) == 196_337
    assert sum(one.numel() for one in model.transition.position.parameters()) == 9_284
    assert sum(one.numel() for one in model.transition.motion.parameters()) == 9_812
    assert sum(one.numel() for one in model.parameters()) == 196_337 + 9_284 + 9_812


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_objects": 0}, "num_objects: expected a whole number of at least 1, got 0$"),
        (
            {"counting": "boundary"},
            "counting: expected one of masked, always_on, got 'boundary'; the gradient of",
        ),
        ({"bell_offset": -1.0}, "bell_offset: expected at least 0, got -1.0; math.inf leaves the mask out"),
        ({"frame_shape": (3, 50, 50)}, "frame_shape: expected 1 channel, got 3; .* average colours first"),
    ],
)
def test_scenes_that_cannot_be_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        ObjectScenes(**options)
