"""The distribution of all observations as one whitened vector, against the filter, the dense joint and Monte Carlo."""

import math

import pytest
import torch

from pyro_models.distributions import LinearGaussianSSM, MixtureLinearGaussianSSM
from pyro_models.distributions.gaussian_whitened import whiten
from tests.oracles.joint_gaussian import joint_gaussian
from tests.oracles.monte_carlo import assert_mean_within
from tests.oracles.random_state_space import OBS, SEQUENCES, TIME, constant_velocity, random_parameters

F64 = torch.float64
MASK = torch.tensor([0, 1, 0, 0, 1, 1, 0], dtype=torch.bool)


@pytest.mark.parametrize("noise", ["regular", "zero"])
@pytest.mark.parametrize("seen", [None, MASK, torch.zeros(TIME, dtype=torch.bool)], ids=["all", "some", "none"])
@pytest.mark.parametrize("per_step", [(False,) * 4, (True,) * 4], ids=["constant", "per step"])
def test_density_is_that_of_the_filter_and_of_the_dense_joint(per_step, seen, noise):
    """The dense Gaussian of all observations, the filter in Joseph's form, and the whitened form are one density."""
    given = random_parameters(per_step=per_step, noise=noise)
    ssm = LinearGaussianSSM(**given, observed=seen, num_steps=TIME)
    a = torch.randn(3, TIME, OBS, dtype=F64)
    values = a if seen is None else torch.where(seen[:, None], a, 0.0)
    whitened = whiten(ssm._model)
    torch.testing.assert_close(whitened.log_prob(values), ssm.log_prob(a), rtol=1e-9, atol=1e-9)
    dense = joint_gaussian(**given, time=TIME)
    expected = torch.stack([dense.log_prob(one, seen) for one in a])
    torch.testing.assert_close(whitened.log_prob(values), expected, rtol=1e-9, atol=1e-9)


def test_whitening_whitens():
    given = random_parameters(batch=(2,), per_step=(True,) * 4)
    whitened = whiten(LinearGaussianSSM(**given)._model)
    for index in range(2):
        alone = {name: None if value is None else value[index] for name, value in given.items()}
        dense = joint_gaussian(**alone, time=TIME)
        rows = dense.seen_rows(None)
        covariance = dense.covariance[rows][:, rows]
        product = whitened.whitening[index] @ covariance @ whitened.whitening[index].mT
        torch.testing.assert_close(product, torch.eye(TIME * OBS, dtype=F64), rtol=0, atol=1e-9)
        torch.testing.assert_close(whitened.mean[index], dense.mean[rows])


def test_gradients_are_those_of_the_filter():
    """In every parameter and in the observations."""
    given = {name: value.requires_grad_() for name, value in random_parameters(per_step=(True,) * 4).items()}
    a = torch.randn(3, TIME, OBS, dtype=F64, requires_grad=True)
    ssm = LinearGaussianSSM(**given)
    inputs = [a, *given.values()]
    expected = torch.autograd.grad(ssm.log_prob(a).sum(), inputs)
    found = torch.autograd.grad(whiten(ssm._model).log_prob(a).sum(), inputs)
    for name, one, other in zip(["a", *given], found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-7, atol=1e-8, msg=name)


@pytest.mark.parametrize("seen", [None, MASK])
def test_expectation_under_an_uncertain_a(seen):
    """E log N(a; c, C) = log N(mean; c, C) - sum_ij W_ij^2 variance_j / 2, C = (W'W)^-1, without missing steps."""
    given = random_parameters()
    ssm = LinearGaussianSSM(**given, observed=seen, num_steps=TIME)
    mean, variance = torch.randn(SEQUENCES, TIME, OBS, dtype=F64), torch.rand(SEQUENCES, TIME, OBS, dtype=F64)
    if seen is not None:
        mean, variance = (torch.where(seen[:, None], one, torch.nan) for one in (mean, variance))
    expected = ssm.expected_log_prob(mean, variance)
    draws = mean + variance.sqrt() * torch.randn(20_000, SEQUENCES, TIME, OBS, dtype=F64)
    assert_mean_within(ssm.log_prob(draws), expected)
    certain = ssm.expected_log_prob(mean, torch.zeros_like(variance))
    torch.testing.assert_close(certain, ssm.log_prob(mean))


def test_float32_parameters_are_computed_in_float64():
    given = {name: value.float() for name, value in constant_velocity(0.015, 0.0, 1e-3, 10.0).items()}
    ssm = LinearGaussianSSM(**given, num_steps=30)
    a = ssm.sample((SEQUENCES,))
    zeros = torch.zeros_like(a)
    exact = LinearGaussianSSM(**{name: value.double() for name, value in given.items()}, num_steps=30)
    found = ssm.expected_log_prob(a, zeros)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), exact.log_prob(a.double()), rtol=0, atol=2e-3)


def test_a_covariance_that_is_not_positive_definite_gives_nan():
    given = constant_velocity(0.1, 0.0, 0.0, 0.0)
    ssm = LinearGaussianSSM(**given, num_steps=5, validate_args=False)
    assert ssm.expected_log_prob(*torch.zeros(2, 5, 2, dtype=F64)).isnan()


def mixture_of(components, observed=None):
    given = random_parameters(batch=(components,))
    seen = None if observed is None else observed.unsqueeze(-2)
    ssm = LinearGaussianSSM(**given, observed=seen, num_steps=TIME)
    return MixtureLinearGaussianSSM(torch.randn(components, dtype=F64), ssm)


def test_a_mixtures_expectation_is_a_bound_and_exact_for_one_component():
    mean, variance = torch.randn(SEQUENCES, TIME, OBS, dtype=F64), torch.rand(SEQUENCES, TIME, OBS, dtype=F64)
    draws = mean + variance.sqrt() * torch.randn(20_000, SEQUENCES, TIME, OBS, dtype=F64)
    alone = mixture_of(1)
    assert_mean_within(alone.log_prob(draws), alone.expected_log_prob(mean, variance))
    mix = mixture_of(3)
    bound = mix.expected_log_prob(mean, variance)
    estimate = mix.log_prob(draws)
    assert (bound < estimate.mean(0) + 4 * estimate.std(0) / math.sqrt(len(draws))).all()
    by_hand = (mix.log_weights + mix.components.expected_log_prob(mean[:, None], variance[:, None])).logsumexp(-1)
    torch.testing.assert_close(bound, by_hand)


@pytest.mark.parametrize("masked", [False, True])
def test_kl_divergence_of_independent_normals(masked):
    """The divergence that Pyro's TraceMeanField_ELBO uses; missing steps count on neither side."""
    seen = torch.rand(SEQUENCES, TIME) > 0.3 if masked else None
    mix = mixture_of(1, seen)
    mean = torch.randn(SEQUENCES, TIME, OBS, dtype=F64)
    scale = torch.rand(SEQUENCES, TIME, OBS, dtype=F64) + 0.1
    from pyro.distributions import Normal

    law = Normal(mean, scale).to_event(1)
    law = (law if seen is None else law.mask(seen)).to_event(1)
    found = torch.distributions.kl_divergence(law, mix)
    draws = law.sample((20_000,))
    assert_mean_within(law.log_prob(draws) - mix.log_prob(draws), found)


def test_a_law_of_another_kind_has_no_divergence():
    from pyro.distributions import Laplace

    law = Laplace(torch.zeros(TIME, OBS, dtype=F64), 1.0).to_event(2)
    with pytest.raises(NotImplementedError):
        torch.distributions.kl_divergence(law, mixture_of(2))


def square_root_log_prob(given, a):
    """Log p(a) by a filter that carries factors of covariances, by QR."""

    def factor(covariance):
        return torch.linalg.cholesky(covariance)

    def lower(stacked):
        return torch.linalg.qr(stacked.mT).R.mT

    time, obs = a.shape
    mean, root = given["initial_mean"], factor(given["initial_covariance"])
    total = torch.zeros((), dtype=a.dtype)
    for step in range(time):
        if step:
            move, noise = given["transition_matrix"][step - 1], given["transition_covariance"][step - 1]
            mean = move @ mean + given["transition_offset"][step - 1]
            root = lower(torch.cat([move @ root, factor(noise)], 1))
        emission, state = given["emission_matrix"][step], root.shape[0]
        above = torch.cat([factor(given["emission_covariance"][step]), emission @ root], 1)
        below = torch.cat([torch.zeros(state, obs, dtype=a.dtype), root], 1)
        joint = lower(torch.cat([above, below]))
        spread, gain, root = joint[:obs, :obs], joint[obs:, :obs], joint[obs:, obs:]
        residual = a[step] - emission @ mean - given["emission_offset"][step]
        white = torch.linalg.solve_triangular(spread, residual[:, None], upper=False)[:, 0]
        total = total - 0.5 * white.square().sum() - spread.diagonal().abs().log().sum()
        total = total - 0.5 * obs * math.log(2 * math.pi)
        mean = mean + gain @ white
    return total


def test_the_square_root_filter_agrees():
    given = random_parameters(per_step=(True,) * 4)
    a = torch.randn(TIME, OBS, dtype=F64)
    expected = square_root_log_prob(given, a)
    ssm = LinearGaussianSSM(**given)
    torch.testing.assert_close(ssm.log_prob(a), expected, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(whiten(ssm._model).log_prob(a), expected, rtol=1e-9, atol=1e-9)
