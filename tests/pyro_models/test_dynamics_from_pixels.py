"""Dynamics from pixels: the joint by hand, presence, the twin that draws states, bounds where the evidence is known."""

import math

import pyro
import pytest
import torch
from pyro import poutine
from pyro.infer import Trace_ELBO, TraceMeanField_ELBO
from torch.distributions import Bernoulli

from guides import ObjectFilterGuide, ObjectStatesGuide
from inference import log_evidence
from pyro_models import DynamicsFromPixels
from pyro_models.dynamics_from_pixels.ballistic_mixture import BallisticMixture, IndependentPositions
from pyro_models.dynamics_from_pixels.object_renderers import RecurrentRenderer
from tests.contracts.registry import unsettle

SHAPE, OBJECTS, SEQUENCES, TIME = (1, 6, 6), 3, 4, 5
PRESENCE = torch.tensor([[1, 1, 1], [1, 0, 0], [1, 1, 0], [0, 0, 0]], dtype=torch.bool)


def model_of(objects=OBJECTS, **options):
    options = {"renderer": RecurrentRenderer(SHAPE, 7)} | options
    model = DynamicsFromPixels(SHAPE, objects, **options)
    unsettle(model)
    return model


def videos(objects=OBJECTS, presence=PRESENCE):
    frames = (torch.rand(SEQUENCES, TIME, *SHAPE) > 0.5).float()
    return frames, None, presence[:, None, :objects].expand(SEQUENCES, TIME, objects).float()


def log_joint(model, arguments, positions):
    trace = poutine.trace(poutine.condition(model, {"a": positions})).get_trace(*arguments)
    trace.compute_log_prob()
    prior, likelihood = trace.nodes["a"]["log_prob"], trace.nodes["frames"]["log_prob"]
    return prior.sum(0) + likelihood.sum(0)


def test_the_joint_by_hand():
    model, arguments = model_of(), videos()
    positions = torch.randn(OBJECTS, SEQUENCES, TIME, 2)
    found = log_joint(model, arguments, positions)
    law = model.prior.law(TIME)
    for index in range(SEQUENCES):
        there = positions[PRESENCE[index], index]
        canvas = model.renderer.background.tanh().expand(TIME, -1)
        for place in there:
            gate = model.renderer.gate(place).sigmoid()
            canvas = (1 - gate) * canvas + gate * model.renderer.contribution(place).tanh()
        pixels = Bernoulli(logits=model.renderer.pixels(canvas)).log_prob(arguments[0][index].flatten(1))
        torch.testing.assert_close(found[index], law.log_prob(there).sum() + pixels.sum())


def test_a_mask_is_a_shorter_list_of_objects():
    """A model of three objects, one of them absent, equals a model of two."""
    model = model_of()
    small = DynamicsFromPixels(SHAPE, 2, renderer=model.renderer, prior=model.prior)
    presence = PRESENCE.clone()
    presence[:, 2] = False
    frames, _, controls = videos(presence=presence)
    positions = torch.randn(OBJECTS, SEQUENCES, TIME, 2)
    positions[2] = 100.0
    found = log_joint(model, (frames, None, controls), positions)
    torch.testing.assert_close(found, log_joint(small, (frames, None, controls[..., :2]), positions[:2]))


def test_without_controls_all_objects_are_there():
    model = model_of()
    frames, _, _ = videos()
    positions = torch.randn(OBJECTS, SEQUENCES, TIME, 2)
    controls = torch.ones(SEQUENCES, TIME, OBJECTS)
    expected = log_joint(model, (frames, None, controls), positions)
    torch.testing.assert_close(log_joint(model, (frames,), positions), expected)


def test_the_twin_has_the_same_bound_under_its_exact_posterior():
    """For every draw of positions, drawing components and noises from their posterior changes nothing."""
    model = model_of().double()
    twin = DynamicsFromPixels(SHAPE, OBJECTS, renderer=model.renderer, prior=model.prior, marginalize=False).double()
    guide = ObjectFilterGuide(model, state_dim=5).double()
    uncollapsed = ObjectStatesGuide(twin, state_dim=5).double()
    unsettle(guide)
    uncollapsed.load_state_dict(guide.state_dict())
    frames, _, controls = videos()
    observed = torch.rand(SEQUENCES, TIME) > 0.3
    for seen in (None, observed):
        arguments = (frames.double(), seen, controls.double())
        totals = []
        for program, other in ((model, guide), (twin, uncollapsed)):
            pyro.set_rng_seed(1)
            drawn = poutine.trace(other).get_trace(*arguments)
            scored = poutine.trace(poutine.replay(program, drawn)).get_trace(*arguments)
            totals.append(scored.log_prob_sum() - drawn.log_prob_sum())
        torch.testing.assert_close(totals[0], totals[1], rtol=1e-8, atol=1e-7)


def test_a_learned_posterior_of_states_is_a_looser_bound():
    model = model_of(2)
    twin = DynamicsFromPixels(SHAPE, 2, renderer=model.renderer, prior=model.prior, marginalize=False)
    guide, learned = ObjectFilterGuide(model, state_dim=5), ObjectStatesGuide(twin, "learned", state_dim=5)
    learned.load_state_dict(guide.state_dict(), strict=False)
    arguments = videos(2)
    bounds = [
        -Trace_ELBO(num_particles=200, vectorize_particles=True, max_plate_nesting=2).loss(*pair, *arguments)
        for pair in ((model, guide), (twin, learned))
    ]
    assert bounds[0] > bounds[1] + 10


def test_the_twin_needs_dynamics():
    model = model_of(prior=IndependentPositions(), marginalize=False)
    with pytest.raises(ValueError, match="prior: expected a BallisticMixture"):
        model(*videos())
    with pytest.raises(ValueError, match="model: expected one with a BallisticMixture"):
        ObjectStatesGuide(model_of())
    with pytest.raises(ValueError, match="posterior: expected one of exact, learned, got 'else'"):
        ObjectStatesGuide(model_of(marginalize=False), "else")


def test_bounds_lie_below_the_evidence_that_a_grid_gives():
    """One frame of 2 x 2, one object; the evidence by quadrature; the analytic divergence has the same mean."""
    prior = BallisticMixture(1)
    model = DynamicsFromPixels((1, 2, 2), 1, renderer=RecurrentRenderer((1, 2, 2), 6), prior=prior).double()
    unsettle(model)
    guide = ObjectFilterGuide(model, state_dim=4).double()
    frames = torch.tensor([[1.0, 0.0], [0.0, 0.0]], dtype=torch.float64).expand(1, 1, 1, 2, 2)
    line = torch.linspace(-12, 12, 801, dtype=torch.float64)
    grid = torch.stack(torch.meshgrid(line, line, indexing="ij"), -1).reshape(-1, 2)
    with torch.no_grad():
        pixels = Bernoulli(logits=model.renderer(grid[None], torch.ones(1, len(grid), dtype=torch.bool)))
        fit = pixels.log_prob(frames[0, 0]).sum((1, 2, 3))
        density = prior.law(1).log_prob(grid[:, None])
        exact = (fit + density).logsumexp(0) + 2 * math.log(24 / 800)
        few = log_evidence(model, guide, frames, num_particles=4000)
        torch.testing.assert_close(few.log_evidence[0], exact, rtol=0, atol=0.05)
        assert few.elbo[0] < exact
    options = {"num_particles": 4000, "vectorize_particles": True, "max_plate_nesting": 2}
    sampled, analytic = (-loss(**options).loss(model, guide, frames) for loss in (Trace_ELBO, TraceMeanField_ELBO))
    assert sampled == pytest.approx(analytic, abs=0.1)
    assert analytic < exact
