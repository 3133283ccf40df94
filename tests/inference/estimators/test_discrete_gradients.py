"""Gradients of estimators at discrete sites, against sums over all configurations of all particles.

Each mean is over independent draws, each in a batch of copies of the data; its tolerance in standard errors
keeps the rate of false alarms of a whole comparison below 1e-6 (Bonferroni, tests/oracles/monte_carlo.py).
"""

import itertools
import math

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import RenyiELBO, TraceEnum_ELBO, TraceGraph_ELBO

from inference import VIMCO, WakeSleep
from inference.estimators import OwnWeightVIMCO
from inference.estimators.multi_sample import MultiSampleELBO, log_mean_exp
from inference.estimators.vimco import leave_one_out_bounds
from tests.oracles.enumerable_presence import (
    DATA,
    ORDERS,
    VALUES,
    PresenceGuide,
    PresenceModel,
    expectation,
    gradients,
    importance_weighted_bound,
    log_evidence,
    parameters,
)
from tests.oracles.monte_carlo import assert_mean_within

COPIES = 50


class ScoreFunction(MultiSampleELBO):
    """The importance-weighted bound with plain score-function gradients: unbiased, no baseline."""

    def objective(self, traces, model, guide, args, kwargs):
        bound = log_mean_exp(traces.log_weights())
        return bound + bound.detach() * traces.log_scores().sum(0)


def draws(estimator, order, number, plated=True):
    """(number, parameters): gradients of the negative loss, each the mean over `COPIES` copies of the data."""
    rows = []
    model, guide = PresenceModel(plated), PresenceGuide(order, plated)
    wide = DATA.repeat(COPIES)
    for _ in range(number):
        pyro.clear_param_store()
        model.zero_grad(), guide.zero_grad()
        estimator.loss_and_grads(model, guide, wide)
        named = dict([*model.named_parameters(), *guide.named_parameters()])
        found = [torch.zeros_like(p) if p.grad is None else p.grad for p in (named[name] for name in VALUES)]
        rows.append(-torch.cat([gradient.flatten() for gradient in found]) / COPIES)
    return torch.stack(rows)


def flat(found):
    return torch.cat([gradient.flatten() for gradient in found.values()])


def exact(num_particles, order, value=importance_weighted_bound):
    p = parameters()
    return flat(gradients(expectation(p, num_particles, order, value), p))


def test_the_oracle_agrees_with_itself():
    """More nodes change nothing, bounds grow to the evidence, gradients are finite differences."""
    p = parameters()
    for order in ORDERS:
        bounds = [expectation(p, k, order, importance_weighted_bound).item() for k in (1, 2, 3)]
        finer = expectation(p, 2, order, importance_weighted_bound, nodes=20).item()
        assert bounds[1] == pytest.approx(finer, abs=1e-4)
        assert bounds[0] < bounds[1] < bounds[2] < log_evidence(p).item()
        gradient = gradients(expectation(p, 2, order, importance_weighted_bound), p)["t"]
        values = []
        for step in (1e-5, -1e-5):
            moved = {**p, "t": p["t"] + step}
            values.append(expectation(moved, 2, order, importance_weighted_bound).item())
        assert gradient.item() == pytest.approx((values[0] - values[1]) / 2e-5, rel=1e-6)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(
    ("estimator", "num_particles"), [(VIMCO, 2), (VIMCO, 3), (ScoreFunction, 1), (ScoreFunction, 2)]
)
def test_gradients_of_the_bound_are_unbiased(estimator, num_particles, order):
    assert_mean_within(draws(estimator(num_particles), order, 300), exact(num_particles, order))


@pytest.mark.slow
@pytest.mark.ci
@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("num_particles", [2, 3])
def test_wake_sleep_follows_its_own_objective(num_particles, order):
    def objective(log_joint, log_guide):
        shares = (log_joint - log_guide).detach().softmax(0)
        return (shares * (log_joint + log_guide)).sum(0)

    # Draws and their probabilities are constants: only the distributions are differentiated.
    p, fixed = parameters(), {name: value.detach() for name, value in parameters().items()}
    expected = flat(gradients(expectation(p, num_particles, order, objective, drawn_from=fixed), p))
    assert_mean_within(draws(WakeSleep(num_particles), order, 300), expected)


@pytest.mark.slow
@pytest.mark.ci
@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("estimator", [TraceGraph_ELBO, TraceEnum_ELBO])
def test_pyros_estimators_of_the_elbo_serve_our_models(estimator, order):
    """Score functions along the graph, and presence summed out, both of one particle."""
    plated = estimator is TraceGraph_ELBO
    assert_mean_within(draws(estimator(max_plate_nesting=2), order, 300, plated), exact(1, order))


@pytest.mark.parametrize("order", ORDERS)
def test_pyros_renyi_bound_gives_presence_no_gradient(order):
    """Pyro issue 3289: what VIMCO is for."""
    estimator = RenyiELBO(alpha=0, num_particles=3, vectorize_particles=True, max_plate_nesting=2)
    found, expected = draws(estimator, order, 300), exact(3, order)
    place = 10  # where l begins, see VALUES
    assert list(VALUES)[6] == "l"
    assert (expected[place : place + 3].abs() > 1e-3).all()
    with pytest.raises(AssertionError, match="standard errors"):
        assert_mean_within(found[:, place : place + 3], expected[place : place + 3])


def test_variance_falls_with_what_is_known():
    """The gradient in the presence logits, per copy of the data, in order of knowledge."""
    variance = {}
    for name, estimator, plated in (
        ("enumeration", TraceEnum_ELBO(max_plate_nesting=2), False),
        ("TraceGraph", TraceGraph_ELBO(max_plate_nesting=2), True),
        ("VIMCO, K = 3", VIMCO(3), True),
        ("score function, K = 3", ScoreFunction(3), True),
    ):
        variance[name] = COPIES * draws(estimator, "content first", 100, plated)[:, 10:13].var(0).sum().item()
    print(variance)
    assert variance["enumeration"] < 0.1 * variance["TraceGraph"]
    assert variance["VIMCO, K = 3"] < 0.5 * variance["score function, K = 3"]


def test_baselines_leave_their_own_particle_out():
    log_weights = torch.tensor([[1.0], [2.0], [4.0]], dtype=torch.float64)
    expected = torch.log(torch.tensor([[3, 2, 4], [1, 2.5, 4], [1, 2, 1.5]], dtype=torch.float64).exp().mean(1))
    torch.testing.assert_close(leave_one_out_bounds(log_weights)[:, 0], expected)
    moved = leave_one_out_bounds(log_weights + torch.tensor([[0.0], [9.0], [0.0]], dtype=torch.float64))
    torch.testing.assert_close(moved[1, 0], expected[1])


@pytest.mark.parametrize("estimator", [VIMCO, WakeSleep])
def test_one_particle_is_refused_where_it_learns_nothing(estimator):
    with pytest.raises(ValueError, match="num_particles: expected at least 2"):
        estimator(1).loss_and_grads(PresenceModel(), PresenceGuide("content first"), DATA)
    assert isinstance(estimator(1).loss(PresenceModel(), PresenceGuide("content first"), DATA), float)


def test_one_choice_by_hand():
    """q = .3, log p(x, 0) = -1, log p(x, 1) = -.2: gradients in the logit of q, summed over all choices."""
    theta = torch.tensor(0.3, dtype=torch.float64).logit()

    def model(x):
        with pyro.plate("sequences", len(x), dim=-1):
            bit = pyro.sample("bit", dist.Bernoulli(torch.full((len(x),), 0.5, dtype=torch.float64)))
            pyro.factor("x", torch.where(bit > 0, -0.2, -1.0) + math.log(2))

    for estimator, expected in (
        (VIMCO, {2: 0.2552627, 3: 0.1914752, 5: 0.1204315}),
        (OwnWeightVIMCO, {2: 0.2037518, 3: 0.1281525, 5: 0.0562493}),
    ):
        for num_particles, gradient in expected.items():
            total = 0.0
            for bits in itertools.product([0.0, 1.0], repeat=num_particles):
                logit = theta.clone().requires_grad_()
                drawn = torch.tensor(bits, dtype=torch.float64)[:, None]

                def guide(x, logit=logit, drawn=drawn):
                    with pyro.plate("sequences", len(x), dim=-1):
                        pyro.sample("bit", Given(logit.expand(len(x)), drawn))

                loss = estimator(num_particles).differentiable_loss(model, guide, torch.zeros(1))
                (found,) = torch.autograd.grad(-loss, logit)
                total += found * dist.Bernoulli(logits=theta).log_prob(drawn).sum().exp()
            assert total.item() == pytest.approx(gradient, abs=1e-6)


class Given(dist.Bernoulli):
    """A Bernoulli distribution with given draws."""

    def __init__(self, logits, drawn):
        super().__init__(logits=logits)
        self.drawn = drawn

    def expand(self, batch_shape, _instance=None):
        return Given(self.logits.expand(batch_shape), self.drawn)

    def sample(self, sample_shape=()):
        return self.drawn if self.batch_shape == self.drawn.shape else self.drawn[0].expand(self.batch_shape)


def test_an_unknown_credit():
    with pytest.raises(ValueError, match="credit: expected one of sequence, steps, got 'frames'"):
        VIMCO(2, credit="frames")
