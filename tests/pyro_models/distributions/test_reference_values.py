"""`LinearGaussianSSM` against numbers worked out for three models: a scalar one, one of constant velocity, and the
prior of the cannonballs."""

import pyro.distributions as dist
import pytest
import torch

from pyro_models.distributions import LinearGaussianSSM
from tests.oracles.random_state_space import constant_velocity

F64 = torch.float64


def scalar_model(**kwargs):
    one = torch.ones(1, 1, 1, dtype=F64)
    return LinearGaussianSSM(
        initial_mean=torch.zeros(1, dtype=F64),
        initial_covariance=20 * one[0],
        transition_matrix=one,
        transition_covariance=0.08 * one,
        emission_matrix=one,
        emission_covariance=0.03 * one,
        **kwargs,
    )


def test_reference_values_of_the_scalar_model():
    """Density, filter and smoother of three observations, then without the second."""
    a = torch.tensor([[1.0], [2.0], [3.0]], dtype=F64)
    exact = {"rtol": 1e-9, "atol": 1e-10}
    ssm = scalar_model(num_steps=3)
    numbers = lambda *x: torch.tensor(x, dtype=F64)  # noqa: E731
    torch.testing.assert_close(ssm.log_prob(a), numbers(-11.3970049843)[0], **exact)
    path = ssm.filter(a)
    torch.testing.assert_close(path.mean[:, 0], numbers(0.9985022466, 1.7853244391, 2.7271809527), **exact)
    torch.testing.assert_close(
        path.covariance[:, 0, 0], numbers(0.0299550674, 0.0235693647, 0.0232619280), rtol=1e-8, atol=0
    )
    path = ssm.smooth(a)
    torch.testing.assert_close(path.mean[:, 0], numbers(1.2712486813, 1.9996634930, 2.7271809526), **exact)
    torch.testing.assert_close(
        path.covariance[:, 0, 0], numbers(0.0232350074, 0.0194103650, 0.0232619280), rtol=1e-8, atol=0
    )
    torch.testing.assert_close(path.lag_one_covariance[:, 0, 0], numbers(0.0052879672, 0.0052937359), rtol=1e-7, atol=0)
    a[1] = torch.nan
    ssm = scalar_model(observed=torch.tensor([True, False, True]))
    torch.testing.assert_close(ssm.log_prob(a), numbers(-11.7106792109)[0], **exact)
    path = ssm.smooth(a)
    torch.testing.assert_close(path.mean[:, 0], numbers(1.2710806455, 1.9990466895, 2.7270127335), **exact)
    torch.testing.assert_close(
        path.covariance[:, 0, 0], numbers(0.0258755703, 0.0549887646, 0.0259082552), rtol=1e-8, atol=0
    )


@pytest.mark.parametrize(
    ("observed", "log_prob", "step", "state"),
    [
        (None, -12.0584497309, 2, (1.9997475811, -0.9998737905, 0.9996018666, -0.4998009333)),
        ([1, 1, 0, 0, 1], -12.5918703095, 2, (1.9985069916, -0.9992534958, 0.9996882699, -0.4998441349)),
    ],
)
def test_reference_values_of_the_constant_velocity_model(observed, log_prob, step, state):
    """Density and smoother of five observations, then without the third and fourth."""
    t = torch.arange(5, dtype=F64)
    a = torch.stack([t, -t / 2], -1)
    seen = None if observed is None else torch.tensor(observed, dtype=torch.bool)
    ssm = LinearGaussianSSM(**constant_velocity(1.0, 0.08, 0.03, 20.0), observed=seen, num_steps=5)
    torch.testing.assert_close(ssm.log_prob(a), torch.tensor(log_prob, dtype=F64), rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(ssm.smooth(a).mean[step], torch.tensor(state, dtype=F64), rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize(
    ("model", "steps", "observed", "gap"),
    [
        ("scalar", 3, None, 0.0682307255),
        ("scalar", 3, [1, 0, 1], 0.2029871355),
        ("velocity", 5, None, 2.5983894889),
        ("velocity", 5, [1, 1, 0, 0, 1], 5.1838105694),
        ("velocity", 20, [1] * 4 + [0] * 12 + [1] * 4, 282.78),
    ],
)
def test_what_smoothed_marginals_lose(model, steps, observed, gap):
    """KL(product of marginals || joint posterior), from log p(a) - E[log p(a, z) - log q(z)]."""
    seen = None if observed is None else torch.tensor(observed, dtype=torch.bool)
    if model == "scalar":
        ssm = scalar_model(num_steps=steps, observed=seen)
    else:
        ssm = LinearGaussianSSM(**constant_velocity(1.0, 0.08, 0.03, 20.0), num_steps=steps, observed=seen)
    a = torch.zeros(steps, ssm.obs_dim, dtype=F64)
    path = ssm.smooth(a)
    marginals = ssm.smoothed_marginals(a)
    # log p(a, z) is quadratic: its expectation under independent marginals is its value at the mean plus half the trace
    z = path.mean.clone().requires_grad_()
    flat = ssm.joint_log_prob(a, z)
    hessian = torch.autograd.functional.hessian(lambda z: ssm.joint_log_prob(a, z), z.detach())
    size = ssm.state_dim
    trace = sum((hessian[t, :, t] * path.covariance[t]).sum() for t in range(steps))
    entropy = sum(dist.MultivariateNormal(path.mean[t], path.covariance[t]).entropy() for t in range(steps))
    assert marginals.event_shape == (steps, size)
    found = ssm.log_prob(a) - (flat + 0.5 * trace + entropy)
    torch.testing.assert_close(found.detach(), torch.tensor(gap, dtype=F64), rtol=2e-5 if steps == 20 else 1e-7, atol=0)


def test_reference_value_of_the_cannonball_prior():
    t = torch.arange(5, dtype=F64)
    given = constant_velocity(0.1, 1e-3, 1.0, 1.0)
    given["initial_mean"] = torch.tensor([0.5, -0.5, 0.0, 0.0], dtype=F64)
    log_prob = LinearGaussianSSM(**given, num_steps=5).log_prob(torch.stack([t.sin(), t.cos()], -1))
    torch.testing.assert_close(log_prob, torch.tensor(-13.4399299264, dtype=F64), rtol=1e-11, atol=0)
