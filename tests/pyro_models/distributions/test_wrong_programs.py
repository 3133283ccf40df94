"""What users of the exact marginals get wrong, and the message: argument, what was expected, what came, what to do.

These tests pin: for every distribution of the package the usual mistakes (transposed or without a time dim, one step
too many, standard deviations in place of covariances, wrong types, numbers that are not finite), each refused by name
before anything is computed from it.
"""

import math
import subprocess
import sys

import pytest
import torch

from tests.oracles.random_state_space import OBS, SEQUENCES, STATE, TIME, random_covariance, random_parameters

F64 = torch.float64


def build(given=None, **changed):
    from pyro_models.distributions import LinearGaussianSSM

    given = random_parameters(per_step=(True,) * 4) if given is None else given
    return LinearGaussianSSM(**(given | changed))


def mixture(log_weights=None, batch=(2,)):
    from pyro_models.distributions import MixtureLinearGaussianSSM

    components = build(random_parameters(batch=batch), num_steps=TIME)
    return MixtureLinearGaussianSSM(torch.zeros(2) if log_weights is None else log_weights, components)


def readings(values=None, variance=None, observed=None):
    from pyro_models.distributions import ObservationsGivenReadings

    values = torch.randn(TIME, OBS, dtype=F64) if values is None else values
    return ObservationsGivenReadings(
        build(observed=observed), values, torch.ones_like(values) if variance is None else variance
    )


TRANSPOSED = {
    "emission_matrix": (torch.zeros(TIME, STATE, OBS), r"7, 3, 4\), got \(..., 7, 4, 3\)"),
    "transition_offset": (torch.zeros(STATE, TIME - 1), r"6, 4\), got \(..., 4, 6\)"),
    "emission_offset": (torch.zeros(OBS, TIME), r"7, 3\), got \(..., 3, 7\)"),
    "observed": (torch.ones(TIME, SEQUENCES, dtype=torch.bool), r"\(..., 7\), got \(..., 5\)"),
}


@pytest.mark.parametrize("name", TRANSPOSED)
def test_transposed_arguments(name):
    value, sizes = TRANSPOSED[name]
    with pytest.raises(ValueError, match=rf"{name}: expected .*{sizes}.*Transposed it would fit: pass {name}\.mT"):
        build(**{name: value})


def test_an_emission_matrix_that_holds_for_every_step_is_seen_to_be_transposed():
    given = random_parameters()
    wrong = given["emission_matrix"].mT
    with pytest.raises(ValueError, match=r"emission_matrix: .* = \(..., 7, 3, 4\), got \(..., 1, 4, 3\)\. Transposed"):
        build(given, emission_matrix=wrong, num_steps=TIME)


@pytest.mark.parametrize("known", ["num_steps", "emissions"])
@pytest.mark.parametrize("name", ["transition_matrix", "transition_covariance", "transition_offset"])
def test_a_transition_for_every_observation_is_one_too_many(name, known):
    """The count comes from the emissions, so the message does not name them."""
    given = random_parameters(per_step=(True,) * 4)
    wrong = torch.cat([given[name], given[name][-1:]])
    options = {"num_steps": TIME} if known == "num_steps" else {}
    dim = -2 if name.endswith("offset") else -3
    remedy = rf"There is no transition into the first step: pass {name}\.narrow\({dim}, 1, 6\)"
    message = rf"{name}: .* = \(..., 6, .*got \(..., 7, .*{remedy}"
    with pytest.raises(ValueError, match=message):
        build(given, **{name: wrong}, **options)
    build(given, **{name: wrong.narrow(dim, 1, 6)}, **options)


@pytest.mark.parametrize(
    "name", ["transition_matrix", "transition_covariance", "emission_matrix", "emission_covariance"]
)
def test_a_matrix_without_its_time_dim(name):
    given = random_parameters(batch=(SEQUENCES,))
    remedy = rf"pass {name}\.unsqueeze\(-3\)"
    with pytest.raises(
        ValueError, match=rf"{name}: expected \(\*batch, time.*\), got \(., .\)\. If it holds.*{remedy}"
    ):
        build(given, **{name: given[name][0, 0]}, num_steps=TIME)
    with pytest.raises(ValueError, match=rf"{name}: .*got \(..., 5, ., .\)\. If dim -3 is a batch.*{remedy}"):
        build(given, **{name: given[name][:, 0]}, num_steps=TIME)
    build(given, **{name: given[name][:, 0].unsqueeze(-3)}, num_steps=TIME)


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("initial_covariance", (STATE,)),
        ("initial_covariance", (SEQUENCES, STATE)),
        ("transition_covariance", (STATE,)),
        ("transition_covariance", (1, STATE)),
        ("transition_covariance", (SEQUENCES, 1, STATE)),
        ("transition_covariance", (SEQUENCES, TIME - 1, STATE)),
        ("emission_covariance", (OBS,)),
        ("emission_covariance", (TIME, OBS)),
        ("emission_covariance", (SEQUENCES, TIME, OBS)),
    ],
)
def test_standard_deviations_are_no_covariance(name, shape):
    with pytest.raises(ValueError, match=rf"{name}: expected .*, got .*standard deviations squared.*torch\.diag_embed"):
        build(**{name: torch.ones(shape, dtype=F64)})


def test_standard_deviations_that_happen_to_be_square_are_no_covariance():
    """Four sequences of four states: only the numbers tell."""
    deviations = torch.rand(STATE, STATE, dtype=F64)
    with pytest.raises(ValueError, match="initial_covariance: expected .* symmetric.*got an asymmetric one"):
        build(initial_covariance=deviations)


def test_a_covariance_with_a_negative_eigenvalue():
    wrong = random_covariance(TIME, OBS, OBS)
    wrong[3] = torch.tensor([[1.0, 2.0, 0.0], [2.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    message = r"emission_covariance: expected finite, symmetric, positive semidefinite matrices; got one with the "
    with pytest.raises(ValueError, match=message + r"eigenvalue -1 \(at \[3\]\)\. Build it from a factor, L @ L\.mT"):
        build(emission_covariance=wrong)
    with pytest.raises(ValueError, match=r"initial_covariance: .* got one with the eigenvalue -1\. Build it"):
        build(initial_covariance=-torch.eye(STATE, dtype=F64))


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize(
    "name",
    [
        "initial_mean",
        "initial_covariance",
        "transition_matrix",
        "transition_covariance",
        "emission_matrix",
        "emission_covariance",
        "transition_offset",
        "emission_offset",
    ],
)
def test_numbers_that_are_not_finite(name, number):
    """Also at a missing step: nothing there is read, but whatever made the number is broken."""
    given = random_parameters(per_step=(True,) * 4)
    wrong = given[name].clone()
    place = (-1,) * (wrong.dim() - 1) + (0,)
    wrong[place] = number
    exact = [size - 1 for size in wrong.shape[:-1]] + [0]
    seen = torch.arange(TIME) < TIME - 1
    with pytest.raises(ValueError, match=rf"{name}: expected finite.*; got {number} at \{exact}\. Find what made it"):
        build(given, **{name: wrong}, observed=seen)
    build(given, **{name: wrong}, observed=seen, validate_args=False)


@pytest.mark.parametrize("name", ["initial_mean", "transition_matrix", "emission_covariance"])
@pytest.mark.parametrize("dtype", [torch.int64, torch.complex64])
def test_what_is_no_real_tensor(name, dtype):
    given = random_parameters(per_step=(True,) * 4)
    with pytest.raises(TypeError, match=rf"{name}: expected a floating-point tensor, got {dtype}\. Pass {name}\.float"):
        build(given, **{name: given[name].to(dtype)})


def test_what_is_no_tensor():
    """In a separate process: the type checks that the tests install would come before ours."""
    program = """
import numpy as np, torch
from pyro_models.distributions import LinearGaussianSSM, MixtureLinearGaussianSSM, ObservationsGivenReadings

one = torch.ones(1, 1, 1)
good = dict(
    initial_mean=one[0, 0], initial_covariance=one[0], transition_matrix=one, transition_covariance=one,
    emission_matrix=one, emission_covariance=one,
)
ssm, a = LinearGaussianSSM(**good, num_steps=3), torch.zeros(3, 1)
several = LinearGaussianSSM(**(good | {"initial_mean": torch.zeros(2, 1)}), num_steps=3)
real = "expected a floating-point tensor, got"
programs = {}
for name in good:
    for wrong in (good[name].tolist(), good[name].numpy(), None, 1.0):
        programs[f"{name}: {real} {type(wrong).__name__}. Pass torch.as_tensor({name}).float()"] = (
            lambda name=name, wrong=wrong: LinearGaussianSSM(**(good | {name: wrong}), num_steps=3)
        )
for wrong in ([True] * 3, np.ones(3, bool)):
    programs[f"observed: expected a bool tensor, got {type(wrong).__name__}. Pass torch.as_tensor(observed).bool()"] = (
        lambda wrong=wrong: LinearGaussianSSM(**good, observed=wrong)
    )
for wrong in (3.0, "3", [3]):
    programs[f"num_steps: expected a positive int, got {wrong!r}"] = (
        lambda wrong=wrong: LinearGaussianSSM(**good, num_steps=wrong)
    )
programs |= {
    f"a: {real} ndarray": lambda: ssm.log_prob(a.numpy()),
    f"a: {real} list": lambda: ssm.posterior(a.tolist()),
    f"a: {real} NoneType": lambda: several and MixtureLinearGaussianSSM(torch.zeros(2), several).log_prob(None),
    f"z: {real} list": lambda: ssm.emit(a.tolist()),
    f"variance: {real} float": lambda: ssm.expected_log_prob(a, 1.0),
    f"readings: {real} ndarray": lambda: ObservationsGivenReadings(ssm, a.numpy(), torch.ones(3, 1)),
    "ssm: expected a LinearGaussianSSM, got MixtureLinearGaussianSSM. Of a mixture, pass `components`": lambda: (
        ObservationsGivenReadings(MixtureLinearGaussianSSM(torch.zeros(2), several), a, torch.ones(3, 1))
    ),
    f"log_weights: {real} list": lambda: MixtureLinearGaussianSSM([0.5, 0.5], several),
    "components: expected a LinearGaussianSSM, got list": lambda: MixtureLinearGaussianSSM(torch.zeros(2), [ssm, ssm]),
    "num_steps: expected a positive int, got 2.0": lambda: ssm.forecast(a, 2.0),
    f"transition_matrix: {real} list": lambda: ssm.forecast(a, 2, transition_matrix=one.tolist()),
}
for message, call in programs.items():
    try:
        call()
    except TypeError as error:
        assert str(error).startswith(message), (message, str(error))
    else:
        raise SystemExit(f"accepted: {message}")
print(len(programs))
"""
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == "40"


METHODS = {
    "log_prob": lambda ssm, a: ssm.log_prob(a),
    "filter": lambda ssm, a: ssm.filter(a),
    "smooth": lambda ssm, a: ssm.smooth(a),
    "smoothed_marginals": lambda ssm, a: ssm.smoothed_marginals(a),
    "posterior": lambda ssm, a: ssm.posterior(a),
    "forecast": lambda ssm, a: ssm.forecast(a, 2),
    "joint_log_prob": lambda ssm, a: ssm.joint_log_prob(a, torch.zeros(TIME, STATE)),
    "mixture.log_prob": lambda ssm, a: mixture().log_prob(a),
    "mixture.component_posterior": lambda ssm, a: mixture().component_posterior(a),
    "mixture.filter": lambda ssm, a: mixture().filter(a),
    "mixture.smooth": lambda ssm, a: mixture().smooth(a),
    "mixture.impute": lambda ssm, a: mixture().impute(a),
    "mixture.sample_posterior": lambda ssm, a: mixture().sample_posterior(a),
    "readings.log_prob": lambda ssm, a: readings().log_prob(a),
}


@pytest.mark.parametrize("method", METHODS)
def test_observations(method):
    """Refused where they are passed, and without a dim that the caller did not write."""
    call, ssm = METHODS[method], build(random_parameters(), num_steps=TIME)
    a = torch.randn(TIME, OBS, dtype=F64)
    expected = r"a: expected \(..., 7, 3\) up to broadcasting, got "
    with pytest.raises(ValueError, match=expected + r"\(3, 7\)\. Transposed it would fit: pass a\.mT"):
        call(ssm, a.mT)
    with pytest.raises(ValueError, match=expected + r"\(6, 3\)"):
        call(ssm, a[1:])
    with pytest.raises(ValueError, match=expected + r"\(7, 5, 3\)"):
        call(ssm, a.unsqueeze(1).expand(TIME, 5, OBS))  # time first
    with pytest.raises(ValueError, match=expected + r"\(3,\)"):
        call(ssm, a[0])
    with pytest.raises(TypeError, match=r"a: expected a floating-point tensor, got torch\.int64\. Pass a\.float"):
        call(ssm, a.long())
    a[2, 1] = torch.nan
    where = r"at \[0, 2, 1\]" if method.startswith("mixture") else r"at \[2, 1\]"
    with pytest.raises(ValueError, match=rf"a: expected finite values .*; got nan {where}\. If that step is missing"):
        call(ssm, a)


def test_uncertain_observations():
    """E log p(a): for a wrong variance, the message names the variance."""
    for law in (build(random_parameters(), num_steps=TIME), mixture()):
        mean = torch.randn(TIME, OBS, dtype=F64)
        with pytest.raises(ValueError, match=r"variance: expected nonnegative variances, got -2\. Pass variances, not"):
            law.expected_log_prob(mean, torch.full_like(mean, -2.0))
        with pytest.raises(ValueError, match=r"variance: expected \(..., 7, 3\) .*, got \(7, 3, 3\)"):
            law.expected_log_prob(mean, torch.diag_embed(torch.ones_like(mean)))
        with pytest.raises(ValueError, match="variance: expected finite values"):
            law.expected_log_prob(mean, mean * torch.nan)
        with pytest.raises(ValueError, match="mean: expected finite values"):
            law.expected_log_prob(mean * torch.nan, torch.ones_like(mean))
        with pytest.raises(ValueError, match=r"mean: expected \(..., 7, 3\) .*, got \(3, 7\)\. Transposed"):
            law.expected_log_prob(mean.mT, torch.ones_like(mean))


def test_the_batch_of_an_uncertain_observation_may_be_that_of_its_variance():
    ssm = build(random_parameters(), num_steps=TIME)
    mean, variance = torch.randn(TIME, OBS, dtype=F64), torch.rand(SEQUENCES, TIME, OBS, dtype=F64)
    found = ssm.expected_log_prob(mean, variance)
    torch.testing.assert_close(found, ssm.expected_log_prob(mean.expand(SEQUENCES, TIME, OBS), variance))


def test_states():
    ssm = build(random_parameters(), num_steps=TIME)
    z = torch.randn(TIME, STATE, dtype=F64)
    for call in (ssm.emit, lambda z: ssm.joint_log_prob(torch.zeros(TIME, OBS), z)):
        with pytest.raises(ValueError, match=r"z: expected \(..., 7, 4\) .*, got \(4, 7\)\. Transposed.* pass z\.mT"):
            call(z.mT)
        with pytest.raises(ValueError, match=r"z: expected \(..., 7, 4\) up to broadcasting, got \(1, 4\)"):
            call(z[:1])
        with pytest.raises(TypeError, match="z: expected a floating-point tensor, got torch.int64"):
            call(z.long())


def test_batches_that_the_observations_brought():
    """The model has no batch; that of the posterior is its observations'."""
    ssm, a = build(random_parameters(), num_steps=TIME), torch.randn(2, TIME, OBS, dtype=F64)
    with pytest.raises(ValueError, match=r"z: expected \(..., 2, 7, 4\) up to broadcasting, got \(3, 7, 4\)"):
        ssm.posterior(a).log_prob(torch.randn(3, TIME, STATE, dtype=F64))
    with pytest.raises(ValueError, match=r"a: expected \(..., 2, 7, 3\) up to broadcasting, got \(3, 7, 3\)"):
        readings(a).log_prob(torch.randn(3, TIME, OBS, dtype=F64))
    with pytest.raises(ValueError, match=r"a: expected \(..., 2, 7, 3\) up to broadcasting, got \(3, 7, 3\)"):
        mixture().expand((2,)).log_prob(torch.randn(3, TIME, OBS, dtype=F64))


def test_forecasts():
    ssm = build(random_parameters(batch=(SEQUENCES,)), num_steps=TIME)
    a = ssm.sample()
    with pytest.raises(ValueError, match=r"transition_matrix: expected \(..., 4, 4\) for states .*, got \(2, 4, 3\)"):
        ssm.forecast(a, 2, transition_matrix=torch.zeros(2, STATE, 3, dtype=F64))
    with pytest.raises(ValueError, match=r"transition_offset: expected \(..., 4\) for states .*, got \(2, 3\)"):
        ssm.forecast(a, 2, transition_offset=torch.zeros(2, OBS, dtype=F64))
    with pytest.raises(ValueError, match=r"emission_covariance: expected batch dims that .* \(5,\), got \(3,\)"):
        ssm.forecast(a, 2, emission_covariance=random_covariance(3, 2, OBS, OBS))
    with pytest.raises(ValueError, match=r"transition_covariance: .* 2 or 1 steps at dim -3, got \(3, 4, 4\)\. Leave"):
        ssm.forecast(a, 2, transition_covariance=random_covariance(3, STATE, STATE))
    with pytest.raises(ValueError, match="transition_covariance: .* got an asymmetric one"):
        ssm.forecast(a, 2, transition_covariance=torch.ones(2, STATE, STATE, dtype=F64).triu())


def test_readings():
    good = torch.randn(TIME, OBS, dtype=F64)
    with pytest.raises(ValueError, match=r"readings: expected \(..., 7, 3\) .*, got \(3, 7\)\. .* pass readings\.mT"):
        readings(good.mT)
    with pytest.raises(ValueError, match=r"variance: expected \(..., 7, 3\) .*, got \(3,\)"):
        readings(good, torch.ones(OBS))
    with pytest.raises(ValueError, match=r"variance: expected \(..., 7, 3\) .*, got \(7, 3, 3\)"):
        readings(good, torch.eye(OBS).expand(TIME, OBS, OBS))
    with pytest.raises(ValueError, match=r"variance: expected positive variances, got -0\.5\. Pass variances, not log"):
        readings(good, torch.full_like(good, -0.5))
    with pytest.raises(ValueError, match=r"variance: expected positive variances, got 0\."):
        readings(good, torch.zeros_like(good))
    with pytest.raises(ValueError, match=r"variance: expected batch dims that broadcast with .* \(2,\), got \(3,\)"):
        readings(good.expand(2, TIME, OBS), torch.ones(3, TIME, OBS))
    with pytest.raises(TypeError, match="readings: expected a floating-point tensor, got torch.int64"):
        readings(good.long(), torch.ones_like(good))
    broken = good.clone()
    broken[1, 2] = torch.nan
    with pytest.raises(ValueError, match=r"readings: expected finite values .*; got nan at \[1, 2\]\. If that step"):
        readings(broken)
    with pytest.raises(ValueError, match=r"variance: expected finite values .*; got nan at \[1, 2\]"):
        readings(good, broken.square())
    seen = torch.arange(TIME) != 1
    assert readings(broken, torch.where(seen[:, None], 1.0, -1.0).expand(TIME, OBS), seen).log_evidence.isfinite()


def test_mixtures():
    with pytest.raises(TypeError, match=r"log_weights: expected a floating-point tensor, got torch\.int64"):
        mixture(torch.tensor([1, 2]))
    with pytest.raises(ValueError, match=r"log_weights: .* one of them finite; got \[-inf, -inf\] at \[1\]\. Pass log"):
        mixture(torch.tensor([[0.0, 0.0], [-torch.inf, -torch.inf]]))
    with pytest.raises(ValueError, match=r"log_weights: .* as many components as the last .* \(2, 3\), got \(2,\)"):
        mixture(torch.zeros(2), (2, 3))  # the component first
    mix, a = mixture(torch.tensor([0.0, -torch.inf])), torch.randn(TIME, OBS, dtype=F64)
    torch.testing.assert_close(mix.log_prob(a), mix.components.log_prob(a)[0])
    with pytest.raises(
        ValueError, match=r"weights: expected \(\*batch, component\) = \(..., 2\), got \(3,\)\. Pass prob"
    ):
        mix.impute(a, torch.ones(3) / 3)
    with pytest.raises(ValueError, match=r"weights: expected .* got \(2, 1\)"):
        mix.impute(a, torch.ones(2, 1))
