"""These tests pin: what a step minimises that is no single ELBO."""

import copy

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import RenyiELBO, Trace_ELBO
from pyro.nn import PyroModule
from torch import nn

from inference import IWAE, SVI, Objective, Term, WeightedSum
from inference.estimators.objective import FollowsSteps, HasPrograms
from inference.svi.captured import CapturedStep
from inference.svi.compiled import CompileWarning
from inference.svi.graph import trace_step
from inference.svi.schedules import LinearRamp
from tests.inference.test_captured_step import record
from tests.oracles.closed_form_bounds import ToyGuide, ToyModel, ToyParameters, toy_data

X = toy_data(sequences=5, time=3)
P = ToyParameters.make()


def toys():
    return ToyModel(P), ToyGuide(P)


def svi_of(model, guide, loss, learning_rate=0.01, **options):
    parameters = [*model.parameters(), *guide.parameters()]
    return SVI(model, guide, torch.optim.SGD(parameters, lr=learning_rate), loss, **options)


def gradients_of(*modules):
    return {name: one.grad.clone() for module in modules for name, one in module.named_parameters()}


def walk(loss, steps=4, **options):
    """Losses of some steps and the parameters after them."""
    model, guide = toys()
    svi = svi_of(model, guide, loss, **options)
    pyro.set_rng_seed(1)
    losses = [svi.step(X).item() for _ in range(steps)]
    return losses, {name: one.detach() for module in (model, guide) for name, one in module.named_parameters()}


class Seeded:
    """An estimator that draws the same numbers whenever it is called."""

    def __init__(self, objective):
        self.objective = objective

    def differentiable_loss(self, model, guide, *args, **kwargs):
        torch.manual_seed(3)
        return self.objective.differentiable_loss(model, guide, *args, **kwargs)


class Reconstruction:
    """No bound: how far the mean of the model is from the data, plus a penalty; without any site."""

    def __init__(self, penalty=0.1):
        self.penalty = penalty

    def differentiable_loss(self, model, guide, x):
        code = guide.a * x.mean(-1, keepdim=True) + guide.c
        return (x - model.w * code - model.b).square().sum() + self.penalty * code.square().sum()


def test_the_contract_is_one_method():
    assert isinstance(Reconstruction(), Objective)
    assert isinstance(IWAE(2), Objective)
    assert isinstance(Trace_ELBO(), Objective)
    assert isinstance(WeightedSum({"a": Term(IWAE(2))}), Objective)
    assert isinstance(WeightedSum({"a": Term(IWAE(2))}), FollowsSteps)
    assert not isinstance(IWAE(2), FollowsSteps)
    assert not isinstance(RenyiELBO(num_particles=2), Objective)


@pytest.mark.parametrize("compile", ["off", "trace"])
def test_a_loss_that_is_no_bound_is_followed_per_sequence(compile, recwarn):
    model, guide = toys()
    loss = Reconstruction().differentiable_loss(model, guide, X) / 5
    loss.backward()
    expected = {
        name: one.detach() - 0.01 * (0 if one.grad is None else one.grad)
        for module in (model, guide)
        for name, one in module.named_parameters()
    }
    losses, parameters = walk(Reconstruction(), 1, compile=compile)
    assert losses == [pytest.approx(loss.item(), rel=1e-12)]
    torch.testing.assert_close(parameters, expected)
    svi = svi_of(*toys(), Reconstruction())
    assert svi.evaluate_loss(X) == pytest.approx(loss.item(), rel=1e-12)
    assert not [warning for warning in recwarn if warning.category is CompileWarning]


# weighted sums


@pytest.mark.parametrize("compile", ["off", "trace"])
def test_a_term_of_weight_zero_leaves_no_trace(compile):
    both = WeightedSum({"one": Term(IWAE(3)), "none": Term(Trace_ELBO(), 0.0)})
    assert walk(both, compile=compile) == walk(IWAE(3), compile=compile)


def test_halves_of_one_objective_are_that_objective():
    half = Term(Seeded(IWAE(3)), 0.5)
    losses, parameters = walk(WeightedSum({"a": half, "b": half}))
    expected, wanted = walk(Seeded(IWAE(3)))
    assert losses == pytest.approx(expected, rel=1e-12)
    torch.testing.assert_close(parameters, wanted, rtol=1e-12, atol=1e-12)


def test_a_sum_has_the_gradient_of_its_terms():
    model, guide = toys()
    terms = {"bound": (Seeded(IWAE(3)), 0.7), "fit": (Reconstruction(), 2.5)}
    expected = {}
    for objective, weight in terms.values():
        svi_of(model, guide, objective, 0.0).step(X)
        for name, one in [*model.named_parameters(), *guide.named_parameters()]:
            if one.grad is not None:
                expected[name] = expected.get(name, 0) + weight * one.grad
    loss = WeightedSum({name: Term(objective, weight) for name, (objective, weight) in terms.items()})
    svi_of(model, guide, loss, 0.0).step(X)
    torch.testing.assert_close(gradients_of(model, guide), expected, rtol=1e-12, atol=1e-12)


RAMP = LinearRamp(1.0, 0.0, 4)


def ramped():
    """One sum inside another, each with a schedule."""
    inner = WeightedSum({"fit": Term(Reconstruction(), LinearRamp(0.3, 0.1, 4))})
    return WeightedSum({"bound": Term(IWAE(2)), "more": Term(inner, RAMP)})


def test_a_scheduled_weight_is_asked_about_the_step():
    losses, _ = walk(ramped(), 5, learning_rate=0.0)
    plain, _ = walk(IWAE(2), 5, learning_rate=0.0)
    (fit,), _ = walk(Reconstruction(), 1, learning_rate=0.0)
    weights = [RAMP(step) * (0.3 - 0.05 * step) for step in range(5)]
    assert weights[4] == 0 < weights[3]
    assert losses == pytest.approx([one + weight * fit for one, weight in zip(plain, weights, strict=True)], rel=1e-12)


@pytest.mark.parametrize("compile", ["trace", pytest.param("inductor", marks=pytest.mark.slow)])
def test_a_scheduled_weight_needs_no_second_trace(compile, recwarn):
    runs = []

    class Counted(Reconstruction):
        def differentiable_loss(self, model, guide, x):
            runs.append(1)
            return super().differentiable_loss(model, guide, x)

    def loss():
        return WeightedSum({"bound": Term(IWAE(2)), "fit": Term(Counted(), RAMP)})

    (losses, parameters), count = walk(loss(), 6, compile=compile), len(runs)
    assert count == 2  # a rehearsal and the trace
    expected, wanted = walk(loss(), 6)
    assert losses == pytest.approx(expected, rel=1e-12)
    torch.testing.assert_close(parameters, wanted, rtol=1e-12, atol=1e-12)
    assert not [warning for warning in recwarn if warning.category is CompileWarning]


def test_a_recorded_step_reads_scheduled_weights():
    """The recorder is a stand-in, so that this runs without a GPU: the same operations at the same addresses."""
    model, guide = toys()
    loss = WeightedSum({"bound": Term(Trace_ELBO()), "fit": Term(Reconstruction(), RAMP)})
    parameters = [*model.parameters(), *guide.parameters()]

    def step(x):
        value = loss.differentiable_loss(model, guide, x)
        value.backward()
        return value.detach()

    loss.begin_step(0, X.device)
    graph = trace_step(step, parameters, [X])
    recorded = CapturedStep(lambda *inputs: graph.module(*graph.captured, *inputs), [X], record)
    for number in range(5):
        loss.begin_step(number, X.device)
        pyro.set_rng_seed(number)
        value, *found = recorded(X)
        pyro.set_rng_seed(number)
        for one in parameters:
            one.grad = None
        torch.testing.assert_close(value, step(X), rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(found, [one.grad for one in parameters], rtol=1e-12, atol=1e-12)


class WiderGuide(PyroModule):
    """The pair's guide in another arrangement: the same parameters, twice the scale."""

    def __init__(self, guide):
        super().__init__()
        self.guide = guide

    def forward(self, x, observed=None, controls=None):
        with pyro.plate("sequences", x.shape[0], dim=-1):
            guide = self.guide
            pyro.sample("z", dist.Normal(guide.a * x.mean(-1) + guide.c, 2 * torch.exp(guide.log_e)))


def own_programs(model, guide):
    """A tempered model and a wider guide, of the same parameters."""
    tempered = ToyModel(P, scale=0.3)
    for name, one in model.named_parameters():
        setattr(tempered, name, one)
    return tempered, WiderGuide(guide)


def test_a_term_may_have_its_own_model_and_guide():
    model, guide = toys()
    own = own_programs(model, guide)
    expected = {}
    for weight, programs in ((0.5, (model, guide)), (2.0, own)):
        model.zero_grad(), guide.zero_grad()
        (Seeded(Trace_ELBO()).differentiable_loss(*programs, X) / 5 * weight).backward()
        for name, one in gradients_of(model, guide).items():
            expected[name] = expected.get(name, 0) + one
    loss = WeightedSum({"pair": Term(Seeded(Trace_ELBO()), 0.5), "other": Term(Seeded(Trace_ELBO()), 2.0, *own)})
    assert list(loss.programs) == ["terms['other'].model", "terms['other'].guide"]
    svi_of(model, guide, loss, 0.0).step(X)
    torch.testing.assert_close(gradients_of(model, guide), expected, rtol=1e-10, atol=1e-12)


def test_a_traced_step_calls_them_as_well():
    gradients = []
    for compile in ("off", "trace"):
        model, guide = toys()
        loss = WeightedSum({"pair": Term(IWAE(2), 0.5), "other": Term(IWAE(3), RAMP, *own_programs(model, guide))})
        svi = svi_of(model, guide, loss, compile=compile)
        pyro.set_rng_seed(2)
        for _ in range(3):
            svi.step(X)
        gradients.append(gradients_of(model, guide))
    torch.testing.assert_close(*gradients, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("compile", ["off", "trace"])
def test_buffers_of_a_term_change_once_a_step(compile):
    class Counted(WiderGuide):
        def __init__(self, guide):
            super().__init__(guide)
            self.norm = nn.BatchNorm1d(3, affine=False, dtype=torch.float64)

        def forward(self, x, observed=None, controls=None):
            super().forward(self.norm(x), observed, controls)

    model, guide = toys()
    own = Counted(guide)
    svi = svi_of(model, guide, WeightedSum({"own": Term(Trace_ELBO(), guide=own)}), compile=compile)
    for _ in range(3):
        svi.step(X)
    assert own.norm.num_batches_tracked == 3


class Annealed(nn.Module):
    """A loss of one's own with a number that follows the step, and a network that is meant to stay as it is."""

    def __init__(self):
        super().__init__()
        self.critic = nn.Linear(3, 1, dtype=torch.float64).requires_grad_(False)
        self.programs = {"critic": self.critic}
        self.register_buffer("penalty", torch.zeros((), dtype=torch.float64), persistent=False)

    def begin_step(self, step, device):
        self.penalty.fill_(0.5**step)

    def differentiable_loss(self, model, guide, x):
        return (model.w * x - model.b + self.critic(x)).square().sum() + self.penalty * guide.a.square()


def test_a_loss_of_ones_own_may_follow_steps_and_own_a_network(recwarn):
    torch.manual_seed(0)
    loss = Annealed()
    assert isinstance(loss, FollowsSteps)
    assert isinstance(loss, HasPrograms)
    for compile in ("off", "trace"):
        model, guide = toys()
        svi = svi_of(model, guide, loss, 0.0, compile=compile)
        penalties = []
        for _ in range(3):
            svi.step(X)
            penalties.append(guide.a.grad.item() * 5 / (2 * guide.a.item()))
        assert penalties == pytest.approx([1.0, 0.5, 0.25])
        assert loss.critic.weight.grad is None
    assert not [warning for warning in recwarn if warning.category is CompileWarning]


def test_modules_of_a_term_are_in_evaluation_mode_when_the_loss_is_evaluated():
    modes = []

    class Watched(WiderGuide):
        def forward(self, x, observed=None, controls=None):
            modes.append(self.training)
            super().forward(x, observed, controls)

    model, guide = toys()
    svi = svi_of(model, guide, WeightedSum({"only": Term(Trace_ELBO(), guide=Watched(guide))}))
    svi.evaluate_loss(X)
    svi.step(X)
    assert modes == [False, True]


def test_terms_keep_what_they_find_out_about_a_model_to_themselves():
    """Pyro's vectorised losses remember how deep the plates of a model are."""
    model, guide = toys()

    class Flat(PyroModule):
        def forward(self, x, observed=None, controls=None):
            with pyro.plate("sequences", len(x), dim=-1):
                z = pyro.sample("z", dist.Normal(model.m, 1.0))
                pyro.sample("frames", dist.Normal(z[..., None] + torch.zeros(3), 1.0).to_event(1), obs=x)

    given = Trace_ELBO(num_particles=2, vectorize_particles=True)
    loss = WeightedSum({"deep": Term(given), "flat": Term(given, model=Flat())})
    first = svi_of(model, guide, loss)
    first.step(X)
    nestings = [term.objective.max_plate_nesting for term in first.loss.terms.values()]
    assert nestings == [3, 2]  # the plate of particles is counted
    assert given.max_plate_nesting == float("inf")
    assert {term.objective.max_plate_nesting for term in loss.terms.values()} == {float("inf")}
    assert copy.copy(first.loss).terms["deep"].objective is not first.loss.terms["deep"].objective


def test_site_weights_reach_every_term_and_names_are_checked():
    loss = WeightedSum({"a": Term(Seeded(Trace_ELBO())), "b": Term(Seeded(Trace_ELBO()), 2.0)})
    (both,), _ = walk(loss, 1, site_weights={"frames": 0.3})
    (one,), _ = walk(Seeded(Trace_ELBO()), 1, site_weights={"frames": 0.3})
    assert both == pytest.approx(3 * one, rel=1e-12)
    with pytest.raises(
        ValueError, match="site_weights: no site is called 'pixels'; model and guide have 'z', 'frames'"
    ):
        walk(loss, 1, site_weights={"pixels": 0.3})
