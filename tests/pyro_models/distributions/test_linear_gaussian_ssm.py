"""`LinearGaussianSSM` against the dense joint Gaussian, Pyro's GaussianHMM and finite differences.

These tests pin: log_prob, filtered, smoothed and lag-one moments for shared and per-step parameters, offsets, every
kind of missing pattern and singular process noise; that values at missing steps are never read; broadcasting over
particles; forecasts; the moments of samples; the distribution's contract in Pyro.
"""

import math

import pyro
import pyro.distributions as dist
import pytest
import torch

from tests.oracles.joint_gaussian import dense_log_prob, joint_gaussian
from tests.oracles.random_state_space import (
    OBS,
    SEQUENCES,
    STATE,
    TIME,
    constant_velocity,
    random_covariance,
    random_parameters,
)
from tests.oracles.textbook_kalman import textbook_kalman

F64 = torch.float64
MASKS = {
    "all": None,
    "none": [0, 0, 0, 0, 0, 0, 0],
    "first": [0, 0, 1, 1, 1, 1, 1],
    "last": [1, 1, 1, 1, 1, 0, 0],
    "gap": [1, 1, 0, 0, 0, 1, 1],
    "mixed": [0, 1, 0, 1, 1, 0, 1],
    "one": [0, 0, 0, 1, 0, 0, 0],
}
PER_STEP = [(False,) * 4, (True,) * 4, (True, False, True, False), (False, True, False, True)]


def build(**parameters):
    from pyro_models.distributions import LinearGaussianSSM

    return LinearGaussianSSM(**parameters)


def mask(name):
    return None if MASKS[name] is None else torch.tensor(MASKS[name], dtype=torch.bool)


@pytest.mark.parametrize("observed", MASKS)
@pytest.mark.parametrize("noise", ["regular", "zero", "singular"])
@pytest.mark.parametrize("per_step", PER_STEP)
def test_moments_match_the_dense_joint(per_step, noise, observed):
    given, seen = random_parameters(per_step=per_step, noise=noise), mask(observed)
    ssm = build(**given, observed=seen, num_steps=TIME)
    oracle = joint_gaussian(**given, time=TIME)
    a = ssm.sample()
    torch.testing.assert_close(ssm.log_prob(a), oracle.log_prob(a, seen))
    mean, covariance = oracle.states_given(a, seen)
    blocks = covariance.reshape(TIME, STATE, TIME, STATE)
    smoothed = ssm.smooth(a)
    torch.testing.assert_close(smoothed.mean, mean.reshape(TIME, STATE))
    torch.testing.assert_close(smoothed.covariance, torch.stack([blocks[t, :, t] for t in range(TIME)]))
    neighbours = torch.stack([blocks[t, :, t + 1] for t in range(TIME - 1)])
    torch.testing.assert_close(smoothed.lag_one_covariance, neighbours)
    filtered = ssm.filter(a)
    for t in range(TIME):
        past = (torch.ones(TIME, dtype=torch.bool) if seen is None else seen) & (torch.arange(TIME) <= t)
        mean, covariance = oracle.states_given(a, past)
        rows = slice(t * STATE, (t + 1) * STATE)
        torch.testing.assert_close(filtered.mean[t], mean[rows])
        torch.testing.assert_close(filtered.covariance[t], covariance[rows, rows])
    torch.testing.assert_close(filtered.log_prob, smoothed.log_prob)
    torch.testing.assert_close(filtered.step_log_prob.sum(-1), ssm.log_prob(a))
    torch.testing.assert_close(filtered.predicted_mean[0], given["initial_mean"])
    prior = ssm.state_marginals()
    torch.testing.assert_close(prior.mean.reshape(-1), oracle.mean[: TIME * STATE])
    torch.testing.assert_close(ssm.mean.reshape(-1), oracle.mean[TIME * STATE :])
    torch.testing.assert_close(ssm.variance.reshape(-1), oracle.covariance.diagonal()[TIME * STATE :])


@pytest.mark.parametrize("time", [1, 2])
def test_short_sequences(time):
    given = random_parameters(time=time)
    if time == 1:
        for name in ("transition_matrix", "transition_covariance"):
            given[name] = given[name][:0]
        given["transition_offset"] = None
    ssm = build(**given, num_steps=time)
    a = ssm.sample()
    if time == 1:
        c, p = given["emission_matrix"][0], given["initial_covariance"]
        expected = dense_log_prob(
            a[0],
            c @ given["initial_mean"] + given["emission_offset"][0],
            c @ p @ c.mT + given["emission_covariance"][0],
        )
        assert ssm.smooth(a).lag_one_covariance.shape == (0, STATE, STATE)
    else:
        expected = joint_gaussian(**given, time=time).log_prob(a)
    torch.testing.assert_close(ssm.log_prob(a), expected)


def test_all_sizes_equal():
    given = random_parameters(batch=(3,), per_step=(True,) * 4, time=3, state=3, obs=3)
    ssm = build(**given)
    a = ssm.sample()
    expected = [
        joint_gaussian(**{name: value[i] for name, value in given.items()}, time=3).log_prob(a[i]) for i in range(3)
    ]
    torch.testing.assert_close(ssm.log_prob(a), torch.stack(expected))


def test_textbook_filter_and_smoother_agree():
    given = random_parameters(per_step=(True,) * 4, offsets=False)
    seen = mask("mixed")
    ssm = build(**given, observed=seen)
    a = ssm.sample()
    order = ("transition_matrix", "transition_covariance", "emission_matrix", "emission_covariance")
    log_prob, means, covariances, smoothed_means, smoothed_covariances = textbook_kalman(
        given["initial_mean"], given["initial_covariance"], *(given[name] for name in order), a, seen
    )
    filtered, smoothed = ssm.filter(a), ssm.smooth(a)
    torch.testing.assert_close(filtered.log_prob, log_prob)
    torch.testing.assert_close(filtered.mean, torch.stack(means))
    torch.testing.assert_close(filtered.covariance, torch.stack(covariances))
    torch.testing.assert_close(smoothed.mean, torch.stack(smoothed_means))
    torch.testing.assert_close(smoothed.covariance, torch.stack(smoothed_covariances))


def test_parameters_and_observations_broadcast():
    particles = 2
    given = random_parameters(batch=(SEQUENCES,), per_step=(True, False, True, False))
    given["transition_covariance"] = random_covariance(1, STATE, STATE)
    given["initial_mean"] = torch.randn(STATE, dtype=F64)
    given["transition_matrix"] = (
        given["transition_matrix"] + torch.randn(particles, 1, 1, TIME - 1, STATE, STATE).double()
    )
    seen = torch.rand(SEQUENCES, TIME) > 0.4
    ssm = build(**given, observed=seen)
    assert ssm.batch_shape == (particles, 1, SEQUENCES)
    a = ssm.sample((3,))
    log_prob, smoothed = ssm.log_prob(a), ssm.smooth(a)
    assert log_prob.shape == (3, particles, 1, SEQUENCES)
    assert smoothed.mean.shape == (3, particles, 1, SEQUENCES, TIME, STATE)
    assert smoothed.covariance.shape == (3, particles, 1, SEQUENCES, TIME, STATE, STATE)
    for k in range(particles):
        for i in range(SEQUENCES):
            single = {name: value[i] for name, value in given.items() if value.shape[0] == SEQUENCES}
            single |= {
                "transition_matrix": given["transition_matrix"][k, 0, i],
                "transition_covariance": given["transition_covariance"],
                "initial_mean": given["initial_mean"],
            }
            oracle = joint_gaussian(**single, time=TIME)
            torch.testing.assert_close(log_prob[1, k, 0, i], oracle.log_prob(a[1, k, 0, i], seen[i]))
            mean, _ = oracle.states_given(a[1, k, 0, i], seen[i])
            torch.testing.assert_close(smoothed.mean[1, k, 0, i].reshape(-1), mean)


@pytest.mark.parametrize("garbage", [math.nan, math.inf, 1e30])
def test_missing_values_are_never_read(garbage):
    given = random_parameters(batch=(SEQUENCES,), per_step=(True,) * 4)
    parameters = [value.requires_grad_() for value in given.values()]
    seen = torch.rand(SEQUENCES, TIME) > 0.4
    ssm = build(**given, observed=seen)
    clean = torch.where(seen[..., None], ssm.sample(), 0.0)

    def results(a):
        a = a.requires_grad_()
        log_prob = ssm.log_prob(a)
        smoothed = ssm.smooth(a)
        torch.manual_seed(0)
        path = ssm.posterior(a).rsample()
        total = log_prob.sum() + smoothed.mean.sum() + path.square().sum()
        return (log_prob, smoothed.mean, path, *torch.autograd.grad(total, [a, *parameters]))

    expected = results(clean)
    found = results(torch.where(seen[..., None], clean.detach(), garbage))
    for x, y in zip(found, expected, strict=True):
        assert torch.equal(x, y)
    assert found[3][~seen].abs().max() == 0


def test_missing_tail_is_a_shorter_sequence():
    given = random_parameters(per_step=(True,) * 4)
    seen = mask("last")
    a = build(**given).sample()
    times = {name: value.shape[0] - 2 for name, value in given.items() if "initial" not in name}
    shorter = {name: value[: times[name]] if name in times else value for name, value in given.items()}
    torch.testing.assert_close(build(**given, observed=seen).log_prob(a), build(**shorter).log_prob(a[:-2]))


def test_nothing_observed():
    ssm = build(**random_parameters(), observed=mask("none"))
    a = torch.full((TIME, OBS), torch.nan, dtype=F64)
    assert ssm.log_prob(a) == 0
    prior = ssm.state_marginals()
    torch.testing.assert_close(ssm.smooth(a).mean, prior.mean)
    torch.testing.assert_close(ssm.smooth(a).covariance, prior.covariance)


def test_gradients_match_finite_differences():
    given = random_parameters(per_step=(True, False, False, True), time=4)
    names = [name for name, value in given.items() if value is not None]
    seen = torch.tensor([1, 0, 1, 1], dtype=torch.bool)

    def log_prob(a, *values):
        parameters = dict(zip(names, values, strict=True))
        for name in names:
            if "covariance" in name:  # finite differences of single entries leave the symmetric matrices
                parameters[name] = (parameters[name] + parameters[name].mT) / 2
        return build(**parameters, observed=seen, validate_args=False).log_prob(a)

    inputs = [value.requires_grad_() for value in (build(**given).sample(), *given.values())]
    assert torch.autograd.gradcheck(log_prob, inputs)


def test_singular_noise_gives_finite_gradients():
    given = random_parameters(noise="zero")
    given["initial_covariance"] = torch.zeros_like(given["initial_covariance"])
    inputs = [value.requires_grad_() for value in given.values()]
    ssm = build(**given, num_steps=TIME)
    a = ssm.sample().requires_grad_()
    total = ssm.log_prob(a) + ssm.smooth(a).mean.sum() + ssm.posterior(a).rsample().sum()
    assert all(grad.isfinite().all() for grad in torch.autograd.grad(total, [a, *inputs]))


def test_zero_noise_smoother_follows_the_dynamics():
    given = random_parameters(noise="zero")
    ssm = build(**given, num_steps=TIME, observed=mask("gap"))
    a = ssm.sample()
    for path in (ssm.smooth(a).mean, ssm.posterior(a).sample()):
        moved = path[:-1] @ given["transition_matrix"][0].mT + given["transition_offset"][0]
        torch.testing.assert_close(path[1:], moved)


def test_gaussian_hmm_of_pyro_agrees():
    """GaussianHMM makes a transition before the first emission: here the identity, with noise taken off the prior."""
    given = random_parameters(per_step=(True,) * 4, offsets=False)
    eye, first = torch.eye(STATE, dtype=F64), 1e-3 * torch.eye(STATE, dtype=F64)
    ssm = build(**given)
    a = ssm.sample()
    noise = torch.cat([first[None], given["transition_covariance"]])
    hmm = dist.GaussianHMM(
        dist.MultivariateNormal(given["initial_mean"], given["initial_covariance"] - first),
        torch.cat([eye[None], given["transition_matrix"].mT]),
        dist.MultivariateNormal(torch.zeros(TIME, STATE, dtype=F64), noise),
        given["emission_matrix"].mT,
        dist.MultivariateNormal(torch.zeros(TIME, OBS, dtype=F64), given["emission_covariance"]),
    )
    torch.testing.assert_close(ssm.log_prob(a), hmm.log_prob(a), rtol=1e-8, atol=1e-8)


def test_samples_have_the_right_moments():
    """Every mean and covariance entry within 5 standard errors: fails by chance less than once in 10^4 seeds."""
    given = random_parameters(noise="singular", time=3)
    ssm, draws = build(**given, num_steps=3), 20000
    oracle = joint_gaussian(**given, time=3)
    a = ssm.sample((draws,)).reshape(draws, -1)
    mean, covariance = oracle.mean[3 * STATE :], oracle.covariance[3 * STATE :, 3 * STATE :]
    assert ((a.mean(0) - mean).abs() < 5 * (covariance.diagonal() / draws).sqrt()).all()
    products = (a - mean)[:, :, None] * (a - mean)[:, None]
    errors = (covariance.diagonal()[:, None] * covariance.diagonal() + covariance.square()).sqrt() / math.sqrt(draws)
    assert ((products.mean(0) - covariance).abs() < 5 * errors).all()


def test_samples_are_reparameterised():
    given = {name: value.requires_grad_() for name, value in random_parameters().items()}
    ssm = build(**given, num_steps=TIME)
    assert ssm.has_rsample
    grads = torch.autograd.grad(ssm.rsample((2,)).square().sum(), list(given.values()))
    assert all(grad.abs().sum() > 0 for grad in grads)
    states, a = ssm.rsample_joint((2,))
    assert states.shape == (2, TIME, STATE)
    assert a.shape == (2, TIME, OBS)


@pytest.mark.parametrize("per_step", [(False,) * 4, (True,) * 4])
def test_forecast_is_the_law_of_what_follows(per_step):
    more = 3
    given = random_parameters(batch=(SEQUENCES,), per_step=per_step, time=TIME + more)
    a = build(**given, num_steps=TIME + more).sample()
    late = {name: value for name, value in given.items() if "initial" not in name}
    early = dict(given)
    if per_step[0]:
        early |= {name: value[:, : TIME if "emission" in name else TIME - 1] for name, value in late.items()}
        late = {name: value[:, TIME if "emission" in name else TIME - 1 :] for name, value in late.items()}
    past = build(**early, num_steps=TIME)
    future = past.forecast(a[:, :TIME], more, **(late if per_step[0] else {}))
    assert future.batch_shape == (SEQUENCES,)
    assert future.event_shape == (more, OBS)
    whole = build(**given, num_steps=TIME + more)
    torch.testing.assert_close(
        future.log_prob(a[:, TIME:]), whole.log_prob(a) - past.log_prob(a[:, :TIME]), rtol=1e-6, atol=1e-8
    )
    padded = torch.cat([a[:, :TIME], torch.full_like(a[:, TIME:], torch.nan)], 1)
    seen = torch.arange(TIME + more) < TIME
    smoothed = build(**given, observed=seen).smooth(padded)
    torch.testing.assert_close(future.state_marginals().mean, smoothed.mean[:, TIME:])
    torch.testing.assert_close(future.state_marginals().covariance, smoothed.covariance[:, TIME:])


def test_forecast_needs_what_changes_over_time():
    ssm = build(**random_parameters(per_step=(True, False, False, False)))
    a = ssm.sample()
    with pytest.raises(ValueError, match="transition_matrix: expected its values at the 2 new steps"):
        ssm.forecast(a, 2)
    with pytest.raises(ValueError, match="transition_matrix: expected 2 or 1 steps at dim -3"):
        ssm.forecast(a, 2, transition_matrix=ssm.transition_matrix)
    with pytest.raises(ValueError, match="num_steps: expected a positive int, got 0"):
        ssm.forecast(a, 0)


def test_expand():
    ssm = build(**random_parameters(batch=(SEQUENCES,)), num_steps=TIME)
    wide = ssm.expand((2, SEQUENCES))
    assert wide.batch_shape == (2, SEQUENCES)
    assert wide.initial_mean is ssm.initial_mean
    a = wide.sample((3,))
    assert a.shape == (3, 2, SEQUENCES, TIME, OBS)
    torch.testing.assert_close(wide.log_prob(a), ssm.log_prob(a))
    assert wide.log_prob(a[0, 0]).shape == (2, SEQUENCES)
    assert wide.mean.shape == a.shape[1:]
    with pytest.raises(ValueError, match=r"batch_shape: expected one that \(5,\) expands to"):
        ssm.expand((3,))


def test_works_as_a_site_of_a_pyro_model():
    ssm = build(**random_parameters(batch=(SEQUENCES,)), num_steps=TIME)
    seen = torch.rand(SEQUENCES) > 0.5

    def model(a=None):
        with pyro.plate("sequences", SEQUENCES):
            pyro.sample("a", ssm.mask(seen), obs=a)

    trace = pyro.poutine.trace(model).get_trace()
    value = trace.nodes["a"]["value"]
    torch.testing.assert_close(trace.log_prob_sum(), (ssm.log_prob(value) * seen).sum())
    assert pyro.poutine.trace(model).get_trace(value).nodes["a"]["is_observed"]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_results_have_the_callers_dtype(dtype):
    given = constant_velocity(0.1, 1e-3, 1e-2, 1.0, dtype)
    ssm = build(**given, num_steps=TIME)
    a = ssm.sample()
    posterior = ssm.posterior(a)
    path = ssm.smooth(a)
    results = [a, ssm.log_prob(a), path.mean, path.covariance, path.lag_one_covariance, ssm.filter(a).step_log_prob]
    results += [posterior.rsample(), posterior.log_prob(posterior.rsample()), ssm.mean, ssm.variance]
    results += [ssm.forecast(a, 2).mean, ssm.smoothed_marginals(a).rsample()]
    assert {result.dtype for result in results} == {dtype}
    assert ssm.log_prob(a.double()).dtype == F64


def test_indefinite_innovations_give_nan():
    given = random_parameters()
    given["emission_covariance"] = -100 * given["emission_covariance"]
    ssm = build(**given, num_steps=TIME, validate_args=False)
    assert ssm.log_prob(torch.zeros(TIME, OBS, dtype=F64)).isnan()


@pytest.mark.parametrize("factor", [-1.0, torch.nan])
@pytest.mark.parametrize("name", ["initial_covariance", "transition_covariance", "emission_covariance"])
def test_draws_from_what_is_no_covariance_are_nan(name, factor):
    """Without validation: noise that cannot be drawn is not left out."""
    given = random_parameters()
    a = build(**given, num_steps=TIME).sample()
    ssm = build(**(given | {name: factor * given[name]}), num_steps=TIME, validate_args=False)
    states, values = ssm.rsample_joint((3,))
    assert values.isnan().flatten(1).any(-1).all()
    assert states.isnan().any() == (name != "emission_covariance")
    assert ssm.posterior(a).rsample((3,)).isnan().flatten(1).any(-1).all()


@pytest.mark.parametrize("name", ["initial_covariance", "transition_covariance", "emission_covariance"])
def test_covariances_are_checked(name):
    given = random_parameters()
    message = f"{name}: expected finite, symmetric, positive semidefinite matrices"
    for wrong in (-given[name], given[name] + torch.triu(torch.ones_like(given[name]), 1), given[name] * torch.nan):
        with pytest.raises(ValueError, match=message):
            build(**(given | {name: wrong}), num_steps=TIME)
    build(**(given | {name: 0 * given[name]}), num_steps=TIME)


def test_values_are_checked():
    ssm = build(**random_parameters(batch=(SEQUENCES,)), num_steps=TIME)
    a = ssm.sample()
    with pytest.raises(ValueError, match=r"a: expected \(..., 5, 7, 3\) up to broadcasting, got \(5, 6, 3\)"):
        ssm.log_prob(a[:, 1:])
    with pytest.raises(ValueError, match=r"a: expected \(..., 5, 7, 3\) up to broadcasting, got \(4, 7, 3\)"):
        ssm.log_prob(a[1:])
    with pytest.raises(ValueError, match="a: expected finite values at every observed step"):
        ssm.log_prob(a * torch.nan)
    with pytest.raises(TypeError, match="a: expected a floating-point tensor, got torch.int64"):
        ssm.log_prob(a.long())
