"""What training differentiates of iterative refinement: every mode against finite differences, with frozen noise.

These tests pin: second order is the gradient of the whole unrolled loss, first order that with frozen slopes, truncated
that with frozen inputs, implicit that of the last step; without inner steps they coincide, and values always do.
"""

import copy
from functools import partial

import pyro
import pytest
import torch
from pyro import poutine
from pyro.infer import Trace_ELBO
from torch import nn

from guides import GlimpseAttentionGuide, IterativeRefinementGuide, RecurrentGuide
from guides.gradient_modes import GRADIENT_MODES
from guides.iterative_refinement import LearnedUpdate, walk
from tests.contracts.registry import MODELS, make_video, unsettle
from tests.oracles.directional_derivatives import gradient_along, random_directions, slope_along

MODES = list(GRADIENT_MODES)


def deep_markov(gradients="first_order", steps=3, **options):
    pyro.set_rng_seed(0)
    model = MODELS["DeepMarkovModel"].build().double()
    base = RecurrentGuide(model, hidden_dim=11).double()
    guide = IterativeRefinementGuide(model, base, steps=steps, gradients=gradients, hidden_dim=5, **options).double()
    unsettle(guide), unsettle(model)  # a relu of zeros has no derivative
    return model, guide


def video():
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return tuple(None if one is None else one[:, :3] for one in make_video(0, torch.float64))


VIDEO = video()


def loss(model, guide):
    pyro.set_rng_seed(1)
    return Trace_ELBO().differentiable_loss(model, guide, *VIDEO)


GROUPS = {
    "updates": lambda model, guide: guide.updates,
    "base": lambda model, guide: guide.start,
    "model": lambda model, guide: model,
}


@pytest.mark.parametrize("inner_draws", [1, 2])
@pytest.mark.parametrize("group", GROUPS)
def test_second_order_is_the_gradient_of_the_whole_loss(group, inner_draws):
    model, guide = deep_markov("second_order", inner_draws=inner_draws)
    parameters = list(GROUPS[group](model, guide).parameters())
    directions = random_directions(parameters)
    found = gradient_along(parameters, directions, loss(model, guide))
    expected = slope_along(parameters, directions, lambda: loss(model, guide))
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("group", GROUPS)
def test_first_order_is_the_gradient_with_frozen_slopes(group, monkeypatch):
    model, guide = deep_markov("first_order")
    parameters = list(GROUPS[group](model, guide).parameters())
    directions = random_directions(parameters)
    real, record = walk.inner_gradients, []
    monkeypatch.setattr(walk, "inner_gradients", lambda *args, **how: record.append(real(*args, **how)) or record[-1])
    found = gradient_along(parameters, directions, loss(model, guide))
    whole = slope_along(parameters, directions, lambda: loss(model, guide))
    recorded = [tuple(one.detach() for one in slopes) for slopes in record[:3]]

    def frozen(function, *points, **how):
        function(*points)  # the inputs of the update are of the moment
        return next(slopes)

    def value():
        nonlocal slopes
        slopes = iter(recorded)
        return loss(model, guide)

    slopes = iter(())
    monkeypatch.setattr(walk, "inner_gradients", frozen)
    torch.testing.assert_close(found, slope_along(parameters, directions, value), rtol=1e-5, atol=1e-6)
    assert not torch.allclose(found, whole, rtol=1e-3)


@pytest.mark.parametrize("group", ["base", "model"])
def test_truncated_steps_are_constants_to_the_start_and_the_model(group):
    """Their gradient is that at parameters which are given."""
    model, guide = deep_markov("truncated")
    parameters = list(GROUPS[group](model, guide).parameters())
    directions = random_directions(parameters)
    found = gradient_along(parameters, directions, loss(model, guide))
    with torch.no_grad():
        pyro.set_rng_seed(1)
        shifts = guide.refine(*VIDEO)[-1].shifts
        state = torch.get_rng_state()

    def given():
        torch.set_rng_state(state)
        fixed = guide.refine(*VIDEO)[-1]._replace(shifts=shifts)
        torch.set_rng_state(state)
        return Trace_ELBO().differentiable_loss(model, partial(guide.draw, fixed), *VIDEO)

    torch.testing.assert_close(found, gradient_along(parameters, directions, given()))


def test_truncated_updates_learn_through_their_state():
    model, guide = deep_markov("truncated")
    reached = torch.autograd.grad(loss(model, guide), list(guide.updates.parameters()))
    assert all(one.any() for one in reached)
    _, first_order = deep_markov("first_order")
    other = torch.autograd.grad(loss(model, first_order), list(first_order.updates.parameters()))
    assert not any(torch.allclose(*pair, rtol=1e-3) for pair in zip(reached, other, strict=True))


class LiveLast(nn.Module):
    """Weights of its own at the last of three steps, a frozen copy of them before."""

    def __init__(self, live):
        super().__init__()
        self.live, self.early, self.calls = live, [copy.deepcopy(live).requires_grad_(False)], 0

    def forward(self, view, state):
        self.calls += 1
        return (self.early[0] if self.calls % 3 else self.live)(view, state)


def test_implicit_is_the_gradient_of_the_last_step():
    model, guide = deep_markov("implicit")
    found = torch.autograd.grad(loss(model, guide), list(guide.updates.parameters()))
    model, guide = deep_markov("first_order")
    guide.updates["z"] = LiveLast(guide.updates["z"])
    expected = torch.autograd.grad(loss(model, guide), list(guide.updates["z"].live.parameters()))
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("gradients", MODES)
def test_modes_have_one_value_and_coincide_without_steps(gradients):
    pairs = [deep_markov(mode, steps) for steps in (0, 3) for mode in ("first_order", gradients)]
    losses = [loss(*pair) for pair in pairs]
    assert torch.equal(losses[0], losses[1])
    assert torch.equal(losses[2], losses[3])
    assert not torch.equal(losses[0], losses[2])
    gradients_of = [
        torch.autograd.grad(value, [*model.parameters(), *guide.start.parameters()])
        for value, (model, guide) in zip(losses, pairs[:2], strict=False)
    ]
    torch.testing.assert_close(*gradients_of, rtol=0, atol=0)


@pytest.mark.parametrize("gradients", MODES)
def test_one_step_is_the_last_one(gradients):
    """The slopes and inputs of a first step hold no parameter of updates, so that no mode leaves anything out."""
    model, guide = deep_markov(gradients, steps=1)
    found = torch.autograd.grad(loss(model, guide), list(guide.updates.parameters()))
    model, guide = deep_markov("first_order", steps=1)
    expected = torch.autograd.grad(loss(model, guide), list(guide.updates.parameters()))
    torch.testing.assert_close(found, expected)


def test_discrete_sites_of_a_base_are_held_while_gaussians_are_refined():
    """Second order against finite differences of log p - log q, presence included: its draws do not change here."""
    pyro.set_rng_seed(0)
    model = MODELS["AttendInferRepeat"].build().double()
    base = GlimpseAttentionGuide(model, hidden_dim=11).double()
    guide = IterativeRefinementGuide(model, base, steps=2, gradients="second_order", hidden_dim=5).double()
    unsettle(guide)
    parameters = list(guide.updates.parameters())
    directions = random_directions(parameters)

    def value():
        pyro.set_rng_seed(1)
        trace = poutine.trace(guide).get_trace(*VIDEO)
        scored = poutine.trace(poutine.replay(model, trace=trace)).get_trace(*VIDEO)
        return scored.log_prob_sum() - trace.log_prob_sum()

    found = gradient_along(parameters, directions, value())
    torch.testing.assert_close(found, slope_along(parameters, directions, value), rtol=1e-4, atol=1e-5)


def test_an_untrained_update_changes_nothing_and_can_learn():
    update = LearnedUpdate(3, hidden_dim=4)
    assert not update.change.weight.any()
    assert not update.change.bias.any()
    model, guide = deep_markov()
    for one in guide.updates["z"].change.parameters():
        nn.init.zeros_(one)
    reached = torch.autograd.grad(loss(model, guide), list(guide.updates["z"].change.parameters()))
    assert all(one.any() for one in reached)
