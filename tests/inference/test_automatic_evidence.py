"""These tests pin: the automatic estimate is right on models of known evidence, and its verdict states its accuracy."""

import pyro
import pyro.distributions as dist
import pytest
import torch

from guides import NoLatentsGuide
from inference import Budget, Verdict, log_evidence
from inference.evidence.automatic import REPEATS
from pyro_models import EncoderDecoderLSTM
from tests.inference.estimators.test_fivo import A, Q, R, Walk, WalkGuide
from tests.oracles.closed_form_bounds import ToyGuide, ToyModel, ToyParameters, toy_data
from tests.oracles.closed_form_bounds import log_evidence as exact_log_evidence

X = toy_data(sequences=6, time=3)
P = ToyParameters.make()


def test_importance_sampling_that_settles_is_converged_and_right():
    result = log_evidence(ToyModel(P), ToyGuide(P), X, method="auto")
    assert result.log_weights.shape == (REPEATS, 6)
    assert result.verdict.kind == "converged"
    assert 0 < result.verdict.width <= 0.1
    assert "importance sampling, 8 repeats of up to 512 particles" in str(result.verdict)
    assert (result.log_evidence - exact_log_evidence(P, X)).mean().abs() < result.verdict.width
    assert (result.filtering, result.pilot) == (None, None)
    torch.testing.assert_close(result.reconstruction - result.divergence, result.elbo)  # of 256 draws, not of 8 repeats
    assert bool((result.elbo < result.log_weights.mean(0) - 0.05).all())


def test_a_guide_far_from_the_posterior_gets_a_lower_bound_in_words():
    guide = ToyGuide(ToyParameters.make(c=9.0, log_e=-3.0))
    result = log_evidence(ToyModel(P), guide, X, method=Budget(particles=256))
    assert result.verdict.kind == "lower bound"
    assert "may still rise" in str(result.verdict)
    assert bool((result.log_evidence < exact_log_evidence(P, X)).all())


def test_one_rung_says_that_it_is_one():
    result = log_evidence(ToyModel(P), ToyGuide(P), X, method=Budget(particles=64))
    assert result.verdict == Verdict("lower bound", result.verdict.words)
    assert "one rung only" in str(result.verdict)
    late = log_evidence(ToyModel(P), ToyGuide(P), X, method=Budget(seconds=1e-9))
    assert torch.equal(late.log_weights, result.log_weights)


def walk_evidence(x):
    """log p(x) of `Walk`, by the dense joint Gaussian."""
    time = x.shape[-1]
    scale = torch.eye(time, dtype=x.dtype)
    for later in range(1, time):
        scale[later] += A * scale[later - 1]
    noise = torch.tensor([1.0] + [Q] * (time - 1), dtype=x.dtype)
    covariance = scale @ torch.diag(noise) @ scale.mT + R * torch.eye(time, dtype=x.dtype)
    return torch.distributions.MultivariateNormal(torch.zeros(time, dtype=x.dtype), covariance).log_prob(x)


@pytest.mark.slow
@pytest.mark.ci
def test_filters_are_chosen_where_they_are_better_and_are_right():
    x = torch.randn(5, 30, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    for looking in (False, True):
        result = log_evidence(Walk(), WalkGuide(looking), x, method="auto")
        assert "particle filters" in str(result.verdict)
        assert "importance sampling with 32 lies" in str(result.verdict)
        assert result.filtering is not None
        assert result.pilot is not None
        assert (result.log_evidence - walk_evidence(x)).mean().abs() < 0.1
        assert result.verdict.kind == "converged"


def test_a_model_without_latents_is_exact():
    model = EncoderDecoderLSTM((1, 8, 8), state_dim=8, code_dim=5, hidden=(6,))
    frames = torch.rand(2, 12, 1, 8, 8).round()
    result = log_evidence(model, NoLatentsGuide(model), frames, method="auto")
    assert result.verdict == Verdict("exact", "nothing is latent", 0.0)


def test_draws_do_not_depend_on_the_callers_streams_and_seeds_differ():
    torch.manual_seed(1)
    first = log_evidence(ToyModel(P), ToyGuide(P), X, method="auto")
    torch.manual_seed(2)
    again = log_evidence(ToyModel(P), ToyGuide(P), X, method="auto")
    other = log_evidence(ToyModel(P), ToyGuide(P), X, method="auto", seed=1)
    assert torch.equal(first.log_weights, again.log_weights)
    assert not torch.equal(first.log_weights, other.log_weights)


def test_the_error_that_is_stated_covers_the_truth():
    """Over many seeds: the mean lies within the stated width in nearly all."""
    exact = exact_log_evidence(P, X)
    outside = 0
    for seed in range(40):
        result = log_evidence(ToyModel(P), ToyGuide(P), X, method="auto", seed=seed)
        outside += bool((result.log_evidence - exact).mean().abs() > result.verdict.width)
    assert outside <= 6  # widths are of about two standard errors: 5 %


def two_modes(x, observed=None, controls=None):
    with pyro.plate("sequences", x.shape[0], dim=-1):
        z = pyro.sample("z", dist.Normal(0.0, 3.0))
        pyro.sample("frames", dist.Normal(z.abs(), 0.2), obs=x)


def one_mode(x, observed=None, controls=None):
    with pyro.plate("sequences", x.shape[0], dim=-1):
        pyro.sample("z", dist.Normal(x, 0.2))


def test_what_no_rung_can_see_is_not_certified():
    """A guide that covers one of two modes settles log 2 below the truth: "converged" promises no more."""
    x = torch.full((3,), 4.0)
    result = log_evidence(two_modes, one_mode, x, method="auto")
    assert result.verdict.kind == "converged"
    both = torch.log(torch.tensor(2.0)) + dist.Normal(0.0, (9 + 0.04) ** 0.5).log_prob(x)
    torch.testing.assert_close(result.log_evidence, (both - torch.log(torch.tensor(2.0))).double(), rtol=0, atol=0.05)


@pytest.mark.parametrize("options", [{"seconds": 0.0}, {"particles": 10}, {"tolerance": -1.0}])
def test_budgets_of_nothing_are_refused(options):
    with pytest.raises(ValueError, match=f"{next(iter(options))}: expected"):
        Budget(**options)


def test_verdicts_are_of_four_kinds():
    with pytest.raises(ValueError, match="kind: expected one of 'exact', 'certified', 'converged', 'lower bound'"):
        Verdict("true", "because")


@pytest.mark.slow
@pytest.mark.ci
def test_populations_anneal_what_draws_have_not_settled():
    guide = ToyGuide(ToyParameters.make(c=4.0, log_e=-1.0))
    exact = exact_log_evidence(P, X)
    without = log_evidence(ToyModel(P), guide, X, method=Budget(particles=128))
    result = log_evidence(ToyModel(P), guide, X, method=Budget(particles=128, populations=True))
    assert (without.log_evidence - exact).mean().abs() > 0.5
    assert (result.log_evidence - exact).mean().abs() < 0.2
    assert "of the other 6 by populations of 64 annealed chains" in str(result.verdict)


def test_latents_that_cannot_be_annealed_are_named():
    def model(x, observed=None, controls=None):
        with pyro.plate("sequences", x.shape[0], dim=-1):
            k = pyro.sample("k", dist.Categorical(torch.ones(300)))
            pyro.sample("frames", dist.Normal(k.double(), 0.1), obs=x)

    def guide(x, observed=None, controls=None):
        with pyro.plate("sequences", x.shape[0], dim=-1):
            pyro.sample("k", dist.Categorical(torch.ones(300)))

    budget = Budget(particles=32, populations=True)
    result = log_evidence(model, guide, torch.full((2,), 7.0).double(), method=budget)
    assert "no annealing, since" in str(result.verdict)
    assert "'k'" in str(result.verdict)
