"""The density of images with one standard deviation."""

import pyro.distributions as dist
import pytest
import torch

from pyro_models.components.isotropic_gaussian import IsotropicGaussian


def test_it_is_the_density_of_independent_normals():
    images = torch.rand(5, 1, 6, 7, dtype=torch.float64)
    mean = torch.randn(3, 5, 1, 6, 7, dtype=torch.float64, requires_grad=True)
    scale = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    found, expected = (law(dist.Normal(mean, scale)) for law in (lambda one: IsotropicGaussian(one, 3), plain))
    assert found.batch_shape == (3, 5)
    assert found.event_shape == (1, 6, 7)
    torch.testing.assert_close(found.log_prob(images), expected.log_prob(images))
    gradients = (torch.autograd.grad(law.log_prob(images).square().sum(), (mean, scale)) for law in (found, expected))
    torch.testing.assert_close(*gradients)


def test_it_broadcasts_and_refuses_what_is_no_image():
    law = IsotropicGaussian(dist.Normal(torch.zeros(1, 2, 2), 0.5), 3)
    wide = law.expand((4,)).mask(torch.tensor([True, False, True, True]))
    expected = plain(dist.Normal(torch.zeros(4, 1, 2, 2), 0.5)).log_prob(torch.ones(4, 1, 2, 2))
    torch.testing.assert_close(wide.log_prob(torch.ones(1, 2, 2)), expected * torch.tensor([1.0, 0.0, 1.0, 1.0]))
    with pytest.raises(ValueError, match="within the support"):
        law.log_prob(torch.full((1, 2, 2), torch.nan))
    with pytest.raises(ValueError, match=r"scale: expected one number for all pixels, got \(1, 2, 2\)"):
        IsotropicGaussian(dist.Normal(torch.zeros(1, 2, 2), torch.rand(1, 2, 2)), 3).log_prob(torch.zeros(1, 2, 2))


def plain(law):
    return law.to_event(3)
