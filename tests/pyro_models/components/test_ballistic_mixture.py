"""The distribution of positions: numbers of parameters, symmetries of the dynamics, and the twin driven by noises."""

import copy

import pytest
import torch

from pyro_models.dynamics_from_pixels.ballistic_mixture import BallisticMixture, IndependentPositions
from pyro_models.dynamics_from_pixels.covariances import STRIDE, LearnedCovariance
from tests.oracles.monte_carlo import assert_mean_within

F64 = torch.float64
TIME = 7


def unsettled(**options):
    """A mixture whose parameters are all off their symmetric start, in float64."""
    prior = BallisticMixture(**options).double()
    with torch.no_grad():
        for parameter in prior.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return prior


def paths(*batch):
    return torch.randn(*batch, TIME, 2, dtype=F64)


@pytest.mark.parametrize(
    ("options", "count"),
    [
        ({"learn_step": True, "tie_offset": False}, 48),
        ({}, 45),
        ({"full": False}, 2 + 2 + 4 + 2 + 2 * (4 + 4)),
    ],
)
def test_number_of_parameters(options, count):
    assert sum(parameter.numel() for parameter in BallisticMixture(**options).parameters()) == count


def test_it_starts_as_the_paper_says():
    prior = BallisticMixture()
    law = prior.law(30)
    torch.testing.assert_close(law.log_weights.exp(), torch.full((2,), 0.5))
    components = law.components
    assert (components.initial_mean[:, 2:] == 0).all()
    assert (components.initial_mean[0, :2] != components.initial_mean[1, :2]).all()
    torch.testing.assert_close(components.initial_covariance, torch.eye(4).expand(2, 4, 4))
    torch.testing.assert_close(components.transition_covariance[0], 1e-3 * torch.eye(4))
    torch.testing.assert_close(components.emission_covariance[0], torch.eye(2))
    expected = torch.eye(4)
    expected[0, 2] = expected[1, 3] = 0.1
    torch.testing.assert_close(components.transition_matrix[0], expected)


def mapped_covariance(covariance, matrix):
    """The learned covariance M C M'."""
    other = copy.deepcopy(covariance)
    factor = torch.linalg.cholesky(matrix @ covariance() @ matrix.mT)
    diagonal = factor.diagonal(dim1=-2, dim2=-1) - 1e-4
    rows, columns = torch.tril_indices(factor.shape[-1], factor.shape[-1], -1)
    with torch.no_grad():
        other.scaled_raw.copy_(torch.expm1(diagonal).log() / STRIDE)
        other.lower.copy_(factor[..., rows, columns])
    return other


def mapped(prior, position, velocity, shift, drift=0.0):
    """The same dynamics in other coordinates: positions M a + b, velocities V v + w."""
    both = torch.block_diag(position, velocity)
    other = copy.deepcopy(prior)
    with torch.no_grad():
        moved = prior.initial_mean @ both.mT
        moved[:, :2] += shift
        moved[:, 2:] += drift
        other.initial_mean.copy_(moved)
        other.offset.copy_(both @ prior.transition_offset())
    for name in ("initial_covariance", "transition_covariance"):
        setattr(other, name, mapped_covariance(getattr(prior, name), both))
    other.emission_covariance = mapped_covariance(prior.emission_covariance, position)
    return other


def test_positions_are_known_up_to_an_affine_map():
    """Gauge G1: log p(M a + b) = log p(a) - T log |det M|; the divergence of a mapped q is the same."""
    prior = unsettled(tie_offset=False)
    matrix, shift = torch.tensor([[2.0, 0.3], [-0.5, 0.7]], dtype=F64), torch.tensor([3.0, -1.0], dtype=F64)
    other = mapped(prior, matrix, matrix, shift)
    a = paths(5)
    expected = prior.law(TIME).log_prob(a) - TIME * torch.linalg.det(matrix).abs().log()
    torch.testing.assert_close(other.law(TIME).log_prob(a @ matrix.mT + shift), expected, rtol=1e-10, atol=1e-9)
    diagonal = torch.tensor([2.0, 0.7], dtype=F64)
    other = mapped(prior, diagonal.diag(), diagonal.diag(), shift)
    from pyro.distributions import Normal
    from torch.distributions import kl_divergence

    mean, scale = paths(5), paths(5).exp()
    q, image = Normal(mean, scale).to_event(2), Normal(mean * diagonal + shift, scale * diagonal).to_event(2)
    torch.testing.assert_close(
        kl_divergence(image, other.law(TIME)), kl_divergence(q, prior.law(TIME)), rtol=1e-10, atol=1e-9
    )
    torch.testing.assert_close(other.acceleration(), diagonal * prior.acceleration())


def test_the_unit_of_time_does_not_matter():
    """Gauge G2."""
    prior = unsettled(tie_offset=False)
    factor = 3.0
    other = mapped(prior, torch.eye(2, dtype=F64), factor * torch.eye(2, dtype=F64), 0.0)
    other.log_step -= torch.tensor(factor).log()
    a = paths(5)
    torch.testing.assert_close(other.law(TIME).log_prob(a), prior.law(TIME).log_prob(a), rtol=1e-7, atol=1e-7)
    torch.testing.assert_close(other.acceleration(), prior.acceleration(), rtol=1e-6, atol=1e-9)


def test_a_common_velocity_does_not_matter():
    """Gauge G3."""
    prior = unsettled(tie_offset=False)
    drift = torch.tensor([0.4, -0.9], dtype=F64)
    other = mapped(prior, torch.eye(2, dtype=F64), torch.eye(2, dtype=F64), 0.0, drift)
    with torch.no_grad():
        other.offset[:2] -= prior.step * drift
    a = paths(5)
    torch.testing.assert_close(other.law(TIME).log_prob(a), prior.law(TIME).log_prob(a), rtol=1e-10, atol=1e-9)


def test_a_tied_offset_is_free_fall():
    prior = unsettled()
    offset, step = prior.transition_offset(), prior.step
    torch.testing.assert_close(offset[:2], 0.5 * step * offset[2:])
    torch.testing.assert_close(prior.acceleration(), step * offset[2:])


def test_what_noises_drive_has_the_marginal_law():
    """The twin of section 2.3: components and noises drawn, then positions, have the moments of the mixture."""
    prior = unsettled()
    draws = 40_000
    component = torch.distributions.Categorical(logits=prior.logits).sample((draws,))
    noise = torch.randn(draws, TIME, 4, dtype=F64)
    with torch.no_grad():
        states = prior.driven(component, noise)
        factor = prior.emission_covariance.factor()
        a = states[..., :2] + torch.randn(draws, TIME, 2, dtype=F64) @ factor.mT
        law = prior.law(TIME)
        for kind in range(2):
            mine = a[component == kind]
            expected = law.components.mean[kind]
            assert_mean_within(mine, expected)
            assert_mean_within((mine - expected).square(), law.components.variance[kind])


@pytest.mark.parametrize("seen", [None, torch.tensor([1, 1, 0, 1, 0, 0, 1], dtype=torch.bool)])
def test_posterior_of_noises_obeys_bayes(seen):
    """log p(z) + log p(e) + log p(a | z, e) - log p(z | a) - log p(e | a, z) = log p(a), for every draw."""
    prior = unsettled()
    a = paths(6)
    law = prior.law(TIME, seen)
    with torch.no_grad():
        component = torch.randint(0, 2, (3, 6))
        posterior = prior.noise_posterior(component, a, seen)
        noise = posterior.sample()
        states = prior.driven(component, noise.unflatten(-1, (TIME, 4)))
        emission = torch.distributions.MultivariateNormal(states[..., :2], prior.emission_covariance())
        fit = emission.log_prob(a)
        fit = (fit if seen is None else fit * seen).sum(-1)
        joint = law.log_weights[component] + torch.distributions.Normal(0.0, 1.0).log_prob(noise).sum(-1) + fit
        given = law.component_posterior(a).logits.expand(3, 6, 2).gather(-1, component[..., None]).squeeze(-1)
        difference = joint - given - posterior.log_prob(noise)
        torch.testing.assert_close(difference, law.log_prob(a).expand(3, 6), rtol=1e-8, atol=1e-8)


def test_collapsed_has_the_moments_of_the_mixture():
    prior = unsettled()
    weights = torch.tensor([0.3, 0.7], dtype=F64)
    with torch.no_grad():
        prior.logits.copy_(weights.log())
        alone = prior.collapsed(weights, TIME)
        draws = prior.law(TIME).sample((40_000,))
        assert_mean_within(draws, alone.mean)
        assert_mean_within((draws - alone.mean).square(), alone.variance)
        sure = prior.collapsed(torch.tensor([0.0, 1.0], dtype=F64), TIME)
        a = paths(4)
        torch.testing.assert_close(sure.log_prob(a), prior.law(TIME).components.log_prob(a[:, None])[:, 1])


@pytest.mark.parametrize("seen", [None, torch.tensor([1, 1, 0, 1, 0, 0, 1], dtype=torch.bool)])
def test_independent_positions_are_standard_normal(seen):
    prior = IndependentPositions().double()
    a = paths(5)
    density = torch.distributions.Normal(0.0, 1.0).log_prob(a).sum(-1)
    expected = (density if seen is None else density * seen).sum(-1)
    torch.testing.assert_close(prior.law(TIME, seen).log_prob(a), expected)
    weights = torch.ones(5, 1, dtype=F64)
    torch.testing.assert_close(prior.collapsed(weights, TIME, seen).log_prob(a), expected)
    if seen is not None:
        torch.testing.assert_close(prior.law(TIME, seen).impute(a)[:, ~seen], torch.zeros(5, 3, 2, dtype=F64))


def test_covariances_are_positive_definite_and_reach_every_correlation():
    covariance = LearnedCovariance(3, 0.5, batch=2).double()
    torch.testing.assert_close(covariance(), 0.5 * torch.eye(3, dtype=F64).expand(2, 3, 3), rtol=1e-6, atol=1e-9)
    with torch.no_grad():
        for parameter in covariance.parameters():
            parameter.copy_(torch.randn_like(parameter))
    assert (torch.linalg.eigvalsh(covariance()) > 0).all()
    factor = covariance.factor()
    torch.testing.assert_close(factor, factor.tril())
    gradient = torch.autograd.functional.jacobian(lambda lower: _with(covariance, lower), covariance.lower.detach())
    assert (gradient.abs().amax((0, 1, 2)) > 0).all()
    assert LearnedCovariance(3, 0.5, full=False).lower is None
    with pytest.raises(ValueError, match="variance: expected above"):
        LearnedCovariance(2, 0.0)


def _with(covariance, lower):
    return torch.func.functional_call(covariance, {"lower": lower}, ())


def test_wrong_arguments_are_refused():
    with pytest.raises(ValueError, match="num_components, step"):
        BallisticMixture(0)
    with pytest.raises(ValueError, match="num_components, step"):
        BallisticMixture(step=0.0)


def test_golden_density():
    """As in `test_reference_values.py`, up to the float32 in which parameters start."""
    prior = BallisticMixture(1, learn_step=True, tie_offset=False).double()
    with torch.no_grad():
        prior.initial_mean.copy_(torch.tensor([[0.5, -0.5, 0.0, 0.0]]))
    t = torch.arange(5, dtype=F64)
    a = torch.stack([t.sin(), t.cos()], -1)
    law = prior.law(5)
    torch.testing.assert_close(law.log_prob(a), torch.tensor(-13.4399299264, dtype=F64), rtol=1e-6, atol=1e-5)
