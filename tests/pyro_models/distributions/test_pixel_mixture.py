"""These tests pin: the density of a mixture of pictures, its closed-form gradients, and what it refuses."""

import math

import pytest
import torch
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal

from pyro_models.distributions import PixelMixture

VARIANCE = 0.3


def mixture(components=3, channels=2, *, per_channel=False, batch=(2,), scale=0.4, dtype=torch.float64):
    generator = torch.Generator().manual_seed(3)
    logits = torch.randn(*batch, components, 4, 5, generator=generator, dtype=dtype)
    means = torch.rand(*batch, components, channels, 4, 5, generator=generator, dtype=dtype)
    value = torch.rand(*batch, channels, 4, 5, generator=generator, dtype=dtype)
    return PixelMixture(logits, means, scale, per_channel=per_channel), value


def pixel(masks, means, value, *, per_channel=False):
    """One pixel with several channels; means by component."""
    means = torch.tensor(means, dtype=torch.float64)[..., None, None]
    logits = torch.tensor(masks, dtype=torch.float64).log()[:, None, None]
    law = PixelMixture(logits, means, VARIANCE**0.5, per_channel=per_channel)
    return law, torch.tensor(value, dtype=torch.float64)[:, None, None]


def without_constant(law, value):
    return float(law.log_prob(value)) + 0.5 * len(value) * math.log(2 * math.pi * VARIANCE)


def test_one_pixel_by_hand():
    law, value = pixel([0.25, 0.75], [[0.0], [1.0]], [0.0])
    assert without_constant(law, value) == pytest.approx(-0.937370, abs=1e-6)
    assert float(law.log_prob(value)) == pytest.approx(-0.937370 - 0.316952, abs=2e-6)
    slopes = law.gradients(value)
    assert slopes.masks.flatten().tolist() == pytest.approx([-2.553256, -0.482248], abs=1e-6)
    assert slopes.means.flatten().tolist() == pytest.approx([0.0, 1.205620], abs=1e-6)
    assert law.responsibilities(value).flatten().tolist() == pytest.approx([0.638314, 0.361686], abs=1e-6)
    assert law.mask_posterior(value).flatten().tolist() == pytest.approx([0.841131, 0.158869], abs=1e-6)
    alone = law.log_prob_of_pixels(value) - law.leave_one_out(value)
    assert alone.flatten().tolist() == pytest.approx([0.729297, -0.937370], abs=1e-6)


@pytest.mark.parametrize(("per_channel", "expected"), [(True, -1.040278), (False, -1.666667)])
def test_channels_by_pixel_or_one_by_one(per_channel, expected):
    law, value = pixel([0.5, 0.5], [[0.0, 1.0], [1.0, 0.0]], [0.0, 0.0], per_channel=per_channel)
    assert without_constant(law, value) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("per_channel", [False, True])
def test_density_is_that_of_a_mixture_in_torch(per_channel):
    law, value = mixture(per_channel=per_channel)
    if per_channel:
        masks = law.masks.unsqueeze(-3).expand_as(law.means).movedim(-4, -1)
        peer = MixtureSameFamily(Categorical(masks), Normal(law.means.movedim(-4, -1), 0.4))
        expected = peer.log_prob(value).sum((-3, -2, -1))
    else:
        parts = Independent(Normal(law.means.permute(0, 3, 4, 1, 2), 0.4), 1)
        peer = MixtureSameFamily(Categorical(law.masks.movedim(-3, -1)), parts)
        expected = peer.log_prob(value.movedim(-3, -1)).sum((-2, -1))
    torch.testing.assert_close(law.log_prob(value), expected)


@pytest.mark.parametrize("per_channel", [False, True])
def test_closed_form_gradients_are_those_of_autograd(per_channel):
    law, value = mixture(per_channel=per_channel)
    logits, means = (one.clone().requires_grad_() for one in (law.logits, law.means))
    slopes = law.gradients(value)
    loss = -PixelMixture(logits, means, law.scale, per_channel=per_channel).log_prob(value).sum()
    by_logits, by_means = torch.autograd.grad(loss, (logits, means))
    torch.testing.assert_close(slopes.logits, by_logits)
    torch.testing.assert_close(slopes.means, by_means)
    masks = law.masks.requires_grad_()
    densities = law.component_log_probs(value).exp()
    weighted = masks.unsqueeze(-3) * (densities if per_channel else densities.prod(-3, keepdim=True))
    (by_masks,) = torch.autograd.grad(-weighted.sum(-4).log().sum(), masks)
    torch.testing.assert_close(slopes.masks, by_masks)


@pytest.mark.parametrize("per_channel", [False, True])
def test_what_changes_nothing(per_channel):
    law, value = mixture(per_channel=per_channel)
    expected = law.log_prob(value)

    def again(logits, means):
        return PixelMixture(logits, means, law.scale, per_channel=per_channel)

    torch.testing.assert_close(again(law.logits + 2.5, law.means).log_prob(value), expected)
    order = [2, 0, 1]
    torch.testing.assert_close(again(law.logits[:, order], law.means[:, order]).log_prob(value), expected)
    absent = torch.full_like(law.logits[:, :1], -math.inf)
    more = again(torch.cat([law.logits, absent], 1), torch.cat([law.means, law.means[:, :1]], 1))
    torch.testing.assert_close(more.log_prob(value), expected)
    torch.testing.assert_close(more.mixing_entropy(), law.mixing_entropy())
    torch.testing.assert_close(more.gradients(value).logits[:, :3], law.gradients(value).logits)
    assert all(slope.isfinite().all() for slope in more.gradients(value))
    same = again(law.logits, law.means[:, :1].expand_as(law.means))
    torch.testing.assert_close(
        same.log_prob(value), Normal(law.means[:, 0], law.scale).log_prob(value).sum((-3, -2, -1))
    )
    one = again(law.logits[:, :1], law.means[:, :1])
    torch.testing.assert_close(one.log_prob(value), same.log_prob(value))
    torch.testing.assert_close(one.leave_one_out(value)[:, 0], one.log_prob_of_pixels(value))


def test_one_channel_has_one_density():
    joint, value = mixture(channels=1)
    apart, _ = mixture(channels=1, per_channel=True)
    torch.testing.assert_close(joint.log_prob(value), apart.log_prob(value))


def test_the_constant_of_a_large_frame():
    """A perfect frame: what implementations without the normalising constant leave out."""
    for channels, constant in ((3, -3894.708), (1, -1298.236)):
        means = torch.zeros(1, channels, 64, 64, dtype=torch.float64)
        law = PixelMixture(torch.zeros(1, 64, 64, dtype=torch.float64), means, VARIANCE**0.5)
        assert float(law.log_prob(means[0])) == pytest.approx(constant, abs=1e-3)


def test_entropy_of_masks():
    uniform = PixelMixture(torch.zeros(5, 64, 64), torch.zeros(5, 1, 64, 64), 1.0)
    assert float(uniform.mixing_entropy()) == pytest.approx(6592.2577, rel=1e-6)
    sure = torch.zeros(5, 64, 64)
    sure[2] = 1e4
    assert float(PixelMixture(sure, torch.zeros(5, 1, 64, 64), 1.0).mixing_entropy()) == 0.0


@pytest.mark.parametrize("per_channel", [False, True])
def test_draws_have_the_moments(per_channel):
    law, _ = mixture(per_channel=per_channel, scale=0.2)
    torch.manual_seed(0)
    draws = law.sample((20_000,))
    assert draws.shape == (20_000, 2, 2, 4, 5)
    torch.testing.assert_close(draws.mean(0), law.mean, rtol=0, atol=0.015)
    torch.testing.assert_close(draws.var(0), law.variance, rtol=0, atol=0.01)
    centred = draws - law.mean
    together = (centred[:, :, 0] * centred[:, :, 1]).mean(0)  # channels share a component, or not
    spread = (law.masks * law.means[:, :, 0] * law.means[:, :, 1]).sum(1) - law.mean[:, 0] * law.mean[:, 1]
    torch.testing.assert_close(together, torch.zeros_like(spread) if per_channel else spread, rtol=0, atol=0.01)


def test_batch_dims_expand():
    law, value = mixture()
    wide = law.expand((3, 2))
    assert wide.batch_shape == (3, 2)
    assert wide.event_shape == (2, 4, 5)
    torch.testing.assert_close(wide.log_prob(value), law.log_prob(value).expand(3, 2))
    assert wide.sample().shape == (3, 2, 2, 4, 5)


@pytest.mark.parametrize(
    ("logits", "means", "scale", "message"),
    [
        ((2, 4, 5), (3, 1, 4, 5), 0.3, r"logits: expected \(components, height, width\) of the means = \(3, 4, 5\)"),
        ((4, 5), (3, 1, 4, 5), 0.3, "means, logits: expected"),
        ((3, 4, 5), (3, 4, 5), 0.3, "means, logits: expected"),
        ((3, 4, 5), (3, 1, 4, 5), -0.3, "scale: expected a positive number, got -0.3"),
        ((3, 4, 5), (3, 1, 4, 5), torch.ones(3), "scale: expected one number for all pixels, got shape"),
    ],
)
def test_wrong_arguments_are_named(logits, means, scale, message):
    with pytest.raises(ValueError, match=message):
        PixelMixture(torch.zeros(logits), torch.zeros(means), scale)
