"""These tests pin: which losses and weights of losses a step refuses, and in what words."""

import jaxtyping
import pytest
import torch
from pyro.infer import RenyiELBO, Trace_ELBO
from torch import nn

from inference import IWAE, SVI, Term, WeightedSum
from tests.inference.test_objectives import RAMP, P, X, svi_of, toys, walk
from tests.oracles.closed_form_bounds import ToyGuide


class Returning:
    def __init__(self, make):
        self.make = make

    def differentiable_loss(self, model, guide, x):
        return self.make(model, guide, x)


@pytest.fixture
def unchecked(monkeypatch):
    """Without the checks of annotations, which only the tests have."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)


def test_what_is_no_loss_is_refused(unchecked):
    expected = r"loss: expected a pyro.infer.ELBO or an object with differentiable_loss\(model, guide, \*args\), got "
    with pytest.raises(TypeError, match=expected + "function; give it that method, which returns the loss summed"):
        svi_of(*toys(), lambda model, guide, x: x.sum())
    with pytest.raises(TypeError, match=expected + r"the class IWAE; call it: IWAE\(...\)"):
        svi_of(*toys(), IWAE)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (
            lambda model, guide, x: model.m * x.sum(-1),
            ValueError,
            r"loss: expected Returning.differentiable_loss to return a scalar tensor, in nats, got shape \(5,\); sum "
            r"over sequences: .sum\(\)",
        ),
        (lambda model, guide, x: (model.m * x.sum()).item(), TypeError, "got float; compute with tensors throughout"),
        (
            lambda model, guide, x: x.sum(),
            ValueError,
            "optimizer: expected parameters that reach the loss, none of model and guide does",
        ),
        (
            lambda model, guide, x: x.clone().requires_grad_().sum(),
            ValueError,
            r"optimizer: expected parameters that reach the loss, none of its parameters does; .* look for .detach\(\)",
        ),
        (
            lambda model, guide, x: model.m * STRAY.sum(),
            ValueError,
            r"loss: expected its learnable parameters among those of model and guide, got 'a parameter of shape \(3,\)'"
            r", which no optimizer trains; make it part of model or guide .*, or freeze it by requires_grad_\(False\)",
        ),
    ],
)
@pytest.mark.parametrize("compile", ["off", "trace"])
def test_what_is_no_loss_of_these_parameters_is_refused(make, error, message, compile):
    with pytest.raises(error, match=message):
        svi_of(*toys(), Returning(make), compile=compile).step(X)
    with pytest.raises(error, match=message):
        svi_of(*toys(), WeightedSum({"only": Term(Returning(make), 2.0)}), compile=compile).step(X)


STRAY = nn.Parameter(torch.ones(3, dtype=torch.float64))


def test_a_guide_that_nobody_trains_is_refused_by_the_name_of_its_parameters():
    model, guide = toys()
    loss = WeightedSum({"pair": Term(Trace_ELBO()), "other": Term(Trace_ELBO(), guide=ToyGuide(P))})
    message = (
        r"loss: expected its learnable parameters among those of model and guide, got \"terms\['other'\].guide.a\", "
        r"\"terms\['other'\].guide.c\", \"terms\['other'\].guide.log_e\", which no optimizer trains"
    )
    with pytest.raises(ValueError, match=message):
        svi_of(model, guide, loss)
    own = ToyGuide(P)
    loss = WeightedSum({"pair": Term(Trace_ELBO()), "other": Term(Trace_ELBO(), guide=own)})
    parameters = [*model.parameters(), *guide.parameters(), *own.parameters()]
    SVI(model, guide, torch.optim.SGD(parameters, 0.1), loss).step(X)  # somebody trains it
    for one in own.parameters():
        one.requires_grad_(False)
    svi_of(model, guide, loss).step(X)  # it is meant to stay as it is


def test_a_module_as_loss_is_told_that_nobody_trains_it():
    class Critic(nn.Linear):
        def differentiable_loss(self, model, guide, x):
            return (self(x) * model.m).sum()

    with pytest.raises(ValueError, match="got 'loss.weight', 'loss.bias', which no optimizer trains"):
        svi_of(*toys(), Critic(3, 1, dtype=torch.float64))


@pytest.mark.parametrize("weight", [-0.1, float("nan"), float("inf")])
def test_weights_are_finite_and_not_negative(weight):
    with pytest.raises(ValueError, match=f"weight: expected a finite number >= 0, got {weight}; to leave"):
        Term(IWAE(2), weight)
    loss = WeightedSum({"bound": Term(IWAE(2), lambda step: 1.0 if step < 2 else weight)})
    message = rf"terms\['bound'\]: expected a finite weight >= 0 at step 2, got {weight}; to leave an objective out"
    with pytest.raises(ValueError, match=message):
        walk(loss)


def test_sums_that_make_no_sense_are_refused(unchecked):
    with pytest.raises(ValueError, match="terms: expected one with a positive weight, got no term; give a weight > 0"):
        WeightedSum({})
    with pytest.raises(ValueError, match="terms: expected one with a positive weight, got 'a'"):
        WeightedSum({"a": Term(IWAE(2), 0)})
    with pytest.raises(TypeError, match=r"terms\['a'\]: expected a Term, got IWAE; write Term\(objective, weight\)"):
        WeightedSum({"a": IWAE(2)})
    with pytest.raises(TypeError, match="objective: expected one with differentiable_loss, RenyiELBO has none"):
        Term(RenyiELBO(num_particles=2))
    with pytest.raises(ValueError, match=r"terms\['a'\]: expected to know the step .* call begin_step"):
        WeightedSum({"a": Term(IWAE(2), RAMP)}).differentiable_loss(*toys(), X)
