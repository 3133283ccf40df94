"""One policy for covariances that are not symmetric: refused by name, or (unvalidated) their symmetric part is used.

These tests pin: the message; that without validation every method gives the numbers and gradients of the symmetric
part, by the fused kernel and by the torch reference, for fixed and per-step covariances; that rounding is no asymmetry.
"""

import pytest
import torch

from tests.oracles.joint_gaussian import joint_gaussian
from tests.oracles.random_state_space import random_parameters

F64 = torch.float64
TIME, STATE, OBS = 5, 4, 2
COVARIANCES = ("initial_covariance", "transition_covariance", "emission_covariance")
SEEN = torch.tensor([1, 0, 1, 1, 0], dtype=torch.bool)


def build(given, **options):
    from pyro_models.distributions import LinearGaussianSSM

    return LinearGaussianSSM(**given, num_steps=TIME, **options)


def parameters(per_step=False, batch=()):
    return random_parameters(batch=batch, per_step=(per_step,) * 4, time=TIME, state=STATE, obs=OBS)


def skewed(given):
    """Every covariance plus an antisymmetric matrix: another matrix with the same symmetric part."""
    found = dict(given)
    for name in COVARIANCES:
        above = (0.2 + 0.3 * torch.rand_like(given[name])).triu(1)
        found[name] = given[name] + above - above.mT
    return found


@pytest.fixture(params=["fused", "reference"])
def path(request, monkeypatch):
    """Which code computes the marginal and the smoothed mean."""
    from pyro_models.distributions import gaussian_marginal

    if request.param == "reference":
        monkeypatch.setattr(gaussian_marginal, "_numba_is_installed", lambda: False)
    return request.param


def everything(given, observed, a, z):
    """All outputs of a model; draws from one seed."""
    from pyro_models.distributions import ObservationsGivenReadings

    ssm = build(given, observed=observed, validate_args=False)
    torch.manual_seed(0)
    states, values = ssm.rsample_joint((2,))
    posterior, filtered, smoothed = ssm.posterior(a), ssm.filter(a), ssm.smooth(a)
    future = ssm.forecast(
        a,
        2,
        **{name: value[:1] for name, value in given.items() if name.startswith(("transition", "emission"))},
    )
    readings = ObservationsGivenReadings(ssm, a, torch.ones_like(a))
    return {
        "log_prob": ssm.log_prob(a),
        "expected_log_prob": ssm.expected_log_prob(a, torch.ones_like(a)),
        "joint_log_prob": ssm.joint_log_prob(a, z),
        "variance": ssm.variance,
        "states": states,
        "values": values,
        "state_marginals": ssm.state_marginals().covariance,
        "filter.mean": filtered.mean,
        "filter.covariance": filtered.covariance,
        "smooth.covariance": smoothed.covariance,
        "smooth.lag_one_covariance": smoothed.lag_one_covariance,
        "smoothed_marginals": ssm.smoothed_marginals(a).log_prob(z),
        "posterior.mean": posterior.mean,
        "posterior.draw": posterior.rsample(),
        "posterior.log_prob": posterior.log_prob(z),
        "forecast.log_prob": future.log_prob(a[:2]),
        "forecast.variance": future.variance,
        "readings.log_evidence": readings.log_evidence,
        "readings.mean": readings.mean,
        "readings.draw": readings.rsample(),
        "readings.log_prob": readings.log_prob(a),
    }


@pytest.mark.parametrize("observed", [None, SEEN], ids=["all", "some"])
@pytest.mark.parametrize("per_step", [False, True], ids=["constant", "per step"])
def test_without_validation_the_symmetric_part_is_meant(per_step, observed, path):
    given = parameters(per_step)
    inputs = {name: value.requires_grad_() for name, value in skewed(given).items()}
    symmetric = {
        name: (value.detach() + value.detach().mT).div(2).requires_grad_() if name in COVARIANCES else value
        for name, value in inputs.items()
    }
    assert all((inputs[name] - inputs[name].mT).abs().max() > 0.1 for name in COVARIANCES)
    a, z = torch.randn(TIME, OBS, dtype=F64), torch.randn(TIME, STATE, dtype=F64)
    found, expected = everything(inputs, observed, a, z), everything(symmetric, observed, a, z)
    for name, value in found.items():
        torch.testing.assert_close(value, expected[name], msg=lambda text, name=name: f"{name}: {text}")
        adjoint = torch.randn_like(value)
        options = {"retain_graph": True, "allow_unused": True, "materialize_grads": True}
        grads = torch.autograd.grad(value, list(inputs.values()), adjoint, **options)
        exact = torch.autograd.grad(expected[name], list(symmetric.values()), adjoint, **options)
        for of, one, other in zip(inputs, grads, exact, strict=True):
            where = lambda text, name=name, of=of: f"{name}, gradient of {of}: {text}"  # noqa: E731
            torch.testing.assert_close(one, other, msg=where)
            if of in COVARIANCES:
                torch.testing.assert_close(one, one.mT, msg=where)


@pytest.mark.parametrize("per_step", [False, True], ids=["constant", "per step"])
@pytest.mark.parametrize("dtype", [F64, torch.float32])
def test_the_dense_joint_of_the_symmetric_part(dtype, per_step, path):
    """Values and gradients of the marginal, by an oracle without recursions."""
    inputs = {name: value.to(dtype).requires_grad_() for name, value in skewed(parameters(per_step)).items()}
    double = {name: value.double() for name, value in inputs.items()}
    for name in COVARIANCES:
        double[name] = (double[name] + double[name].mT) / 2
    a = torch.randn(TIME, OBS, dtype=dtype)
    found = build(inputs, observed=SEEN, validate_args=False).log_prob(a)
    expected = joint_gaussian(**double, time=TIME).log_prob(a.double(), SEEN)
    close = {"rtol": 1e-7, "atol": 1e-9} if dtype == F64 else {"rtol": 1e-4, "atol": 1e-4}
    torch.testing.assert_close(found, expected.to(dtype), **close)
    pairs = (torch.autograd.grad(value, list(inputs.values())) for value in (found, expected))
    for name, one, other in zip(inputs, *pairs, strict=True):
        torch.testing.assert_close(one, other, **close, msg=lambda text, name=name: f"{name}: {text}")


@pytest.mark.parametrize("per_step", [False, True], ids=["constant", "per step"])
def test_mixtures_mean_the_symmetric_part_as_well(per_step, path):
    from pyro_models.distributions import MixtureLinearGaussianSSM

    inputs = skewed(parameters(per_step, batch=(2,)))
    symmetric = {name: (v + v.mT) / 2 if name in COVARIANCES else v for name, v in inputs.items()}
    a, results = torch.randn(TIME, OBS, dtype=F64), []
    for given in (inputs, symmetric):
        mix = MixtureLinearGaussianSSM(torch.zeros(2), build(given, observed=SEEN, validate_args=False))
        torch.manual_seed(0)
        results.append([mix.log_prob(a), mix.sample(), mix.smooth(a).covariance, *mix.sample_posterior(a)])
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("name", COVARIANCES)
def test_an_asymmetric_covariance_is_refused_by_name(name):
    given = parameters(per_step=True, batch=(3,))
    wrong = given[name].clone()
    wrong[(2,) if name == "initial_covariance" else (2, 1)][0, 1] += 0.25
    place = r"\[2, 0, 1\]" if name == "initial_covariance" else r"\[2, 1, 0, 1\]"
    message = (
        rf"{name}: expected finite, symmetric, positive semidefinite matrices; got an asymmetric one: \|M - M.mT\| is "
        rf"up to 0\.25 \(at {place}; largest entry .*\). If that is rounding, pass 0\.5 \* \(M \+ M\.mT\)"
    )
    with pytest.raises(ValueError, match=message):
        build(given | {name: wrong})
    build(given | {name: wrong}, validate_args=False)


@pytest.mark.parametrize("name", COVARIANCES)
@pytest.mark.parametrize("dtype", [torch.float32, F64])
def test_a_covariance_factor_is_refused_and_rounding_is_not(dtype, name):
    """A wrong program: the Cholesky factor in place of the covariance. And products symmetric up to rounding."""
    given = {key: value.to(dtype) for key, value in parameters().items()}
    factor = torch.linalg.cholesky(given[name])
    with pytest.raises(ValueError, match=rf"{name}: .* got an asymmetric one: .* for a factor L, L @ L\.mT"):
        build(given | {name: factor})
    turn = torch.linalg.qr(torch.randn_like(given[name])).Q
    rounded = turn @ given[name] @ turn.mT
    rounded[..., 0, 1] += 4 * torch.finfo(dtype).eps * rounded.abs().max()
    assert not torch.equal(rounded, rounded.mT)
    build(given | {name: rounded})
