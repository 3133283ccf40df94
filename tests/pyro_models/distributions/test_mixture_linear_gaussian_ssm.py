"""`MixtureLinearGaussianSSM` against reference values, explicit sums and the moments of samples."""

import math

import pyro
import pytest
import torch

from tests.oracles.joint_gaussian import joint_gaussian
from tests.oracles.monte_carlo import assert_mean_within
from tests.oracles.random_state_space import OBS, SEQUENCES, STATE, TIME, constant_velocity, random_parameters

F64 = torch.float64
COMPONENTS = 2


def mixture(log_weights, observed=None, num_steps=None, **parameters):
    from pyro_models.distributions import LinearGaussianSSM, MixtureLinearGaussianSSM

    return MixtureLinearGaussianSSM(
        log_weights, LinearGaussianSSM(**parameters, observed=observed, num_steps=num_steps)
    )


def cannonballs(dtype=F64, observed=None):
    """A prior like that of the cannonball data, without process noise, and a path with a fixed pattern of jitter."""
    dt, gravity = 0.015, 9.81
    given = constant_velocity(dt, 0.0, 1e-3, 1.0)
    given["initial_mean"] = torch.tensor([[-0.3, 0.0, 1.6, 1.9], [0.6, 0.0, -1.6, 1.9]], dtype=F64)
    given["initial_covariance"] = torch.tensor([0.0133, 0.0833, 0.1, 0.1], dtype=F64).diag()
    given["transition_offset"] = -gravity * torch.tensor([[0.0, dt**2 / 2, 0.0, dt]], dtype=F64)
    tau = dt * torch.arange(30, dtype=F64)
    clean = torch.stack([-0.3 + 1.6 * tau, 1.9 * tau - gravity / 2 * tau**2], -1).reshape(-1)
    kick = torch.tensor(1e-3, dtype=F64).sqrt()
    a = (clean + torch.where(torch.arange(60) % 3 == 0, kick, -kick / 2)).reshape(30, 2)
    given = {name: value.to(dtype) for name, value in given.items()}
    return mixture(torch.zeros(2, dtype=dtype), observed, 30, **given), a.to(dtype)


@pytest.mark.parametrize(("dtype", "tolerance"), [(F64, 1e-7), (torch.float32, 1e-3)])
@pytest.mark.parametrize(
    ("seen", "components", "log_prob"),
    [
        (range(30), (126.29044643, 47.45353454), 125.59729925),
        ((*range(5), *range(25, 30)), (36.34378673, -41.03293504), 35.65063954),
        (range(5), (17.36051900, -14.75565872), 16.66737182),
    ],
)
def test_reference_values_of_the_cannonballs(seen, components, log_prob, dtype, tolerance):
    """Worked out by other code in float64; an information-form float32 filter is off by tens of nats here."""
    observed = torch.zeros(30, dtype=torch.bool)
    observed[list(seen)] = True
    mix, a = cannonballs(dtype, observed)
    a = torch.where(observed[:, None], a, torch.nan)
    close = {"rtol": 0, "atol": tolerance}
    expected = torch.tensor(components, dtype=dtype)
    torch.testing.assert_close(mix.components.log_prob(a), expected, **close)
    torch.testing.assert_close(mix.log_prob(a), torch.tensor(log_prob, dtype=dtype), **close)


def test_reference_moments_of_the_cannonballs():
    """Filter, forecast and smoother of the first component."""
    mix, a = cannonballs()
    numbers = lambda *x: torch.tensor(x, dtype=F64)  # noqa: E731
    close = {"rtol": 0, "atol": 6e-7}
    assert mix.component_posterior(a).probs[1].item() == pytest.approx(5.775e-35, rel=1e-3)
    path = mix.components.filter(a)
    torch.testing.assert_close(path.mean[0, 4], numbers(-0.202626, 0.101245, 1.542802, 1.369524), **close)
    torch.testing.assert_close(
        path.covariance[0, 4].diagonal().sqrt(), numbers(0.016501, 0.016531, 0.28494, 0.285589), **close
    )
    torch.testing.assert_close(path.mean[0, 29], numbers(0.393012, -0.101649, 1.586297, -2.367350), **close)
    first = torch.arange(30) < 5
    early, _ = cannonballs(observed=first)
    unseen = early.components.smooth(a).mean[0, 29]
    torch.testing.assert_close(unseen, numbers(0.375925, -0.074949, 1.542802, -2.309226), **close)
    ends = first | (torch.arange(30) >= 25)
    path = cannonballs(observed=ends)[0].components.smooth(a)
    torch.testing.assert_close(path.mean[0, 15], numbers(0.058193, 0.182343, 1.573941, -0.307228), **close)
    torch.testing.assert_close(
        path.covariance[0, 15].diagonal().sqrt(), numbers(0.009974, 0.010002, 0.052016, 0.052226), **close
    )
    # components so far apart that the mixture is the first one
    torch.testing.assert_close(mix.smooth(a).mean, mix.components.smooth(a).mean[0])


def test_one_step_is_a_mixture_of_gaussians():
    """Log sum_k w_k N(a_1; C m_k + d_k, C P_k C' + R)."""
    given = random_parameters(batch=(COMPONENTS,), time=1)
    for name in ("transition_matrix", "transition_covariance"):
        given[name] = given[name][:, :0]
    given["transition_offset"] = None
    weights = torch.randn(COMPONENTS, dtype=F64)
    mix = mixture(weights, num_steps=1, **given)
    a = mix.sample()
    laws = []
    for k in range(COMPONENTS):
        c, p = given["emission_matrix"][k, 0], given["initial_covariance"][k]
        law = torch.distributions.MultivariateNormal(
            c @ given["initial_mean"][k] + given["emission_offset"][k, 0],
            c @ p @ c.mT + given["emission_covariance"][k, 0],
        )
        laws.append(law.log_prob(a[0]))
    expected = (weights.log_softmax(0) + torch.stack(laws)).logsumexp(0)
    torch.testing.assert_close(mix.log_prob(a), expected)


def test_batches_and_moments_match_explicit_sums():
    given = random_parameters(batch=(SEQUENCES, COMPONENTS), per_step=(True,) * 4)
    seen = torch.rand(SEQUENCES, 1, TIME) > 0.3
    weights = torch.randn(COMPONENTS, dtype=F64)
    mix = mixture(weights, seen, **given)
    assert mix.batch_shape == (SEQUENCES,)
    assert mix.event_shape == (TIME, OBS)
    a = mix.sample((3,))
    log_prob, posterior = mix.log_prob(a), mix.component_posterior(a)
    filtered, smoothed = mix.filter(a), mix.smooth(a)
    assert log_prob.shape == (3, SEQUENCES)
    assert posterior.batch_shape == (3, SEQUENCES)
    assert smoothed.mean.shape == (3, SEQUENCES, TIME, STATE)
    for i in range(SEQUENCES):
        oracles = [
            joint_gaussian(**{name: value[i, k] for name, value in given.items()}, time=TIME) for k in range(COMPONENTS)
        ]
        joint = weights.log_softmax(0) + torch.stack([oracle.log_prob(a[1, i], seen[i, 0]) for oracle in oracles])
        torch.testing.assert_close(log_prob[1, i], joint.logsumexp(0))
        torch.testing.assert_close(posterior.logits[1, i], joint.log_softmax(0))
        for path, until in ((smoothed, TIME), (filtered, 4)):
            past = seen[i, 0] & (torch.arange(TIME) < until)
            logits = weights.log_softmax(0) + torch.stack([oracle.log_prob(a[1, i], past) for oracle in oracles])
            parts = [oracle.states_given(a[1, i], past) for oracle in oracles]
            rows = slice((until - 1) * STATE, until * STATE)
            mean = sum(w * m[rows] for w, (m, _) in zip(logits.softmax(0), parts, strict=True))
            second = sum(
                w * (c[rows, rows] + m[rows, None] * m[rows])
                for w, (m, c) in zip(logits.softmax(0), parts, strict=True)
            )
            torch.testing.assert_close(path.mean[1, i, until - 1], mean)
            torch.testing.assert_close(path.covariance[1, i, until - 1], second - mean[:, None] * mean)


def test_equal_components_are_one():
    """The weights do not matter."""
    from pyro_models.distributions import LinearGaussianSSM

    given = random_parameters()
    single = LinearGaussianSSM(**given, num_steps=TIME)
    several = single.expand((3,))
    mix = mixture(
        torch.randn(3, dtype=F64), num_steps=TIME, **given | {"initial_mean": given["initial_mean"].repeat(3, 1)}
    )
    a = single.sample()
    torch.testing.assert_close(mix.log_prob(a), single.log_prob(a))
    torch.testing.assert_close(mix.log_prob(a), several.log_prob(a)[0])


def test_samples_choose_components_by_weight():
    """Mean of 20000 draws within 5 standard errors: fails by chance less than once in 10^5 seeds."""
    given = random_parameters(batch=(COMPONENTS,), time=2)
    given["initial_mean"] = given["initial_mean"] * 3
    weights, draws = torch.tensor([0.2, 0.8], dtype=F64), 20000
    mix = mixture(weights.log(), num_steps=2, **given)
    assert not mix.has_rsample
    a = mix.sample((draws,)).reshape(draws, -1)
    oracles = [joint_gaussian(**{name: value[k] for name, value in given.items()}, time=2) for k in range(COMPONENTS)]
    mean = sum(w * oracle.mean[2 * STATE :] for w, oracle in zip(weights, oracles, strict=True))
    assert ((a.mean(0) - mean).abs() < 5 * a.std(0) / math.sqrt(draws)).all()


def test_expand_and_pyro_site():
    mix = mixture(torch.zeros(COMPONENTS, dtype=F64), num_steps=TIME, **random_parameters(batch=(COMPONENTS,)))
    wide = mix.expand((SEQUENCES,))
    a = wide.sample((3,))
    assert a.shape == (3, SEQUENCES, TIME, OBS)
    assert wide.log_prob(a).shape == (3, SEQUENCES)
    assert wide.log_prob(a[0, 0]).shape == (SEQUENCES,)
    assert wide.component_posterior(a).batch_shape == (3, SEQUENCES)

    def model():
        with pyro.plate("sequences", SEQUENCES):
            return pyro.sample("a", mix)

    trace = pyro.poutine.trace(model).get_trace()
    torch.testing.assert_close(trace.log_prob_sum(), mix.log_prob(trace.nodes["a"]["value"]).sum())


def test_gradients_reach_everything():
    given = {name: value.requires_grad_() for name, value in random_parameters(batch=(COMPONENTS,)).items()}
    weights = torch.zeros(COMPONENTS, dtype=F64, requires_grad=True)
    mix = mixture(weights, num_steps=TIME, **given)
    grads = torch.autograd.grad(mix.log_prob(mix.sample()), [weights, *given.values()])
    assert all(grad.abs().sum() > 0 for grad in grads)


def test_wrong_arguments_are_refused():
    given = random_parameters(batch=(COMPONENTS,))
    with pytest.raises(ValueError, match=r"log_weights: expected .* as many components .* \(2,\), got \(3,\)"):
        mixture(torch.zeros(3), num_steps=TIME, **given)
    with pytest.raises(ValueError, match="log_weights: expected a shape that broadcasts with the batch"):
        mixture(torch.zeros(3, 2), num_steps=TIME, **random_parameters(batch=(SEQUENCES, COMPONENTS)))
    with pytest.raises(ValueError, match=r"log_weights: expected numbers below infinity .*; got \[0\.0, nan\]"):
        mixture(torch.tensor([0.0, torch.nan]), num_steps=TIME, **given)


def test_densities_of_one_step_after_the_other_add_up():
    """The predictive mixture, weights updated by each step's fit, is the whole distribution."""
    given = random_parameters(batch=(3,))
    mix = mixture(torch.randn(3, dtype=F64), num_steps=TIME, **given)
    a = torch.randn(SEQUENCES, TIME, OBS, dtype=F64)
    increments = mix.components.filter(a.unsqueeze(-3)).step_log_prob
    log_weights, total = mix.log_weights, torch.zeros(SEQUENCES, dtype=F64)
    for step in range(TIME):
        joint = log_weights + increments[..., step]
        total = total + joint.logsumexp(-1)
        log_weights = joint.log_softmax(-1)
    torch.testing.assert_close(total, mix.log_prob(a), rtol=1e-9, atol=1e-9)


def test_an_imputation_is_the_forecast_after_the_last_seen_step_and_the_smoother_between():
    """For one component: what is expected at missing steps."""
    seen = torch.zeros(30, dtype=torch.bool)
    seen[:5] = True
    mix, a = cannonballs(observed=seen)
    sure = torch.tensor([1.0, 0.0], dtype=F64)
    found = mix.impute(torch.where(seen[:, None], a, torch.nan), sure)
    short, _ = cannonballs(observed=None)
    parameters = {name: getattr(short.components, name) for name in constant_velocity(0.1, 0.0, 1.0, 1.0)}
    parameters["transition_offset"] = short.components.transition_offset
    from pyro_models.distributions import LinearGaussianSSM

    ahead = LinearGaussianSSM(**parameters, num_steps=5).forecast(a[:5].expand(2, 5, 2), 25).mean[0]
    torch.testing.assert_close(found[5:], ahead, rtol=1e-8, atol=1e-8)
    expected = torch.tensor([0.375925, -0.074949], dtype=F64)  # as in the reference moments above
    torch.testing.assert_close(found[29], expected, rtol=0, atol=1e-6)
    seen[25:] = True
    mix, _ = cannonballs(observed=seen)
    expected = torch.tensor([0.058193, 0.182343], dtype=F64)
    torch.testing.assert_close(mix.impute(a, sure)[15], expected, rtol=0, atol=1e-6)
    torch.testing.assert_close(mix.impute(a)[15], expected, rtol=0, atol=1e-6)


def test_gaps_are_interpolated_better_than_continued():
    """On data of the cannonballs the error of a forecast is about 4.8 times that of an interpolation."""
    errors = []
    for kept in ((5, 0), (5, 5)):
        torch.manual_seed(0)
        seen = torch.zeros(30, dtype=torch.bool)
        seen[: kept[0]] = True
        seen[30 - kept[1] :] = True
        whole, _ = cannonballs()
        states, a = whole.components.rsample_joint((300,))
        mix, _ = cannonballs(observed=seen)
        found = mix.impute(a[:, 0], torch.tensor([1.0, 0.0], dtype=F64))
        errors.append((found - states[:, 0, :, :2])[:, 5:25].norm(dim=-1).mean())
    assert 4 < errors[0] / errors[1] < 6


def test_draws_of_the_posterior_have_the_moments_of_a_mixture():
    given = random_parameters(batch=(2,))
    seen = torch.tensor([1, 1, 0, 0, 1, 0, 0], dtype=torch.bool)
    mix = mixture(torch.zeros(2, dtype=F64), observed=seen, **given)
    a = torch.where(seen[:, None], mix.sample(), torch.nan)
    chosen, states, values = mix.sample_posterior(a.expand(20_000, TIME, OBS))
    assert chosen.shape == (20_000,)
    assert states.shape == (20_000, TIME, STATE)
    assert torch.equal(values[:, seen], a[seen].expand(20_000, 4 - 1, OBS))
    path = mix.smooth(a)
    assert_mean_within(states.flatten(1), path.mean.reshape(-1))
    assert_mean_within(chosen.double(), mix.component_posterior(a).probs[1])
    assert_mean_within(values[:, ~seen], mix.impute(a)[~seen])
    noise = values - mix.components.emit(states.unsqueeze(-3)).gather(
        -3, chosen[:, None, None, None].expand(-1, 1, TIME, OBS)
    ).squeeze(-3)
    spread = given["emission_covariance"][:, 0].diagonal(dim1=-2, dim2=-1)
    expected = (mix.component_posterior(a).probs[:, None] * spread).sum(0)
    assert_mean_within(noise[:, 2].square(), expected)
