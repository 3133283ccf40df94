"""`expand` of every distribution of state-space models follows the rules of `torch.Tensor.expand`.

These tests pin: for a grid of batch shapes, that exactly what torch expands is expanded, to the same shape, also twice;
that densities and draws of an expanded distribution are those of the original; that a refusal names both shapes.
"""

import itertools

import pytest
import torch

from tests.oracles.random_state_space import random_parameters

F64 = torch.float64
TIME, STATE, OBS = 3, 4, 2
BATCHES = [(), (1,), (2,), (2, 1), (1, 3)]
TARGETS = [(), (0,), (1,), (2,), (3,), (-1,), (-2,), (2, 2), (2, 3), (-1, 3), (3, -1), (1, 1), (4, 2, 3), (-1, 2, 3)]


def ssm(batch):
    from pyro_models.distributions import LinearGaussianSSM

    return LinearGaussianSSM(**random_parameters(batch=batch, time=TIME, state=STATE, obs=OBS), num_steps=TIME)


def mixture(batch):
    from pyro_models.distributions import MixtureLinearGaussianSSM

    return MixtureLinearGaussianSSM(torch.randn(*batch, 2, dtype=F64), ssm((*batch, 2)))


def mixture_of_weights(batch):
    """The batch is that of the weights alone."""
    from pyro_models.distributions import MixtureLinearGaussianSSM

    return MixtureLinearGaussianSSM(torch.randn(*batch, 2, dtype=F64), ssm((2,)))


def path_posterior(batch):
    """The batch is that of the observations alone."""
    return ssm(()).posterior(torch.randn(*batch, TIME, OBS, dtype=F64))


def given_readings(batch):
    from pyro_models.distributions import ObservationsGivenReadings

    readings = torch.randn(*batch, TIME, OBS, dtype=F64)
    return ObservationsGivenReadings(ssm(()), readings, torch.ones_like(readings))


def codes(batch):
    from pyro_models.kalman_vae.mixed_linear_dynamics import MixedLinearDynamics
    from pyro_models.kalman_vae.model import CodePrior

    return CodePrior(MixedLinearDynamics(OBS, STATE, 2, mixture="mlp").double(), batch, TIME)


BUILDERS = [ssm, mixture, mixture_of_weights, path_posterior, given_readings, codes]


def torchs_expansion(batch, target):
    """The shape by torch itself, None if it refuses."""
    try:
        return torch.empty(batch).expand(target).shape
    except RuntimeError:
        return None


@pytest.mark.parametrize("build", BUILDERS)
def test_what_torch_expands_is_expanded(build):
    outcomes = set()
    for batch, target in itertools.product(BATCHES, TARGETS):
        expected, law = torchs_expansion(batch, target), build(batch)
        outcomes.add(expected is None)
        if expected is None:
            with pytest.raises(ValueError, match="batch_shape: expected one that") as caught:
                law.expand(target)
            assert str(batch) in str(caught.value), (batch, target)
            assert str(target) in str(caught.value), (batch, target)
            continue
        wide = law.expand(target)
        assert wide.batch_shape == expected, (batch, target)
        assert wide.event_shape == law.event_shape
        if expected.numel():
            value = wide.sample(torch.Size([5]))
            assert value.shape == (5, *expected, *law.event_shape), (batch, target)
            assert wide.log_prob(value).shape == (5, *expected), (batch, target)
            torch.testing.assert_close(wide.log_prob(value), law.log_prob(value).expand(5, *expected))
            one = value[(0,) * (value.dim() - 2)]
            assert wide.log_prob(one).shape == expected
    assert outcomes == {True, False}


@pytest.mark.parametrize("build", BUILDERS)
def test_an_expanded_distribution_expands_no_further_than_torch(build):
    """A chain that fits step by step only if the first step is forgotten."""
    wide = build(()).expand((2,))
    with pytest.raises(ValueError, match=r"batch_shape: expected one that \(2,\) expands to, got \(3,\)"):
        wide.expand((3,))
    with pytest.raises(ValueError, match=r"batch_shape: expected one that \(2,\) expands to, got \(\)"):
        wide.expand(())
    assert wide.expand((3, -1)).batch_shape == (3, 2)
    assert build((1,)).expand((2,)).expand((3, 2)).batch_shape == (3, 2)


@pytest.mark.parametrize("build", [mixture, mixture_of_weights])
def test_everything_that_an_expanded_mixture_says_has_its_batch(build):
    wide = build(()).expand((3,))
    a = torch.randn(TIME, OBS, dtype=F64)
    for path in (wide.filter(a), wide.smooth(a)):
        assert path.mean.shape == (3, TIME, STATE)
        assert path.covariance.shape == (3, TIME, STATE, STATE)
        torch.testing.assert_close(path.mean[1], path.mean[0])
    torch.testing.assert_close(wide.smooth(a).mean[0], build_alone(wide).smooth(a).mean)
    assert wide.impute(a).shape == (3, TIME, OBS)
    chosen, states, values = wide.sample_posterior(a)
    assert (chosen.shape, states.shape, values.shape) == ((3,), (3, TIME, STATE), (3, TIME, OBS))
    assert not torch.equal(states[0], states[1])
    assert wide.expected_log_prob(a, torch.ones_like(a)).shape == (3,)


def build_alone(wide):
    """The same mixture without the expansion."""
    from pyro_models.distributions import LinearGaussianSSM, MixtureLinearGaussianSSM

    model = wide.components._model
    return MixtureLinearGaussianSSM(wide.log_weights, LinearGaussianSSM(*model.tensors, num_steps=TIME))


def test_a_mixture_whose_weights_have_the_batch_can_be_asked_everything():
    """Components without a batch of their own: today's smoother and filter of these are computed once."""
    weights = torch.tensor([[0.0, -torch.inf], [-torch.inf, 0.0], [0.0, 0.0]], dtype=F64)
    from pyro_models.distributions import MixtureLinearGaussianSSM

    components = ssm((2,))
    mix, a = MixtureLinearGaussianSSM(weights, components), torch.randn(TIME, OBS, dtype=F64)
    assert mix.batch_shape == (3,)
    smoothed, filtered = components.smooth(a), components.filter(a)
    torch.testing.assert_close(mix.smooth(a).mean[:2], smoothed.mean)
    torch.testing.assert_close(mix.smooth(a).covariance[:2], smoothed.covariance)
    torch.testing.assert_close(mix.filter(a).mean[:2], filtered.mean)
    torch.testing.assert_close(mix.log_prob(a)[:2], components.log_prob(a))
    torch.testing.assert_close(mix.impute(a)[:2], components.emit(smoothed.mean))
    chosen, _, _ = mix.sample_posterior(a)
    assert chosen[:2].tolist() == [0, 1]
