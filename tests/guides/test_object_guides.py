"""Guides for positions of objects: which inputs affect which outputs, how gaps are filled, presence."""

import pytest
import torch

from guides import ObjectFilterGuide, ObjectPotentialsGuide, check_guide
from guides.objects.guide import READINGS
from inference import queries
from pyro_models import DynamicsFromPixels
from pyro_models.dynamics_from_pixels.object_renderers import LOGIT_UNIT, GlyphRenderer, RecurrentRenderer
from tests.contracts.registry import unsettle

SHAPE, OBJECTS, SEQUENCES, TIME = (1, 8, 8), 2, 3, 9
BOTH = pytest.mark.parametrize("build", [ObjectFilterGuide, ObjectPotentialsGuide])


def pair(build, renderer=None, **options):
    model = DynamicsFromPixels(SHAPE, OBJECTS, renderer=renderer or RecurrentRenderer(SHAPE, 7))
    guide = build(model, state_dim=6, **options)
    unsettle(model)
    unsettle(guide)
    return model, guide


def videos():
    frames = (torch.rand(SEQUENCES, TIME, *SHAPE) > 0.7).float()
    controls = torch.tensor([[1.0, 1.0], [1.0, 0.0], [1.0, 1.0]])[:, None].expand(SEQUENCES, TIME, OBJECTS)
    return frames, controls


def test_the_published_size():
    """8,925,188 numbers for 48 x 48 pixels, state 1024, up to three objects."""
    with torch.device("meta"):
        guide = ObjectFilterGuide(DynamicsFromPixels())
    assert sum(parameter.numel() for parameter in guide.parameters()) == 8_925_188


def test_a_filter_knows_only_the_past_and_a_smoother_does_not():
    """Means do not change with later frames, unless the guide reads in both directions."""
    frames, controls = videos()
    changed = frames.clone()
    changed[:, 5:] = 1 - changed[:, 5:]
    for bidirectional in (False, True):
        _, guide = pair(ObjectFilterGuide, bidirectional=bidirectional)
        first, second = (guide.complete(one, None, controls)["a"][..., :5, :] for one in (frames, changed))
        assert torch.equal(first, second) != bidirectional


@BOTH
@pytest.mark.parametrize("reading", READINGS)
def test_an_absent_object_changes_nothing(build, reading):
    model, guide = pair(build, reading=reading)
    frames, controls = videos()
    together = guide.complete(frames, None, controls)["a"]
    alone = guide.complete(frames[1:2], None, controls[1:2])["a"]
    torch.testing.assert_close(together[:1, 1:2], alone[:1])
    assert check_guide(model, guide, frames, None, controls) is not None


@BOTH
@pytest.mark.parametrize("method", ["smoothing", "first frames"])
def test_a_forecast_continues_the_dynamics(build, method):
    """E2: without noise, positions after the last frame have the second difference of the dynamics."""
    model, guide = pair(build)
    frames, controls = videos()
    more = torch.cat([controls, controls[:, :6]], 1)
    found = queries.forecast(model, guide, frames, None, more, num_frames=6, method=method)
    positions = found.latents["a"][..., TIME:, :]
    bends = positions.diff(dim=-2).diff(dim=-2)
    expected = model.prior.acceleration().detach().expand_as(bends)
    if method == "first frames":  # one component; averages over components bend alike, as dynamics are shared
        torch.testing.assert_close(bends, expected, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(bends, expected, rtol=1e-2, atol=1e-3)
    assert found.frames.shape == (SEQUENCES, TIME + 6, *SHAPE)


@BOTH
def test_a_gap_is_filled_and_its_frames_are_never_read(build):
    model, guide = pair(build)
    frames, controls = videos()
    observed = torch.ones(SEQUENCES, TIME, dtype=torch.bool)
    observed[:, 3:6] = False
    observed[2, 0] = False
    hidden = torch.where(observed[:, :, None, None, None], frames, torch.nan)
    first = guide.complete(frames, observed, controls)["a"]
    assert torch.equal(first, guide.complete(hidden, observed, controls)["a"])
    assert first.isfinite().all()
    filled = guide.complete(frames, torch.ones_like(observed), controls)["a"]
    torch.testing.assert_close(filled, guide.complete(frames, None, controls)["a"])


@BOTH
def test_draws_spread_around_the_expected_positions(build):
    model, guide = pair(build)
    frames, controls = videos()
    observed = torch.ones(SEQUENCES, TIME, dtype=torch.bool)
    observed[:, 5:] = False
    torch.manual_seed(0)
    draws = guide.complete(frames, observed, controls, num_samples=500)["a"]
    assert draws.shape == (500, OBJECTS, SEQUENCES, TIME, 2)
    spread = draws.std(0)
    assert (spread > 0).all()
    expected = guide.complete(frames, observed, controls)["a"]
    off = (draws.mean(0) - expected).abs() / (spread / 500**0.5)
    if build is ObjectPotentialsGuide:
        assert off.max() < 6
    else:  # the expected positions start from means of what is seen, not from draws: components may differ
        assert off[..., :5, :].max() < 6


def test_readings_are_combined_with_the_dynamics():
    """Precise readings are kept; with vague ones the model's distribution of positions remains."""
    model, guide = pair(ObjectPotentialsGuide)
    mean = torch.randn(OBJECTS, SEQUENCES, TIME, 2)
    sure = guide.law(mean, torch.full_like(mean, 1e-3), None)
    torch.testing.assert_close(sure.mean, mean, rtol=0, atol=1e-3)
    vague = guide.law(mean, torch.full_like(mean, 1e4), None)
    weights = model.prior.logits.softmax(-1)
    torch.testing.assert_close(vague.mean, model.prior.collapsed(weights, TIME).mean.expand_as(mean), atol=1e-3, rtol=0)


def test_a_component_that_readings_tell_is_the_one_that_is_used():
    model, guide = pair(ObjectPotentialsGuide)
    with torch.no_grad():
        model.prior.initial_mean.copy_(torch.tensor([[-5.0, 0, 1, 0], [5.0, 0, -1, 0]]))
    a = model.prior.law(TIME).sample((OBJECTS, SEQUENCES))
    scale = torch.full_like(a, 0.1)
    law = guide.law(a, scale, None)
    chosen = model.prior.law(TIME).component_posterior(a).probs.argmax(-1)
    expected = model.prior.initial_mean[chosen]
    torch.testing.assert_close(law.ssm.initial_mean, expected, rtol=0, atol=1e-3)


def test_wrong_arguments_are_refused():
    with pytest.raises(ValueError, match="reading: expected one of linear, keypoints, tracking, got 'attention'"):
        pair(ObjectFilterGuide, reading="attention")
    _, guide = pair(ObjectFilterGuide)
    frames, controls = videos()
    with pytest.raises(ValueError, match=r"method: expected one of \('smoothing', 'first frames'\), got 'filtering'"):
        guide.complete(frames, None, controls, method="filtering")
    with pytest.raises(ValueError, match="controls: expected"):
        guide(frames, None, controls[..., :1])


def test_glyphs_and_keypoints_agree_on_places():
    """A glyph is drawn where a keypoint reads it."""
    _, guide = pair(ObjectFilterGuide, reading="keypoints")
    renderer = GlyphRenderer(SHAPE, 3)
    places = torch.tensor([[[0.9, -1.2]], [[-0.6, 0.4]]]).expand(2, 1, 2)
    with torch.no_grad():
        renderer.scaled_glyph.fill_(9.0 / LOGIT_UNIT)
        frames = renderer(places[:1], torch.ones(1, 1, dtype=torch.bool)).sigmoid()
        guide.mean.attention.weight.zero_()
        read = guide.mean(torch.zeros(1, 1, 1, 6), (frames > 0.5).float()[:, None])
    torch.testing.assert_close(read[0, 0, 0], places[0, 0], rtol=0, atol=0.6)
