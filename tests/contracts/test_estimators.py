"""What every estimator of the registry promises.

These tests pin: the three losses agree; one particle is the ELBO; the bound and its gradient are those on paper; the
exact posterior gives the evidence without variance; both SVIs take it; parameters stay in modules; one estimator on two
models gives the numbers of two; masked values are never read; a site outside `sequences` is refused by name.
"""

import copy

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import Trace_ELBO

from inference import SVI
from inference.programs.traces import local_parameters
from tests.contracts.registry import ESTIMATORS
from tests.oracles.closed_form_bounds import (
    ToyGuide,
    ToyModel,
    ToyParameters,
    elbo,
    gradients,
    importance_weighted_bound,
    log_evidence,
    toy_data,
)
from tests.oracles.monte_carlo import assert_mean_within

X = toy_data(sequences=5, time=3)
P = ToyParameters.make()

pytestmark = pytest.mark.parametrize("build", ESTIMATORS.values(), ids=ESTIMATORS.keys())

PATHWISE = ("iwae", "vimco", "vimco-own-weight")  # differentiate the loss itself, where the guide is reparameterised
UNBIASED = {
    "iwae": (1, 2, 3),
    "iwae-stl": (1,),
    "iwae-dreg": (1, 2, 3),
    "vimco": (1, 2, 3),
    "vimco-own-weight": (1, 2, 3),
    "wake-sleep": (),
}
SMALLEST = {"wake-sleep": 2}  # number of particles that a gradient needs


def toys(p=P):
    return ToyModel(p), ToyGuide(p)


def grads(*modules):
    return {
        name: parameter.grad.clone() for module in modules for name, parameter in module.named_parameters(recurse=True)
    }


def name_of(build):
    return next(name for name, one in ESTIMATORS.items() if one is build)


@pytest.mark.parametrize("num_particles", [1, 4])
def test_the_three_losses_agree(build, num_particles):
    num_particles = max(num_particles, SMALLEST.get(name_of(build), 1))
    model, guide = toys()
    estimator = build(num_particles=num_particles)
    pyro.set_rng_seed(1)
    loss = estimator.loss(model, guide, X)
    pyro.set_rng_seed(1)
    differentiable = estimator.differentiable_loss(model, guide, X)
    differentiable.backward()
    first = grads(model, guide)
    model.zero_grad(), guide.zero_grad()
    pyro.set_rng_seed(1)
    value = estimator.loss_and_grads(model, guide, X)
    assert isinstance(loss, float)
    assert loss == value == differentiable.item()
    torch.testing.assert_close(grads(model, guide), first, rtol=0, atol=0)
    assert all(bool(gradient != 0) for gradient in first.values())


def test_one_particle_is_the_elbo(build):
    results = []
    for estimator in (build(num_particles=1), Trace_ELBO()):
        model, guide = toys()
        pyro.set_rng_seed(2)
        if name_of(build) in PATHWISE:
            results.append((estimator.loss_and_grads(model, guide, X), grads(model, guide)))
        else:
            results.append((estimator.loss(model, guide, X), {}))
    (ours, our_grads), (theirs, their_grads) = results
    assert ours == pytest.approx(theirs, rel=1e-12)
    torch.testing.assert_close(our_grads, their_grads)


@pytest.mark.parametrize("num_particles", [1, 2, 3])
def test_mean_loss_and_gradient_are_those_on_paper(build, num_particles):
    """300 losses on 5 sequences, each in a batch of 40 copies: 12,000 draws of each bound."""
    copies, unbiased = 40, num_particles in UNBIASED[name_of(build)]
    wide = X.repeat(copies, 1)
    model, guide = toys()
    estimator = build(num_particles=num_particles)
    losses, draws = [], []
    for _ in range(300):
        model.zero_grad(), guide.zero_grad()
        if unbiased:
            losses.append(estimator.loss_and_grads(model, guide, wide) / copies)
            draws.append(torch.stack(list(grads(model, guide).values())) / copies)
        else:
            losses.append(estimator.loss(model, guide, wide) / copies)

    def bound(p):
        return elbo(p, X) if num_particles == 1 else importance_weighted_bound(p, X, num_particles)

    assert_mean_within(torch.tensor(losses, dtype=torch.float64), -bound(P).sum())
    if unbiased:
        exact = gradients(P, bound)
        names = [name for module in (model, guide) for name, _ in module.named_parameters()]
        assert_mean_within(torch.stack(draws), -torch.stack([exact[name] for name in names]))


@pytest.mark.parametrize("num_particles", [1, 4])
def test_the_exact_posterior_gives_the_evidence(build, num_particles):
    p = ToyParameters.make(exact_for=3)
    loss = build(num_particles=num_particles).loss(*toys(p), X)
    assert loss == pytest.approx(-log_evidence(p, X).sum().item(), rel=1e-12)


def test_bounds_grow_with_particles(build):
    bounds = []
    for num_particles in (1, 8, 64):
        pyro.set_rng_seed(3)
        bounds.append(-build(num_particles=num_particles).loss(*toys(), X.repeat(400, 1)) / 400)
    evidence = log_evidence(P, X).sum().item()
    assert bounds[0] < bounds[1] < bounds[2] < evidence + 0.05


def test_pyros_own_svi_takes_it(build):
    model, guide = toys()
    before = copy.deepcopy(guide.state_dict())
    svi = pyro.infer.SVI(model, guide, pyro.optim.Adam({"lr": 0.01}), build(num_particles=4))
    losses = [svi.step(X) for _ in range(3)]
    assert all(isinstance(loss, float) for loss in losses)
    assert all(bool(before[name] != value) for name, value in guide.state_dict().items())


def test_our_svi_takes_it(build):
    model, guide = toys()
    optimizer = torch.optim.Adam([*model.parameters(), *guide.parameters()], lr=0.01)
    svi = SVI(model, guide, optimizer, build(num_particles=4))
    pyro.set_rng_seed(4)
    with local_parameters(model, guide):
        expected = build(num_particles=4).loss(model, guide, X) / 5
    pyro.set_rng_seed(4)
    loss = svi.step(X)
    assert loss.item() == pytest.approx(expected)
    assert not loss.requires_grad
    assert dict(pyro.get_param_store().items()) == {}


def test_one_estimator_on_two_models_gives_the_numbers_of_two(build):
    def flat_model(x):
        with pyro.plate("sequences", x.shape[0], dim=-1):
            z = pyro.sample("z", dist.Normal(torch.zeros((), dtype=x.dtype), 1.0))
            pyro.sample("frames", dist.Normal(z[..., None], 1.0).expand([*z.shape, 3]).to_event(1), obs=x)

    shared = build(num_particles=4)
    guide = ToyGuide(P)
    values = []
    for estimators in ((shared, shared), (build(num_particles=4), build(num_particles=4))):
        pyro.set_rng_seed(5)
        values.append((estimators[0].loss(ToyModel(P), guide, X), estimators[1].loss(flat_model, guide, X)))
    assert values[0] == values[1]


@pytest.mark.filterwarnings("ignore:Found plate statements in guide but not model")
def test_one_estimator_takes_two_guides_of_one_model(build):
    """The second guide has one more plate, where the particles of the first one were."""

    def deeper(x):
        with pyro.plate("sequences", x.shape[0], dim=-1):
            pyro.sample("z", dist.Normal(x.mean(-1), 1.0))
            with pyro.plate("objects", 2, dim=-3):
                pyro.factor("nothing", torch.zeros(2, 1, 1, dtype=x.dtype), has_rsample=True)

    model, guide = toys()
    shared = build(num_particles=4)
    shared.loss(model, guide, X)
    pyro.set_rng_seed(5)
    value = shared.loss(model, deeper, X)
    pyro.set_rng_seed(5)
    assert value == build(num_particles=4).loss(model, deeper, X)


def test_masked_values_are_never_read(build):
    observed = torch.rand(5, 3, generator=torch.Generator().manual_seed(1)) < 0.6
    results = []
    for missing in (0.0, float("nan")):
        model, guide = toys()
        pyro.set_rng_seed(6)
        loss = build(num_particles=4).loss_and_grads(model, guide, torch.where(observed, X, missing), observed)
        results.append((loss, grads(model, guide)))
    assert results[0][0] == results[1][0]
    torch.testing.assert_close(results[0][1], results[1][1], rtol=0, atol=0)


@pytest.mark.parametrize("num_particles", [1, 4])
def test_a_site_outside_sequences_is_refused_by_name(build, num_particles):
    def model(x):
        mean = pyro.sample("shared_mean", dist.Normal(torch.zeros((), dtype=x.dtype), 1.0))
        with pyro.plate("sequences", x.shape[0], dim=-1):
            pyro.sample("frames", dist.Normal(mean[..., None].expand([*mean.shape, 3]), 1.0).to_event(1), obs=x)

    def guide(x):
        pyro.sample("shared_mean", dist.Normal(torch.zeros((), dtype=x.dtype), 1.0))

    with pytest.raises(ValueError, match="site 'shared_mean': expected inside a vectorised plate called 'sequences'"):
        build(num_particles=num_particles).loss(model, guide, X)


def test_random_streams_are_used_by_the_draws_alone(build):
    """The first loss looks for a dim for the particles, which must not advance the random streams."""
    estimator = build(num_particles=4)
    model, guide = toys()
    pyro.set_rng_seed(8)
    first = estimator.loss(model, guide, X)
    pyro.set_rng_seed(8)
    assert estimator.loss(model, guide, X) == first
