"""These tests pin: the loss of a guide's refinements, against bounds on paper, and what it refuses."""

import jaxtyping
import pytest
import torch
from pyro import poutine
from pyro.infer import RenyiELBO, Trace_ELBO

from inference import IntermediateBounds
from tests.contracts import refining_toy as toy
from tests.contracts.test_differentiating_guides import FRAMES, OBSERVED, pair, svi_of, walk


def test_intermediate_bounds_weigh_each_refinement():
    model, guide = pair()

    class Exact:
        """The bound on paper of a guide whose draws are Gaussian."""

        def differentiable_loss(self, model, guide, *args):
            law = poutine.trace(guide).get_trace(*args).nodes["z"]["fn"].base_dist
            return -toy.elbo(model, law.loc, law.scale.log(), *args).sum()

    steps = toy.refinements(model, guide, FRAMES, OBSERVED)
    bounds = [toy.elbo(model, *step, FRAMES, OBSERVED).sum() for step in steps]
    found = IntermediateBounds(Exact()).differentiable_loss(model, guide, FRAMES, OBSERVED)
    torch.testing.assert_close(found, -(bounds[0] / 3 + 2 * bounds[1] / 3 + bounds[2]))
    last = IntermediateBounds(Exact(), lambda number, count: float(number == count))
    torch.testing.assert_close(last.differentiable_loss(model, guide, FRAMES, OBSERVED), -bounds[2])


def test_intermediate_bounds_take_site_weights():
    (weighted,), _ = walk(IntermediateBounds(Trace_ELBO()), 1, site_weights={"frames": 0.5})
    (plain,), _ = walk(IntermediateBounds(Trace_ELBO()), 1)
    assert weighted != pytest.approx(plain, rel=1e-3)
    with pytest.raises(
        ValueError, match="site_weights: no site is called 'pixels'; model and guide have 'z', 'frames'"
    ):
        walk(IntermediateBounds(Trace_ELBO()), 1, site_weights={"pixels": 0.5})


def test_a_guide_without_refinements_is_refused():
    model, guide = pair(num_refinements=0)
    with pytest.raises(ValueError, match="guide: expected at least one refinement, its refine returned none"):
        svi_of(model, guide, IntermediateBounds(Trace_ELBO())).step(FRAMES, OBSERVED)
    with pytest.raises(TypeError, match="guide: expected one with methods refine and draw, .* got LinearVideo"):
        IntermediateBounds(Trace_ELBO()).differentiable_loss(model, model, FRAMES, OBSERVED)


def test_intermediate_bounds_refuse_weights_and_estimators_that_cannot_be_added(monkeypatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # annotations are checked in the tests alone
    model, guide = pair()
    loss = IntermediateBounds(Trace_ELBO(), lambda number, count: 1.5 - number)
    with pytest.raises(ValueError, match="weight: expected a finite number >= 0 for refinement 2 of 3, got -0.5"):
        svi_of(model, guide, loss).step(FRAMES, OBSERVED)
    with pytest.raises(TypeError, match="estimator: expected one with differentiable_loss, RenyiELBO has none"):
        IntermediateBounds(RenyiELBO(num_particles=2))
