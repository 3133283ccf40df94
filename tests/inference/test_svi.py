"""These tests pin: one step's loss, gradient and update against paper and against Pyro, and what a step refuses."""

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import (
    ELBO,
    RenyiELBO,
    ReweightedWakeSleep,
    Trace_ELBO,
    TraceEnum_ELBO,
    TraceGraph_ELBO,
    TraceMeanField_ELBO,
    config_enumerate,
)
from pyro.nn import PyroModule, PyroParam
from torch import nn

from inference import IWAE, SVI, NonFiniteError
from inference.svi.schedules import LinearRamp
from tests.oracles.closed_form_bounds import ToyGuide, ToyModel, ToyParameters, elbo, gradients, log_evidence, toy_data
from tests.oracles.monte_carlo import assert_mean_within

X = toy_data(sequences=5, time=3)
P = ToyParameters.make()
EXACT = ToyParameters.make(exact_for=3)


def toys(p=P):
    return ToyModel(p), ToyGuide(p)


def svi_of(model, guide, loss, learning_rate=0.01, **options):
    parameters = [*model.parameters(), *guide.parameters()]
    return SVI(model, guide, torch.optim.SGD(parameters, lr=learning_rate), loss, **options)


PYRO_LOSSES = {
    "Trace_ELBO": Trace_ELBO,
    "Trace_ELBO vectorised": lambda: Trace_ELBO(num_particles=4, vectorize_particles=True),
    "TraceMeanField_ELBO": TraceMeanField_ELBO,
    "TraceGraph_ELBO": TraceGraph_ELBO,
    "TraceEnum_ELBO": lambda: TraceEnum_ELBO(max_plate_nesting=2, strict_enumeration_warning=False),
    "TraceEnum_ELBO guessing": lambda: TraceEnum_ELBO(strict_enumeration_warning=False),
    "RenyiELBO": lambda: RenyiELBO(num_particles=4, vectorize_particles=True),
    "ReweightedWakeSleep": lambda: ReweightedWakeSleep(num_particles=4, insomnia=1.0),
    "IWAE": lambda: IWAE(4),
}


@pytest.mark.parametrize("build", PYRO_LOSSES.values(), ids=PYRO_LOSSES.keys())
def test_a_step_follows_the_gradient_of_any_loss(build):
    """Value and update are those of the loss itself, per sequence; the parameter store stays empty."""
    model, guide = toys()
    loss = build()
    for module in (model, guide):
        module.zero_grad()
    loss.loss(model, guide, X)  # lets a guessing loss guess
    pyro.set_rng_seed(1)
    expected = loss.loss_and_grads(model, guide, X)
    expected = (expected[0] if isinstance(expected, tuple) else expected) / 5
    wanted = {name: p.detach() - 0.01 * p.grad / 5 for m in (model, guide) for name, p in m.named_parameters()}
    pyro.clear_param_store()

    model, guide = toys()
    svi = svi_of(model, guide, build())
    pyro.set_rng_seed(1)
    value = svi.step(X)
    assert value.shape == ()
    assert not value.requires_grad
    assert value.item() == pytest.approx(float(expected), rel=1e-6)  # losses that return a float lose digits
    got = {name: p.detach() for m in (model, guide) for name, p in m.named_parameters()}
    torch.testing.assert_close(got, wanted)
    assert list(pyro.get_param_store()) == []
    assert svi.num_steps == 1


def test_the_gradient_is_that_of_the_evidence_for_an_exact_guide():
    """With the exact posterior the ELBO is the evidence, and so is its gradient for the model's parameters."""
    model, guide = toys(EXACT)
    svi = svi_of(model, guide, TraceMeanField_ELBO(), learning_rate=0.0)
    draws = []
    for _ in range(400):
        svi.step(X)
        draws.append(torch.stack([-5 * parameter.grad for parameter in model.parameters()]))
    exact = gradients(EXACT, lambda p: elbo(p, X))
    expected = torch.stack([exact[name] for name, _ in model.named_parameters()])
    assert_mean_within(torch.stack(draws), expected)
    evidence = log_evidence(EXACT, X).sum().item()
    assert elbo(EXACT, X).sum().item() == pytest.approx(evidence, rel=1e-12)


def test_sites_are_weighted_in_steps_and_never_in_evaluation():
    model, guide = toys()
    svi = svi_of(model, guide, Trace_ELBO(), 0.0, site_weights={"frames": LinearRamp(0.0, 1.0, steps=2), "z": 0.5})
    plain = svi_of(model, guide, Trace_ELBO(), 0.0)

    def at_seed(call):
        pyro.set_rng_seed(2)
        return float(call(X))

    halves = [at_seed(svi.step) for _ in range(3)]  # frames' weight is 0, 1/2, 1
    assert halves[1] - halves[0] == pytest.approx(halves[2] - halves[1])
    full = at_seed(plain.step)
    assert full - halves[2] == pytest.approx(halves[0])  # the other half of z
    assert at_seed(svi.evaluate_loss) == pytest.approx(full)


def test_unknown_sites_are_refused_before_anything_moves():
    model, guide = toys()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(
        ValueError, match="site_weights: no site is called 'pixels'; model and guide have 'z', 'frames'"
    ):
        svi_of(model, guide, Trace_ELBO(), site_weights={"pixels": 0.3}).step(X)
    torch.testing.assert_close(model.state_dict(), before)


def test_clipping_limits_the_norm_of_all_gradients_together():
    norms = []
    for clip_norm in (None, 0.25):
        model, guide = toys()
        before = torch.stack([p.detach().clone() for m in (model, guide) for p in m.parameters()])
        pyro.set_rng_seed(3)
        svi = svi_of(model, guide, IWAE(4), 1.0, clip_norm=clip_norm)
        svi.step(X)
        moved = torch.stack([p.detach() for m in (model, guide) for p in m.parameters()]) - before
        norms.append((moved.norm().item(), svi.gradient_norm.item()))
    assert norms[0][0] == pytest.approx(norms[0][1])
    assert norms[0][1] > 1
    assert norms[1] == (pytest.approx(0.25, rel=1e-5), pytest.approx(norms[0][1]))


def test_a_guide_may_hold_its_model_and_programs_may_be_functions():
    class Holding(PyroModule):
        def __init__(self, model):
            super().__init__()
            object.__setattr__(self, "model", model)
            self.gain = PyroParam(torch.ones((), dtype=torch.float64), constraint=dist.constraints.positive)

        def forward(self, x):
            with pyro.plate("sequences", x.shape[0]):
                pyro.sample("z", dist.Normal(self.gain * x.mean(-1) + self.model.m, self.model.log_s.exp()))

    model = ToyModel(P)
    guide = Holding(model)
    assert [name for name, _ in guide.named_parameters()] == ["gain_unconstrained"]
    for run in (model, lambda x: model(x)):
        svi = SVI(run, guide, torch.optim.Adam([*model.parameters(), *guide.parameters()], lr=0.01), IWAE(4))
        before = model.m.item(), guide.gain_unconstrained.item()
        svi.step(X)
        assert model.m.item() != before[0]
        assert guide.gain_unconstrained.item() != before[1]
    assert list(pyro.get_param_store()) == []


def test_functions_may_register_modules_but_not_make_parameters():
    network = nn.Linear(3, 1, dtype=torch.float64)

    def model(x):
        pyro.module("network", network)
        with pyro.plate("sequences", x.shape[0]):
            pyro.sample("frames", dist.Normal(network(x)[:, 0], 1.0), obs=x[:, 0])

    def stateful(x):
        with pyro.plate("sequences", x.shape[0]):
            scale = pyro.param("scale", torch.tensor(1.0, dtype=torch.float64))
            pyro.sample("frames", dist.Normal(network(x)[:, 0], scale), obs=x[:, 0])

    optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
    before = network.bias.item()
    svi = SVI(model, lambda x: None, optimizer, Trace_ELBO())
    svi.step(X), svi.step(X)
    assert network.bias.item() != before
    assert list(pyro.get_param_store()) == []
    with pytest.raises(
        ValueError, match="model, guide: expected parameters that live in modules, got pyro.param .* 'scale'"
    ):
        SVI(stateful, lambda x: None, optimizer, Trace_ELBO()).step(X)


def test_the_store_of_others_is_left_alone():
    pyro.param("theirs", torch.tensor(2.0))
    svi_of(*toys(), IWAE(4)).step(X)
    assert {name: value.item() for name, value in pyro.get_param_store().items()} == {"theirs": 2.0}


@pytest.mark.parametrize("build", [PYRO_LOSSES["Trace_ELBO vectorised"], PYRO_LOSSES["TraceEnum_ELBO guessing"]])
def test_a_first_step_draws_no_more_than_a_later_one(build):
    """A loss that looks for its plates first would make a resumed run differ from an uninterrupted one."""
    model, guide = toys()
    svi = svi_of(model, guide, build(), learning_rate=0.0)
    values = []
    for _ in range(2):
        pyro.set_rng_seed(4)
        values.append(svi.step(X).item())
    assert values[0] == values[1]


def test_the_loss_given_is_not_changed():
    loss = Trace_ELBO(num_particles=4, vectorize_particles=True)
    svi_of(*toys(), loss).step(X)
    assert loss.max_plate_nesting == float("inf")


def test_discrete_sites_learn_by_enumeration():
    class Discrete(PyroModule):
        def __init__(self):
            super().__init__()
            self.logits = nn.Parameter(torch.zeros((), dtype=torch.float64))

        @config_enumerate
        def forward(self, x):
            with pyro.plate("sequences", x.shape[0]):
                k = pyro.sample("k", dist.Bernoulli(logits=self.logits))
                pyro.sample("frames", dist.Normal(4 * k, 1.0), obs=x)

    model = Discrete()
    data = torch.tensor([0.0, 4.0, 4.0, 4.0], dtype=torch.float64)
    svi = SVI(model, lambda x: None, torch.optim.Adam(model.parameters(), lr=0.1), TraceEnum_ELBO(max_plate_nesting=1))
    for _ in range(200):
        svi.step(data)
    assert torch.sigmoid(model.logits).item() == pytest.approx(0.75, abs=0.01)


def test_non_finite_losses_are_noticed_when_asked():
    model, guide = toys()
    svi = svi_of(model, guide, IWAE(1))
    svi.check_finite()
    svi.step(X)
    svi.check_finite()
    with pyro.validation_enabled(False):
        svi.step(torch.full_like(X, torch.inf))
        svi.step(X)
    with pytest.raises(NonFiniteError, match="step 1: loss or gradient is not finite") as caught:
        svi.check_finite()
    assert caught.value.step == 1
    svi.forget_nonfinite()
    svi.check_finite()


@pytest.mark.parametrize(
    "loss",
    [IWAE(4), Trace_ELBO(), TraceGraph_ELBO(), TraceEnum_ELBO(), TraceMeanField_ELBO()],
    ids=lambda loss: type(loss).__name__,
)
def test_no_step_reads_from_the_device(loss):
    class Unreadable(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            assert function is not torch.ops.aten._local_scalar_dense.default, "a step read a number back"
            return function(*args, **(kwargs or {}))

    model, guide = toys()
    svi = svi_of(model, guide, loss, clip_norm=1.0)
    with pyro.validation_enabled(False):
        svi.step(X)
        with Unreadable():
            svi.step(X)


def test_refusals():
    model, guide = toys()
    for argument, got in (((), "no argument"), ((3,), "int"), ((torch.tensor(1.0),), "Tensor")):
        with pytest.raises(
            TypeError, match=rf"args: expected a tensor \(sequences, ...\) as first argument, got {got}"
        ):
            svi_of(model, guide, IWAE(1)).step(*argument)
    with pytest.raises(ValueError, match="clip_norm: expected a positive number, got 0"):
        svi_of(model, guide, IWAE(1), clip_norm=0)
    other = nn.Parameter(torch.zeros(()))
    for parameter in (*model.parameters(), *guide.parameters()):
        parameter.requires_grad_(False)
    with pytest.raises(
        ValueError, match="optimizer: expected parameters that reach the loss, none of model and guide does"
    ):
        SVI(model, guide, torch.optim.SGD([other], lr=0.1), IWAE(1)).step(X)
    assert issubclass(IWAE, ELBO)
