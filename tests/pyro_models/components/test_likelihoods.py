"""Frame distributions against densities written out."""

from math import log, pi

import pytest
import torch

from pyro_models.components.likelihoods import BernoulliFrames, GaussianFrames, frame_likelihood

FRAME = (2, 3, 4)


def test_bernoulli_at_logits_zero_is_the_number_of_pixels_times_log_half():
    law = BernoulliFrames()(torch.zeros(5, 1, 32, 32, dtype=torch.float64))
    assert law.event_shape == (1, 32, 32)
    frames = torch.bernoulli(torch.full((5, 1, 32, 32), 0.3, dtype=torch.float64))
    torch.testing.assert_close(law.log_prob(frames), torch.full((5,), -709.7827128933840, dtype=torch.float64))
    torch.testing.assert_close(law.mean, torch.full_like(frames, 0.5))


def test_bernoulli_density_by_hand_and_far_logits_stay_finite():
    logits = torch.randn(7, *FRAME, dtype=torch.float64)
    frames = torch.bernoulli(torch.full_like(logits, 0.4))
    probability = 1 / (1 + (-logits).exp())
    expected = (frames * probability.log() + (1 - frames) * (1 - probability).log()).flatten(1).sum(1)
    torch.testing.assert_close(BernoulliFrames()(logits).log_prob(frames), expected)
    assert BernoulliFrames()(torch.full(FRAME, 500.0)).log_prob(torch.zeros(FRAME)).isfinite()


def test_gaussian_density_by_hand_with_a_variance_per_pixel():
    likelihood = GaussianFrames(FRAME, initial_variance=0.2, minimum_variance=0.01).double()
    torch.testing.assert_close(likelihood.variance, torch.full(FRAME, 0.2, dtype=torch.float64), atol=1e-7, rtol=0)
    likelihood.scaled_log_excess.data += torch.randn(FRAME, dtype=torch.float64)
    output = torch.randn(7, 5, *FRAME, dtype=torch.float64)
    frames = torch.rand_like(output)
    variance = 0.01 + (5.0 * likelihood.scaled_log_excess).exp()
    expected = -0.5 * (((frames - output) ** 2 / variance) + variance.log() + log(2 * pi)).flatten(2).sum(2)
    law = likelihood(output)
    assert law.event_shape == FRAME
    torch.testing.assert_close(law.log_prob(frames), expected)
    assert torch.equal(law.mean, output)
    law.log_prob(frames).sum().backward()
    assert likelihood.scaled_log_excess.grad.abs().min() > 0


def test_gaussian_variance_never_falls_to_its_minimum():
    likelihood = GaussianFrames(FRAME)
    likelihood.scaled_log_excess.data.fill_(-60.0)
    assert torch.equal(likelihood.variance, torch.full(FRAME, 1e-4))


def test_names():
    assert isinstance(frame_likelihood("bernoulli", FRAME), BernoulliFrames)
    assert frame_likelihood("gaussian", FRAME).variance.shape == FRAME


def test_messages():
    with pytest.raises(ValueError, match="likelihood: expected one of bernoulli, gaussian, got 'poisson'"):
        frame_likelihood("poisson", FRAME)
    with pytest.raises(ValueError, match="minimum_variance: expected at least 0 and below initial_variance = 0.1"):
        GaussianFrames(FRAME, minimum_variance=0.5)
