"""Steps that are missing and whose innovation covariance is singular: they must not enter, in values or gradients.

These tests pin: log_prob, filter, smoother, posterior, mixture and readings against the dense joint Gaussian with the
missing rows deleted, and their gradients against autograd through that oracle, by the fused kernel and by the torch
reference, in float32 and float64.
"""

import pytest
import torch

from tests.oracles.joint_gaussian import joint_gaussian
from tests.oracles.random_state_space import random_covariance, random_parameters

F64 = torch.float64
TIME, STATE, OBS = 5, 4, 2
MASKS = {
    "first": [0, 0, 1, 1, 1],
    "last": [1, 1, 1, 0, 0],
    "ends": [0, 1, 0, 1, 0],
    "all": [0, 0, 0, 0, 0],
}
TOLERANCES = {F64: {"rtol": 1e-7, "atol": 1e-8}, torch.float32: {"rtol": 2e-4, "atol": 2e-4}}


def singular_where_missing(kind, seen, dtype=F64, batch=()):
    """Leaves whose innovation covariance is exactly zero at every missing step.

    "unseen": emission matrix and covariance are zero there; "known": emission covariance is zero there, and the state
    has no covariance at any step.
    """
    given = random_parameters(batch=batch, per_step=(True,) * 4, time=TIME, state=STATE, obs=OBS)
    blank = ~seen[..., None, None]
    given["emission_covariance"] = given["emission_covariance"].masked_fill(blank, 0.0)
    if kind == "unseen":
        given["emission_matrix"] = given["emission_matrix"].masked_fill(blank, 0.0)
    else:
        for name in ("initial_covariance", "transition_covariance"):
            given[name] = torch.zeros_like(given[name])
    return {name: value.to(dtype).requires_grad_() for name, value in given.items()}


def build(given, seen):
    from pyro_models.distributions import LinearGaussianSSM

    return LinearGaussianSSM(**given, observed=seen)


@pytest.fixture(params=["fused", "reference"])
def path(request, monkeypatch):
    """Which code computes the marginal and the smoothed mean."""
    from pyro_models.distributions import gaussian_marginal

    if request.param == "reference":
        monkeypatch.setattr(gaussian_marginal, "_numba_is_installed", lambda: False)
    return request.param


def library(ssm, a):
    """Everything that conditions on a."""
    filtered, smoothed, posterior = ssm.filter(a), ssm.smooth(a), ssm.posterior(a)
    return {
        "log_prob": ssm.log_prob(a),
        "expected_log_prob": ssm.expected_log_prob(a, torch.zeros_like(a)),
        "filter.log_prob": filtered.log_prob,
        "filter.mean": filtered.mean,
        "filter.covariance": filtered.covariance,
        "smooth.log_prob": smoothed.log_prob,
        "smooth.mean": smoothed.mean,
        "smooth.covariance": smoothed.covariance,
        "smooth.lag_one_covariance": smoothed.lag_one_covariance,
        "posterior.mean": posterior.mean,
        "posterior.variance": posterior.variance,
    }


def brute_force(given, a, seen):
    """The same by the dense joint of one sequence, in float64: rows of missing steps do not exist there."""
    given = {name: value.double() for name, value in given.items()}
    oracle, a = joint_gaussian(**given, time=TIME), a.double()
    log_prob = oracle.log_prob(a, seen)
    filtered = []
    for t in range(TIME):
        mean, covariance = oracle.states_given(a, seen & (torch.arange(TIME) <= t))
        rows = slice(t * STATE, (t + 1) * STATE)
        filtered.append((mean[rows], covariance[rows, rows]))
    mean, covariance = oracle.states_given(a, seen)
    blocks = covariance.reshape(TIME, STATE, TIME, STATE)
    smoothed = torch.stack([blocks[t, :, t] for t in range(TIME)])
    return {
        "log_prob": log_prob,
        "expected_log_prob": log_prob,
        "filter.log_prob": log_prob,
        "filter.mean": torch.stack([mean for mean, _ in filtered]),
        "filter.covariance": torch.stack([covariance for _, covariance in filtered]),
        "smooth.log_prob": log_prob,
        "smooth.mean": mean.reshape(TIME, STATE),
        "smooth.covariance": smoothed,
        "smooth.lag_one_covariance": torch.stack([blocks[t, :, t + 1] for t in range(TIME - 1)]),
        "posterior.mean": mean.reshape(TIME, STATE),
        "posterior.variance": smoothed.diagonal(dim1=-2, dim2=-1),
    }


def gradients(output, inputs, adjoint):
    """Gradients, symmetric for covariances, zeros where nothing depends on an input."""
    if not output.requires_grad:
        return [torch.zeros_like(value) for value in inputs.values()]
    found = torch.autograd.grad(
        output, list(inputs.values()), adjoint.to(output), retain_graph=True, allow_unused=True, materialize_grads=True
    )
    return [
        0.5 * (grad + grad.mT) if name.endswith("covariance") else grad
        for name, grad in zip(inputs, found, strict=True)
    ]


def assert_agree(found, expected, inputs, dtype):
    assert found.keys() == expected.keys()
    for name, value in found.items():
        exact = expected[name]
        message = lambda text, name=name: f"{name}: {text}"  # noqa: E731
        torch.testing.assert_close(value, exact.to(dtype), **TOLERANCES[dtype], msg=message)
        adjoint = torch.randn(exact.shape, dtype=F64)
        pairs = zip(inputs, gradients(value, inputs, adjoint), gradients(exact, inputs, adjoint), strict=True)
        for of, one, other in pairs:
            message = lambda text, name=name, of=of: f"{name}, gradient of {of}: {text}"  # noqa: E731
            torch.testing.assert_close(one, other, **TOLERANCES[dtype], msg=message)


@pytest.mark.parametrize("dtype", [F64, torch.float32])
@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("kind", ["unseen", "known"])
def test_values_and_gradients_are_those_without_the_missing_steps(kind, mask, dtype, path):
    seen = torch.tensor(MASKS[mask], dtype=torch.bool)
    given = singular_where_missing(kind, seen, dtype)
    a = torch.randn(TIME, OBS, dtype=dtype)
    a = torch.where(seen[:, None], a, torch.nan).requires_grad_()
    inputs = {"a": a, **given}
    clean = torch.where(seen[:, None], a, 0.0)
    assert_agree(library(build(given, seen), a), brute_force(given, clean, seen), inputs, dtype)


@pytest.mark.parametrize("kind", ["unseen", "known"])
def test_sequences_that_miss_different_steps(kind, path):
    """In one batch, so that what is masked for one sequence is not for another."""
    seen = torch.tensor([*MASKS.values(), [1] * TIME], dtype=torch.bool)
    given = singular_where_missing(kind, seen, batch=(len(seen),))
    a = torch.randn(len(seen), TIME, OBS, dtype=F64).requires_grad_()
    each = [brute_force({name: value[i] for name, value in given.items()}, a[i], seen[i]) for i in range(len(seen))]
    expected = {name: torch.stack([one[name] for one in each]) for name in each[0]}
    assert_agree(library(build(given, seen), a), expected, {"a": a, **given}, F64)


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("kind", ["unseen", "known"])
def test_draws_do_not_depend_on_what_is_singular_at_missing_steps(kind, mask, path):
    """The twin has regular emissions there; the same noise must give the same path, and the same gradients."""
    seen = torch.tensor(MASKS[mask], dtype=torch.bool)
    given = singular_where_missing(kind, seen)
    regular = torch.where(seen[:, None, None], given["emission_covariance"], random_covariance(TIME, OBS, OBS))
    emission = torch.where(seen[:, None, None], given["emission_matrix"], torch.randn(TIME, OBS, STATE, dtype=F64))
    twin = {**given, "emission_covariance": regular, "emission_matrix": emission}
    a = torch.randn(TIME, OBS, dtype=F64).requires_grad_()
    inputs = {"a": a, **given}
    draws = []
    for parameters in (given, twin):
        torch.manual_seed(0)
        draws.append(build(parameters, seen).posterior(a).rsample((3,)))
    assert_agree({"draw": draws[0]}, {"draw": draws[1]}, inputs, F64)


@pytest.mark.parametrize("mask", MASKS)
def test_the_density_of_a_path_needs_no_density_of_missing_observations(mask, path):
    """p(z | a) exists whatever the emission noise of a missing step is: it is in neither term of Bayes' formula."""
    seen = torch.tensor(MASKS[mask], dtype=torch.bool)
    given = singular_where_missing("unseen", seen)
    a = torch.randn(TIME, OBS, dtype=F64).requires_grad_()
    z = torch.randn(TIME, STATE, dtype=F64).requires_grad_()
    found = build(given, seen).posterior(a).log_prob(z)
    mean, covariance = joint_gaussian(**given, time=TIME).states_given(a, seen)
    law = torch.distributions.MultivariateNormal(mean, covariance)
    assert_agree({"log_prob": found}, {"log_prob": law.log_prob(z.reshape(-1))}, {"a": a, "z": z, **given}, F64)


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("kind", ["unseen", "known"])
def test_mixtures(kind, mask, path):
    """Values and gradients of the mixture against explicit sums of its components' oracles."""
    from pyro_models.distributions import MixtureLinearGaussianSSM

    seen = torch.tensor(MASKS[mask], dtype=torch.bool)
    given = singular_where_missing(kind, seen, batch=(2,))
    logits = torch.randn(2, dtype=F64).requires_grad_()
    a = torch.randn(TIME, OBS, dtype=F64).requires_grad_()
    mix = MixtureLinearGaussianSSM(logits, build(given, seen))
    found = {
        "log_prob": mix.log_prob(a),
        "component_posterior": mix.component_posterior(a).probs,
        "smooth.mean": mix.smooth(a).mean,
        "smooth.covariance": mix.smooth(a).covariance,
        "filter.mean": mix.filter(a).mean[-1],
    }
    each = [brute_force({name: value[k] for name, value in given.items()}, a, seen) for k in range(2)]
    parts = {name: torch.stack([one[name] for one in each]) for name in each[0]}
    joint = logits.log_softmax(-1) + parts["log_prob"]
    weights = joint.softmax(-1)
    mean = (weights[:, None, None] * parts["smooth.mean"]).sum(0)
    apart = parts["smooth.mean"] - mean
    spread = parts["smooth.covariance"] + apart[..., :, None] * apart[..., None, :]
    expected = {
        "log_prob": joint.logsumexp(-1),
        "component_posterior": weights,
        "smooth.mean": mean,
        "smooth.covariance": (weights[:, None, None, None] * spread).sum(0),
        "filter.mean": mean[-1],
    }
    assert_agree(found, expected, {"a": a, "logits": logits, **given}, F64)


@pytest.mark.parametrize("kind", ["unseen", "known"])
def test_second_derivatives_are_those_of_a_regular_twin(kind, path):
    seen = torch.tensor(MASKS["ends"], dtype=torch.bool)
    given = singular_where_missing(kind, seen)
    regular = given["emission_covariance"] + (~seen[:, None, None]) * torch.eye(OBS, dtype=F64)
    a = torch.randn(TIME, OBS, dtype=F64).requires_grad_()
    inputs = {"a": a, **given}
    first = []
    for parameters in (given, {**given, "emission_covariance": regular}):
        log_prob = build(parameters, seen).log_prob(a)
        grads = torch.autograd.grad(log_prob, [a, given["transition_matrix"]], create_graph=True)
        first.append(sum(grad.sin().sum() for grad in grads))
    assert_agree({"derivative": first[0]}, {"derivative": first[1]}, inputs, F64)


@pytest.mark.parametrize("kind", ["unseen", "known"])
def test_observations_given_readings(kind, path):
    """Evidence, mean and draws, which take a reading's variance of 1 at missing steps, have finite gradients too."""
    from pyro_models.distributions import ObservationsGivenReadings

    seen = torch.tensor(MASKS["ends"], dtype=torch.bool)
    given = singular_where_missing(kind, seen)
    readings = torch.randn(TIME, OBS, dtype=F64).requires_grad_()
    variance = torch.rand(TIME, OBS, dtype=F64).add(0.1).requires_grad_()
    law = ObservationsGivenReadings(build(given, seen), readings, variance)
    noisy = {**given, "emission_covariance": given["emission_covariance"] + torch.diag_embed(variance)}
    expected = brute_force(noisy, readings, seen)["log_prob"]
    inputs = {"readings": readings, "variance": variance, **given}
    assert_agree({"log_evidence": law.log_evidence}, {"log_evidence": expected}, inputs, F64)
    for output in (law.mean, law.rsample(), law.log_prob(readings.detach())):
        assert all(grad.isfinite().all() for grad in gradients(output, inputs, torch.ones_like(output)))
