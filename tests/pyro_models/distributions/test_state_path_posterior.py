"""The distribution of whole state paths: density against the dense joint and Bayes' identity, draws against exact
moments.

These tests pin: log p(a, z) - log p(z | a) = log p(a) for every draw; joint moments of draws, also without process
noise; reparameterisation; that a path without a density is refused.
"""

import math

import pyro
import pytest
import torch

from tests.oracles.joint_gaussian import dense_log_prob, joint_gaussian
from tests.oracles.random_state_space import SEQUENCES, STATE, TIME, constant_velocity, random_parameters

MASK = torch.tensor([0, 1, 0, 0, 1, 1, 0], dtype=torch.bool)


def build(**parameters):
    from pyro_models.distributions import LinearGaussianSSM

    return LinearGaussianSSM(**parameters)


@pytest.mark.parametrize("seen", [None, MASK])
@pytest.mark.parametrize("per_step", [(False,) * 4, (True,) * 4])
def test_density_matches_the_dense_joint(per_step, seen):
    given = random_parameters(per_step=per_step)
    ssm = build(**given, observed=seen, num_steps=TIME)
    a = ssm.sample()
    posterior = ssm.posterior(a)
    assert posterior.event_shape == (TIME, STATE)
    mean, covariance = joint_gaussian(**given, time=TIME).states_given(a, seen)
    z = posterior.sample((3,))
    expected = torch.stack([dense_log_prob(path.reshape(-1), mean, covariance) for path in z])
    torch.testing.assert_close(posterior.log_prob(z), expected, rtol=1e-6, atol=1e-7)
    torch.testing.assert_close(posterior.mean.reshape(-1), mean)
    torch.testing.assert_close(posterior.variance.reshape(-1), covariance.diagonal())


def test_bayes_identity_for_every_draw():
    """log p(a, z) - log p(z | a) = log p(a), under particles."""
    given = random_parameters(batch=(SEQUENCES,), per_step=(True,) * 4)
    seen = torch.rand(SEQUENCES, TIME) > 0.3
    ssm = build(**given, observed=seen)
    a = ssm.sample((2, 1))
    posterior = ssm.posterior(a)
    z = posterior.rsample((4,))
    assert z.shape == (4, 2, 1, SEQUENCES, TIME, STATE)
    difference = ssm.joint_log_prob(a, z) - posterior.log_prob(z)
    torch.testing.assert_close(difference, ssm.log_prob(a).expand_as(difference), rtol=1e-10, atol=1e-8)


@pytest.mark.parametrize("noise", [1e-2, 1e-4, 1e-6])
def test_float32_density_is_near_the_float64_one(noise):
    """The same float32 numbers scored in both precisions: within 2e-3 nats, for densities of hundreds of nats."""
    given = {name: value.float() for name, value in constant_velocity(0.1, noise, 1e-2, 1.0).items()}
    ssm = build(**given, num_steps=50)
    a = ssm.sample((SEQUENCES,))
    z = ssm.posterior(a).sample()
    exact = build(**{name: value.double() for name, value in given.items()}, num_steps=50)
    expected = exact.posterior(a.double()).log_prob(z.double())
    torch.testing.assert_close(ssm.posterior(a).log_prob(z).double(), expected, rtol=0, atol=2e-3)


@pytest.mark.parametrize("noise", ["regular", "zero", "singular"])
def test_draws_have_the_joint_moments(noise):
    """Every mean and covariance entry of the path within 5 standard errors: once in 10^3 seeds off by chance."""
    given = random_parameters(noise=noise, time=3)
    seen, draws = torch.tensor([True, False, True]), 20000
    ssm = build(**given, observed=seen)
    a = ssm.sample()
    mean, covariance = joint_gaussian(**given, time=3).states_given(a, seen)
    z = ssm.posterior(a).sample((draws,)).reshape(draws, -1)
    variance = covariance.diagonal().clamp(min=0)
    assert ((z.mean(0) - mean).abs() <= 5 * (variance / draws).sqrt() + 1e-9).all()
    products = (z - mean)[:, :, None] * (z - mean)[:, None]
    errors = (variance[:, None] * variance + covariance.square()).sqrt() / math.sqrt(draws)
    assert ((products.mean(0) - covariance).abs() <= 5 * errors + 1e-9).all()


def test_draws_are_reparameterised():
    """The gradient of E |z|^2 over common noise equals that of the exact moments, within 5 standard errors."""
    given = random_parameters(time=3)
    given["transition_matrix"].requires_grad_()
    ssm = build(**given, num_steps=3)
    a = ssm.sample().requires_grad_()
    path = ssm.smooth(a)
    exact = path.mean.square().sum() + path.covariance.diagonal(dim1=-2, dim2=-1).sum()
    expected = torch.autograd.grad(exact, [a, given["transition_matrix"]])
    estimates = []
    for _ in range(40):
        z = ssm.posterior(a).rsample((200,))
        estimates.append(torch.autograd.grad(z.square().sum((-1, -2)).mean(), [a, given["transition_matrix"]]))
    for found, exact in zip(zip(*estimates, strict=True), expected, strict=True):
        found = torch.stack(found)
        assert ((found.mean(0) - exact).abs() < 5 * found.std(0) / math.sqrt(len(found))).all()


@pytest.mark.parametrize("name", ["initial_covariance", "transition_covariance", "emission_covariance"])
def test_no_density_without_noise(name):
    given = random_parameters()
    root = given[name][..., :1]
    given[name] = root @ root.mT  # singular, and not exactly so in floating point
    ssm = build(**given, num_steps=TIME)
    z, a = ssm.rsample_joint()
    with pytest.raises(ValueError, match=f"{name}: expected nonsingular matrices"):
        ssm.posterior(a).log_prob(z)
    unchecked = build(**given, num_steps=TIME, validate_args=False)
    assert unchecked.posterior(a).log_prob(z).isnan()


def test_expand_and_pyro_site():
    ssm = build(**random_parameters(batch=(SEQUENCES,)), num_steps=TIME)
    a = ssm.sample()
    wide = ssm.posterior(a).expand((2, SEQUENCES))
    assert wide.rsample((3,)).shape == (3, 2, SEQUENCES, TIME, STATE)
    assert wide.log_prob(wide.rsample()).shape == (2, SEQUENCES)
    assert wide.mean.shape == (2, SEQUENCES, TIME, STATE)

    def guide():
        with pyro.plate("sequences", SEQUENCES):
            return pyro.sample("z", ssm.posterior(a))

    trace = pyro.poutine.trace(guide).get_trace()
    z = trace.nodes["z"]["value"]
    torch.testing.assert_close(trace.log_prob_sum(), ssm.posterior(a).log_prob(z).sum())


def test_wrong_paths_are_refused():
    ssm = build(**random_parameters(), num_steps=TIME)
    a = ssm.sample()
    with pytest.raises(ValueError, match=r"z: expected \(..., 7, 4\) up to broadcasting, got \(7, 3\)"):
        ssm.posterior(a).log_prob(torch.zeros(TIME, 3))
    with pytest.raises(ValueError, match="z: expected finite values"):
        ssm.joint_log_prob(a, torch.full((TIME, STATE), torch.nan))


def test_smoothed_marginals_are_independent():
    ssm = build(**random_parameters(batch=(SEQUENCES,)), num_steps=TIME)
    a = ssm.sample()
    marginals, path = ssm.smoothed_marginals(a), ssm.smooth(a)
    assert marginals.batch_shape == (SEQUENCES,)
    assert marginals.event_shape == (TIME, STATE)
    torch.testing.assert_close(marginals.mean, path.mean)
    z = marginals.rsample()
    each = torch.distributions.MultivariateNormal(path.mean, path.covariance).log_prob(z)
    torch.testing.assert_close(marginals.log_prob(z), each.sum(-1))
