"""Observations given noisy readings of them, against the dense conditional Gaussian and Bayes' identity."""

import pytest
import torch
from torch.distributions import Normal

from pyro_models.distributions import LinearGaussianSSM, ObservationsGivenReadings
from tests.oracles.joint_gaussian import dense_log_prob, joint_gaussian
from tests.oracles.monte_carlo import assert_mean_within
from tests.oracles.random_state_space import OBS, SEQUENCES, TIME, constant_velocity, random_parameters

F64 = torch.float64
MASK = torch.tensor([0, 1, 0, 0, 1, 1, 0], dtype=torch.bool)


def dense_conditional(given, readings, variance, seen):
    """Mean and covariance of all observations given the readings seen, and which coordinates are seen."""
    dense = joint_gaussian(**given, time=TIME)
    rows = dense.seen_rows(None)
    mean, covariance = dense.mean[rows], dense.covariance[rows][:, rows]
    read = torch.ones(TIME * OBS, dtype=torch.bool) if seen is None else seen.repeat_interleave(OBS)
    noisy = covariance[read][:, read] + variance.reshape(-1)[read].diag()
    gain = torch.linalg.solve(noisy, covariance[read]).mT
    residual = readings.reshape(-1)[read] - mean[read]
    return mean + gain @ residual, covariance - gain @ covariance[read], read


@pytest.mark.parametrize("noise", ["regular", "zero"])
@pytest.mark.parametrize("seen", [None, MASK], ids=["all", "some"])
@pytest.mark.parametrize("per_step", [(False,) * 4, (True,) * 4], ids=["constant", "per step"])
def test_against_the_dense_conditional(per_step, seen, noise):
    given = random_parameters(per_step=per_step, noise=noise)
    readings, variance = torch.randn(TIME, OBS, dtype=F64), torch.rand(TIME, OBS, dtype=F64) + 0.1
    expected, covariance, read = dense_conditional(given, readings, variance, seen)
    if seen is not None:
        readings, variance = (torch.where(seen[:, None], one, torch.nan) for one in (readings, variance))
    law = ObservationsGivenReadings(LinearGaussianSSM(**given, observed=seen, num_steps=TIME), readings, variance)
    torch.testing.assert_close(law.mean.reshape(-1), expected)
    a = law.rsample((20_000,))
    assert a.shape == (20_000, TIME, OBS)
    flat = a.flatten(1)
    assert_mean_within(flat, expected)
    apart = flat - expected
    assert_mean_within(apart[:, :, None] * apart[:, None, :], covariance)
    value = a[0]
    density = dense_log_prob(value.reshape(-1)[read], expected[read], covariance[read][:, read])
    torch.testing.assert_close(law.log_prob(value), density, rtol=1e-8, atol=1e-8)


def test_prior_over_posterior_is_evidence_over_potentials():
    """log p(a) - log q(a) = log Z - log N(m; a, r) for every draw, under particles and batches."""
    given = random_parameters(batch=(SEQUENCES,), per_step=(True,) * 4)
    seen = torch.rand(SEQUENCES, TIME) > 0.3
    ssm = LinearGaussianSSM(**given, observed=seen)
    readings, variance = torch.randn(SEQUENCES, TIME, OBS, dtype=F64), torch.rand(SEQUENCES, TIME, OBS, dtype=F64)
    law = ObservationsGivenReadings(ssm, readings, variance).expand((2, SEQUENCES))
    a = law.rsample((3,))
    assert a.shape == (3, 2, SEQUENCES, TIME, OBS)
    potentials = (Normal(a, variance.sqrt()).log_prob(readings).sum(-1) * seen).sum(-1)
    noisy = torch.diag_embed(variance) + given["emission_covariance"]
    evidence = LinearGaussianSSM(**{**given, "emission_covariance": noisy}, observed=seen).log_prob(readings)
    torch.testing.assert_close(ssm.log_prob(a) - law.log_prob(a), evidence - potentials, rtol=1e-8, atol=1e-8)
    torch.testing.assert_close(law.log_evidence, evidence)


def test_draws_and_densities_carry_gradients():
    """E log q(a) has the derivative of the negative entropy, and draws move with readings: finite differences."""
    given = {name: value.requires_grad_() for name, value in random_parameters(time=4).items()}
    readings = torch.randn(2, 4, OBS, dtype=F64, requires_grad=True)
    variance = (torch.rand(2, 4, OBS, dtype=F64) + 0.5).requires_grad_()

    def function(*inputs):
        torch.manual_seed(0)
        parameters = dict(zip(given, inputs[2:], strict=True))
        law = ObservationsGivenReadings(LinearGaussianSSM(**parameters, num_steps=4), inputs[0], inputs[1])
        a = law.rsample()
        return a.sin(), law.log_prob(a), law.mean

    covariances = [name for name in given if name.endswith("covariance")]

    def symmetric(*inputs):
        parts = [
            0.5 * (value + value.mT) if name in covariances else value
            for name, value in zip(["m", "r", *given], inputs, strict=True)
        ]
        return function(*parts)

    assert torch.autograd.gradcheck(symmetric, (readings, variance, *given.values()), rtol=1e-4, atol=1e-6)


def test_sure_readings_are_believed_and_vague_ones_are_not():
    given = constant_velocity(0.1, 1e-3, 1.0, 1.0)
    ssm = LinearGaussianSSM(**given, num_steps=6)
    readings = torch.randn(6, 2, dtype=F64)
    sure = ObservationsGivenReadings(ssm, readings, torch.full_like(readings, 1e-8))
    torch.testing.assert_close(sure.mean, readings, rtol=0, atol=1e-6)
    vague = ObservationsGivenReadings(ssm, readings, torch.full_like(readings, 1e8))
    torch.testing.assert_close(vague.mean, torch.zeros_like(readings), rtol=0, atol=1e-5)
    a = torch.randn(6, 2, dtype=F64)
    torch.testing.assert_close(vague.log_prob(a), ssm.log_prob(a), rtol=1e-5, atol=1e-5)


def test_float32_is_near_float64_without_process_noise():
    given = {name: value.float() for name, value in constant_velocity(0.015, 0.0, 1e-3, 10.0).items()}
    readings, variance = torch.randn(3, 30, 2), torch.full((3, 30, 2), 1e-4)
    law = ObservationsGivenReadings(LinearGaussianSSM(**given, num_steps=30), readings, variance)
    exact = ObservationsGivenReadings(
        LinearGaussianSSM(**{name: value.double() for name, value in given.items()}, num_steps=30),
        readings.double(),
        variance.double(),
    )
    torch.testing.assert_close(law.mean.double(), exact.mean, rtol=1e-4, atol=1e-4)
