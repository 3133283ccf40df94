"""These tests pin what only IWAE promises; the rest is in tests/contracts/test_estimators.py."""

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import RenyiELBO, Trace_ELBO

from inference import IWAE
from tests.oracles.closed_form_bounds import ToyGuide, ToyModel, ToyParameters, toy_data

X = toy_data(sequences=5, time=3)
P = ToyParameters.make()


def bernoulli_model(x):
    with pyro.plate("sequences", x.shape[0]):
        k = pyro.sample("k", dist.Bernoulli(torch.tensor(0.3, dtype=x.dtype)))
        pyro.sample("frames", dist.Normal(k, 1.0), obs=x)


def bernoulli_guide(x):
    with pyro.plate("sequences", x.shape[0]):
        pyro.sample("k", dist.Bernoulli(torch.tensor(0.6, dtype=x.dtype)))


@pytest.mark.parametrize("num_particles", [1, 3])
def test_a_gradient_refuses_discrete_latents_by_name(num_particles):
    for method in ("differentiable_loss", "loss_and_grads"):
        with pytest.raises(
            ValueError, match="every latent site of the guide to be reparameterised, 'k' of the guide cannot"
        ):
            getattr(IWAE(num_particles), method)(bernoulli_model, bernoulli_guide, X[:, 0])


def test_the_bound_itself_takes_discrete_latents():
    """With many particles the bound of an enumerable model is its evidence."""
    x = X[:, 0]
    evidence = torch.logsumexp(
        torch.stack(
            [dist.Normal(k, 1.0).log_prob(x) + p for k, p in ((0.0, 0.7), (1.0, 0.3)) for p in [torch.tensor(p).log()]]
        ),
        0,
    ).sum()
    assert -IWAE(20_000).loss(bernoulli_model, bernoulli_guide, x) == pytest.approx(evidence.item(), abs=0.05)


def test_it_agrees_with_pyros_renyi_bound_at_order_zero():
    pyro.set_rng_seed(0)
    ours = IWAE(6).loss(ToyModel(P), ToyGuide(P), X)
    pyro.set_rng_seed(0)
    theirs = RenyiELBO(alpha=0, num_particles=6, vectorize_particles=True, max_plate_nesting=2)
    assert ours == pytest.approx(theirs.loss(ToyModel(P), ToyGuide(P), X), rel=1e-12)


@pytest.mark.parametrize("num_particles", [1, 4])
def test_subsampling_scales_the_loss(num_particles):
    """As Pyro's losses do: full size over batch size."""

    def subsampled(program):
        def run(x):
            with pyro.plate("sequences", 20, subsample=torch.arange(5)):
                program(x)

        return run

    def model(x):
        z = pyro.sample("z", dist.Normal(P.m, P.log_s.exp()))
        pyro.sample(
            "frames", dist.Normal((P.w * z + P.b)[..., None].expand(*z.shape, 3), P.log_r.exp()).to_event(1), obs=x
        )

    def guide(x):
        pyro.sample("z", dist.Normal(P.a * x.mean(-1) + P.c, P.log_e.exp()))

    def plain(program):
        def run(x):
            with pyro.plate("sequences", 5):
                program(x)

        return run

    losses = []
    for wrap, estimator in (
        (subsampled, IWAE(num_particles)),
        (plain, IWAE(num_particles)),
        (subsampled, Trace_ELBO()),
    ):
        pyro.set_rng_seed(0)
        losses.append(estimator.loss(wrap(model), wrap(guide), X))
    assert losses[0] == pytest.approx(4 * losses[1], rel=1e-12)
    if num_particles == 1:
        assert losses[0] == pytest.approx(losses[2], rel=1e-12)


def test_it_is_a_module_like_every_elbo():
    loss = IWAE(4)(ToyModel(P), ToyGuide(P))(X)
    loss.backward()
    assert loss.requires_grad


def test_arguments():
    with pytest.raises(ValueError, match="num_particles: expected at least 1, got 0"):
        IWAE(0)
    with pytest.raises(ValueError, match="gradient: expected one of 'standard', 'stl', 'dreg', got 'score'"):
        IWAE(2, gradient="score")


@pytest.mark.parametrize("gradient", ["stl", "dreg"])
def test_the_gradient_in_the_guide_is_still_at_the_exact_posterior(gradient):
    p = ToyParameters.make(exact_for=3)
    model, guide = ToyModel(p), ToyGuide(p)
    IWAE(4, gradient=gradient).loss_and_grads(model, guide, X)
    for parameter in guide.parameters():
        assert abs(parameter.grad.item()) < 1e-12
    IWAE(4).loss_and_grads(model, guide, X)
    assert max(abs(parameter.grad.item()) for parameter in guide.parameters()) > 1e-3


def gradients_of_hierarchy(gradient, number, copies):
    """A guide in which one draw shapes the distribution of the next, so that noise reaches weights along two paths."""
    p = {name: torch.tensor(0.3, dtype=torch.float64, requires_grad=True) for name in ("shift", "link", "log_scale")}

    def model(x):
        with pyro.plate("sequences", x.shape[0]):
            first = pyro.sample("first", dist.Normal(torch.zeros((), dtype=x.dtype), 1.0))
            second = pyro.sample("second", dist.Normal(first, 0.7))
            pyro.sample("frames", dist.Normal(second, 0.5), obs=x)

    def guide(x):
        with pyro.plate("sequences", x.shape[0]):
            first = pyro.sample("first", dist.Normal(p["shift"] + 0.4 * x, 0.6))
            pyro.sample("second", dist.Normal(p["link"] * first + 0.5 * x, p["log_scale"].exp() * 0.4))

    rows = []
    for _ in range(number):
        loss = IWAE(3, gradient=gradient).differentiable_loss(model, guide, X[:, 0].repeat(copies))
        rows.append(torch.stack(torch.autograd.grad(loss, list(p.values()))) / copies)
    return torch.stack(rows)


def test_dreg_follows_noise_through_several_sites():
    """Against the standard gradient, which autograd makes; and with less variance."""
    doubly, standard = (gradients_of_hierarchy(name, 200, 100) for name in ("dreg", "standard"))
    difference = doubly.mean(0) - standard.mean(0)
    error = ((doubly.var(0) + standard.var(0)) / 200).sqrt()
    assert (difference.abs() < 5 * error).all()
    assert (doubly.var(0) < standard.var(0)).all()


def test_a_point_mass_with_a_density_of_its_own_is_refused_where_its_value_is_moved():
    shift = torch.tensor(0.1, dtype=torch.float64, requires_grad=True)

    def model(x):
        with pyro.plate("sequences", x.shape[0]):
            z = pyro.sample("z", dist.Normal(torch.zeros_like(x), 1.0))
            pyro.sample("frames", dist.Normal(z, 1.0), obs=x)

    def guide(x):
        with pyro.plate("sequences", x.shape[0]):
            law = dist.Normal(shift + x, 1.0)
            value = law.rsample()
            pyro.sample("z", dist.Delta(value, log_density=law.log_prob(value)))

    with pytest.raises(ValueError, match="site 'z': expected a distribution whose density is known at every value"):
        IWAE(2, gradient="stl").loss_and_grads(model, guide, X[:, 0])
