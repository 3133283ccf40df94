"""`smoothed_marginals` where a state is known exactly: there is no density, and the error names the cause.

These tests pin: the refusal, also where covariances are singular up to rounding only; that without validation draws
follow the degenerate distribution and densities are NaN; that small but regular covariances work, with gradients.
"""

import pytest
import torch

from tests.oracles.joint_gaussian import joint_gaussian
from tests.oracles.monte_carlo import assert_mean_within
from tests.oracles.random_state_space import constant_velocity, random_parameters

F64 = torch.float64
TIME, STATE, OBS = 5, 4, 2


def build(given, **options):
    from pyro_models.distributions import LinearGaussianSSM

    return LinearGaussianSSM(**given, num_steps=TIME, **options)


def exact_sensors(dtype=F64):
    """Noise-free observations of random directions: state covariances are singular, but for rounding errors."""
    given = random_parameters(time=TIME, state=STATE, obs=OBS)
    given["emission_covariance"] = torch.zeros_like(given["emission_covariance"])
    return {name: value.to(dtype) for name, value in given.items()}


def known_states(dtype=F64):
    given = random_parameters(time=TIME, state=STATE, obs=OBS, noise="zero")
    given["initial_covariance"] = torch.zeros_like(given["initial_covariance"])
    return {name: value.to(dtype) for name, value in given.items()}


@pytest.mark.parametrize("dtype", [F64, torch.float32])
@pytest.mark.parametrize(
    ("given", "names"),
    [(exact_sensors, "emission_covariance"), (known_states, "initial_covariance, transition_covariance")],
)
def test_singular_states_are_refused_by_name(given, names, dtype):
    ssm = build(given(dtype))
    for seed in range(20):
        torch.manual_seed(seed)
        with pytest.raises(ValueError, match="expected states with a nonsingular covariance given a") as caught:
            ssm.smoothed_marginals(ssm.sample())
        message = str(caught.value)
        assert message.startswith(f"{names}: expected states with a nonsingular covariance given a"), message
        assert "got a singular one at step 0" in message
        assert "Draw from `posterior(a)`" in message
        assert len(message) < 400  # no tensor in it


def test_the_step_is_that_of_the_first_singular_state():
    """Exact sensors at the third step alone."""
    given = random_parameters(per_step=(True,) * 4, time=TIME, state=STATE, obs=OBS)
    given["emission_covariance"][2] = 0.0
    ssm = build(given)
    with pytest.raises(ValueError, match="emission_covariance: .* singular one at step 2"):
        ssm.smoothed_marginals(ssm.sample())
    build(given, observed=torch.tensor([1, 1, 0, 1, 1], dtype=torch.bool)).smoothed_marginals(ssm.sample())


@pytest.mark.parametrize("given", [exact_sensors, known_states])
def test_without_validation_draws_are_degenerate_and_densities_nan(given):
    given = given()
    ssm = build(given, validate_args=False)
    a = ssm.sample()
    law, path = ssm.smoothed_marginals(a), ssm.smooth(a)
    z = law.sample((20_000,))
    assert law.log_prob(z[:50]).isnan().all()
    assert_mean_within(z.flatten(1), path.mean.flatten())
    apart = z - path.mean
    products = (apart[..., :, None] * apart[..., None, :]).flatten(1)
    assert_mean_within(products, path.covariance.flatten())
    emitted = ssm.emit(z)
    if given["emission_covariance"].abs().max() == 0:
        torch.testing.assert_close(emitted, a.expand_as(emitted), rtol=0, atol=1e-6)


@pytest.mark.parametrize("noise", [1e-10, 1e-6])
def test_precise_sensors_are_regular(noise):
    """Variances that observations make ten orders of magnitude smaller: densities and gradients of dense marginals."""
    given = constant_velocity(0.1, 1e-3, noise, 1.0)
    given = {name: value.requires_grad_() for name, value in given.items()}
    ssm = build(given)
    a = ssm.sample()
    law = ssm.smoothed_marginals(a)
    z = law.rsample()
    mean, covariance = joint_gaussian(**given, transition_offset=None, emission_offset=None, time=TIME).states_given(a)
    blocks = covariance.reshape(TIME, STATE, TIME, STATE)
    each = torch.stack([blocks[t, :, t] for t in range(TIME)])
    exact = torch.distributions.MultivariateNormal(mean.reshape(TIME, STATE), 0.5 * (each + each.mT))
    torch.testing.assert_close(law.log_prob(z.detach()), exact.log_prob(z.detach()).sum(), rtol=1e-3, atol=1e-3)
    grads = torch.autograd.grad(z.sum(), list(given.values()))
    assert all(grad.isfinite().all() for grad in grads)
