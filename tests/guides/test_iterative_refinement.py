"""Iterative refinement on a linear-Gaussian video, against closed forms.

These tests pin: a rule may be exchanged, and one natural-gradient step reaches the posterior; plain steps climb the
bound; an untrained guide is its start; the noise aside leaves bounds and weights valid, shared by particles or not;
losses of every step, compiled steps and evidence take it.
"""

import math

import pyro
import pytest
import torch
from pyro import poutine
from pyro.infer import Trace_ELBO

from guides import check_guide
from guides.aside import AsideNoise
from guides.program import sample_sites
from inference import IWAE, SVI, Annealing, IntermediateBounds, log_evidence, queries
from inference.programs.traces import importance_traces
from inference.svi.compiled import CompileWarning
from tests.contracts import refining_toy as toy
from tests.contracts.scores import draw, score
from tests.guides.refinement_toys import (
    ARGUMENTS,
    FRAMES,
    OBSERVED,
    Ascent,
    NaturalGradient,
    cubature,
    gaussian,
    pair,
    trained_pair,
)


def test_one_natural_gradient_step_reaches_the_posterior():
    model, guide = pair(update=NaturalGradient, steps=1, inner_draws=4)
    with AsideNoise(cubature(1)):
        (refined,) = guide.refine(*ARGUMENTS)
    mean, log_scale = gaussian(refined)
    precision, target = toy.posterior(model, *ARGUMENTS)
    torch.testing.assert_close(mean, torch.linalg.solve(precision, target[..., None])[..., 0])
    torch.testing.assert_close(torch.exp(-2 * log_scale), precision.diagonal(dim1=-2, dim2=-1))
    torch.testing.assert_close(toy.elbo(model, mean, log_scale, *ARGUMENTS), toy.log_evidence(model, *ARGUMENTS))


def test_the_exact_posterior_has_weights_without_variance():
    model, guide = pair(update=NaturalGradient, steps=1, inner_draws=4)
    with AsideNoise(cubature(1)):
        traces = importance_traces(model, guide, ARGUMENTS, 6)
    expected = toy.log_evidence(model, *ARGUMENTS).expand(6, -1)
    torch.testing.assert_close(traces.log_weights(), expected)


def test_small_steps_climb_the_bound():
    model, guide = pair(update=Ascent, steps=12, inner_draws=4)
    with AsideNoise(cubature(12)):
        steps = guide.refine(*ARGUMENTS)
    bounds = torch.stack([toy.elbo(model, *gaussian(one), *ARGUMENTS) for one in steps])
    start = toy.elbo(model, torch.zeros_like(bounds[0])[:, None].expand(-1, 2), bounds.new_zeros(5, 2), *ARGUMENTS)
    assert (torch.cat([start[None], bounds]).diff(dim=0) > 0).all()
    assert (bounds < toy.log_evidence(model, *ARGUMENTS)).all()


def test_slopes_are_those_on_paper():
    model, guide = pair(update=Ascent, steps=2, inner_draws=4)
    with AsideNoise(cubature(2)):
        steps = guide.refine(*ARGUMENTS)
    by_hand = toy.GradientGuide(model, num_refinements=2).double()
    with torch.no_grad():
        by_hand.start.zero_(), by_hand.log_scale.zero_()
        by_hand.step_size.copy_(guide.updates["z"].step_size)
    expected = toy.refinements(model, by_hand, *ARGUMENTS)
    torch.testing.assert_close([gaussian(one) for one in steps], expected)


# the start


@pytest.mark.parametrize("start", ["prior", "learned"])
def test_an_untrained_guide_is_its_start(start):
    model, guide = pair(start=start, steps=3)
    if start == "learned":
        with torch.no_grad():
            guide.start.loc["z"].fill_(0.3), guide.start.log_scale["z"].fill_(-0.4)
    law = torch.distributions.Normal(*((0.3, math.exp(-0.4)) if start == "learned" else (0.0, 1.0)))
    latents = draw(guide, (*ARGUMENTS, None))
    torch.testing.assert_close(score(guide, (*ARGUMENTS, None), latents), law.log_prob(latents["z"]).sum(-1))


def test_no_steps_leave_the_start_alone():
    model, guide = pair(steps=0)
    (refined,) = guide.refine(*ARGUMENTS)
    assert refined.shifts == {}
    latents = draw(guide, (*ARGUMENTS, None))
    expected = torch.distributions.Normal(0.0, 1.0).log_prob(latents["z"]).sum(-1)
    assert torch.equal(score(guide, (*ARGUMENTS, None), latents), expected)
    assert IntermediateBounds(Trace_ELBO()).differentiable_loss(model, guide, *ARGUMENTS).isfinite()


# validity of bounds with inner noise


COPIES = 40_000


def copies(count=COPIES):
    """One video many times: each copy has inner noise of its own."""
    return FRAMES[1:2].expand(count, *FRAMES.shape[1:]), OBSERVED[1:2].expand(count, -1)


def mean_and_error(values):
    return values.mean().item(), (values.std() / len(values) ** 0.5).item()


def test_weights_average_to_the_evidence():
    model, guide = trained_pair(steps=2)
    with torch.no_grad():
        weights = importance_traces(model, guide, copies(), 1).log_weights()[0]
    exact = toy.log_evidence(model, FRAMES[1:2], OBSERVED[1:2]).exp().item()
    mean, error = mean_and_error(weights.exp())
    assert error < 0.01 * exact
    assert mean == pytest.approx(exact, abs=4 * error)
    steps = guide.refine(*copies(8))
    assert steps[-1].shifts["z"].loc.std(0).min() > 0.005  # the noise matters


@pytest.mark.parametrize("shared", [True, False], ids=["one chain", "a chain each"])
def test_more_particles_tighten_a_bound_that_stays_below_the_evidence(shared):
    model, guide = trained_pair(steps=2)
    count, most = 5_000, 8
    with torch.no_grad():
        if shared:
            weights = importance_traces(model, guide, copies(count), most).log_weights()
        else:
            weights = importance_traces(model, guide, copies(count * most), 1).log_weights().reshape(most, count)
    exact = toy.log_evidence(model, FRAMES[1:2], OBSERVED[1:2]).item()
    previous, bounds = weights[0], []
    for particles in (2, 4, 8):
        bound = weights[:particles].logsumexp(0) - torch.tensor(float(particles)).log()
        gain, error = mean_and_error(bound - previous)
        assert gain > 4 * error  # the same draws: far more than chance
        previous = bound
        bounds.append(mean_and_error(bound))
    assert mean_and_error(weights[0])[0] < bounds[0][0]
    assert bounds[-1][0] < exact + 4 * bounds[-1][1]


def test_the_elbo_is_the_bound_of_one_particle():
    model, guide = trained_pair(steps=2)
    with torch.no_grad():
        arguments = copies()
        elbo = -Trace_ELBO().loss(model, guide, *arguments) / COPIES
        weights = importance_traces(model, guide, arguments, 1).log_weights()[0]
    mean, error = mean_and_error(weights)
    assert elbo == pytest.approx(mean, abs=6 * error)
    assert mean < toy.log_evidence(model, FRAMES[1:2], OBSERVED[1:2]).item() - 10 * error


def test_estimators_that_run_the_guide_again_repeat_its_noise():
    model, guide = trained_pair(steps=2)
    traces = importance_traces(model, guide, ARGUMENTS, 3)
    assert len(traces.aside) == 3  # a look and two steps
    with AsideNoise(traces.aside):
        again = importance_traces(model, guide, ARGUMENTS, 3)
    torch.testing.assert_close(again.guide.nodes["z"]["fn"].base_dist.loc, traces.guide.nodes["z"]["fn"].base_dist.loc)


@pytest.mark.slow
@pytest.mark.ci
def test_evidence_agrees_with_the_exact_one():
    model, guide = pair(update=Ascent, steps=4)
    exact = toy.log_evidence(model, *ARGUMENTS).detach()
    found = log_evidence(model, guide, *ARGUMENTS, num_particles=2000, particles_per_chunk=500, seed=1)
    assert ((found.log_evidence - exact).abs() < 5 / found.effective_sample_size.sqrt()).all()
    assert (found.effective_sample_size > 200).all()
    found = log_evidence(model, guide, *ARGUMENTS, method=Annealing(num_temperatures=10), num_particles=64, seed=1)
    torch.testing.assert_close(found.log_evidence, exact, rtol=0, atol=0.15)


# training


LOSSES = {
    "Trace_ELBO": Trace_ELBO,
    "dreg": lambda: IWAE(3, gradient="dreg"),
    "intermediate": lambda: IntermediateBounds(IWAE(3)),
}


def walk(loss, steps=2, **options):
    model, guide = trained_pair(steps=2, hidden_dim=5)
    svi = SVI(model, guide, torch.optim.Adam([*model.parameters(), *guide.parameters()], 1e-2), loss, **options)
    pyro.set_rng_seed(1)
    losses = [svi.step(*ARGUMENTS).item() for _ in range(steps)]
    return losses, [one.detach() for one in [*model.parameters(), *guide.parameters()]]


@pytest.mark.slow
@pytest.mark.ci
@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
def test_a_traced_step_is_the_eager_one(loss, recwarn):
    pyro.set_rng_seed(0)
    losses, parameters = walk(loss(), compile="trace")
    pyro.set_rng_seed(0)
    expected, wanted = walk(loss())
    assert losses == pytest.approx(expected, rel=1e-10)
    torch.testing.assert_close(parameters, wanted, rtol=1e-8, atol=1e-10)
    assert not [warning for warning in recwarn if warning.category is CompileWarning]


@pytest.mark.slow
def test_intermediate_bounds_train_every_step():
    pyro.set_rng_seed(2)
    model, guide = pair(start="learned", steps=3, hidden_dim=20, inner_draws=4)
    svi = SVI(model, guide, torch.optim.Adam(guide.parameters(), 0.01), IntermediateBounds(Trace_ELBO()))
    for _ in range(300):
        svi.step(*ARGUMENTS)
    guide.eval()
    with torch.no_grad():
        first = guide.start.loc["z"], guide.start.log_scale["z"].exp()
        bounds = []
        for refined in guide.refine(*ARGUMENTS):
            shift = refined.shifts["z"]
            mean, log_scale = first[0] + first[1] * shift.loc, first[1].log() + shift.log_scale
            bounds.append(toy.elbo(model, mean, log_scale, *ARGUMENTS))
        start = toy.elbo(model, *(one.expand(5, 2) for one in (first[0], first[1].log())), *ARGUMENTS)
        gaps = toy.log_evidence(model, *ARGUMENTS) - torch.stack([start, *bounds])
    assert (gaps.mean(1)[1:] < 0.5 * gaps.mean(1)[0]).all()
    assert gaps[-1].mean() < 0.25 * gaps[0].mean()


# hygiene


def test_the_trace_has_the_latent_sites_and_gradients_of_no_parameter():
    model, guide = trained_pair(steps=3)
    model.bias.grad = torch.ones_like(model.bias)
    trace = poutine.trace(guide).get_trace(*ARGUMENTS)
    assert list(sample_sites(trace)) == ["z"]
    others = [one for one in [*model.parameters(), *guide.parameters()] if one is not model.bias]
    assert all(one.grad is None for one in others)
    assert torch.equal(model.bias.grad, torch.ones_like(model.bias))


def test_handlers_around_it_do_not_change_the_refinement():
    _, guide = trained_pair(steps=2)
    with AsideNoise() as noise:
        expected = guide.refine(*ARGUMENTS)[-1]
    around = poutine.condition(data={"z": torch.zeros(5, 2).double()})
    with AsideNoise(noise.drawn), poutine.scale(scale=0.1), around, poutine.trace() as outer:
        with pyro.plate("_particles", 3, dim=-3):
            found = guide.refine(*ARGUMENTS)[-1]
    torch.testing.assert_close(gaussian(found), gaussian(expected), rtol=0, atol=0)
    assert not sample_sites(outer.trace)


@pytest.mark.parametrize("gradients", ["first_order", "second_order", "truncated", "implicit"])
def test_it_refines_without_gradients_to_the_same_values(gradients):
    _, guide = trained_pair(steps=3, gradients=gradients)
    refined = []
    for recording in (True, False):
        pyro.set_rng_seed(1)
        with torch.set_grad_enabled(recording):
            refined.append([gaussian(one) for one in guide.refine(*ARGUMENTS)])
    torch.testing.assert_close(*refined, rtol=0, atol=0)
    assert refined[0][-1][0].requires_grad
    assert not any(one.requires_grad for step in refined[1] for one in step)


def test_the_density_of_the_model_does_not_depend_on_the_steps():
    latents = {"z": torch.randn(5, 2).double()}
    found = []
    for steps in (0, 3):
        model, guide = trained_pair(steps=steps)
        guide(*ARGUMENTS)
        found.append(score(model, (*ARGUMENTS, None), latents))
    assert torch.equal(*found)


def test_in_evaluation_it_is_one_density():
    model, guide = trained_pair(steps=2)
    first, second = (guide.refine(*ARGUMENTS)[-1].shifts["z"].loc for _ in range(2))
    assert not torch.equal(first, second)
    guide.eval()
    first, second = (guide.refine(*ARGUMENTS)[-1].shifts["z"].loc for _ in range(2))
    assert torch.equal(first, second)
    check_guide(model, guide, *ARGUMENTS)


def test_queries_take_it():
    model, guide = trained_pair(steps=2)
    imputed = queries.impute(model, guide, *ARGUMENTS, num_samples=3)
    guide.eval()
    mean, _ = gaussian(guide.refine(*ARGUMENTS)[-1])
    torch.testing.assert_close(imputed.latents["z"], mean.detach())
    assert imputed.latent_samples["z"].shape == (3, 1, 5, 2)
