"""Latents of any support that has unbounded coordinates are annealed; all others are refused by name."""

import math

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer.autoguide import AutoNormal

from inference import Annealing, log_evidence, sandwich
from inference.annealing.smc import SMC, smc_log_estimates
from inference.programs.traces import importance_traces
from tests.oracles.closed_form_bounds import toy_data
from tests.oracles.monte_carlo import assert_mean_within

COPIES = 5_000
NOISE = 0.4


def seen(x, mean):
    pyro.sample("frames", dist.Normal(mean, NOISE), obs=x)


def pair(latent, proposal, emit):
    """A latent site "z" with these distributions, called with the number of videos, and what is seen of it."""

    def model(x, *_):
        with pyro.plate("sequences", len(x), dim=-1):
            seen(x, emit(pyro.sample("z", latent(x))))

    def guide(x, *_):
        with pyro.plate("sequences", len(x), dim=-1):
            pyro.sample("z", proposal(x))

    return model, guide


def correlation(x):
    """Uniform on (-1, 1), seen with noise."""
    normal = dist.Normal(0.0, 1.0)
    return ((normal.cdf((1 - x) / NOISE) - normal.cdf((-1 - x) / NOISE)) / 2).log()


def share(x):
    """Uniform on (0, 1), seen with noise."""
    normal = dist.Normal(0.0, 1.0)
    return (normal.cdf((1 - x) / NOISE) - normal.cdf(-x / NOISE)).log()


def lkj(concentration):
    return lambda x: dist.LKJCholesky(2, torch.full_like(x, concentration))


def dirichlet(a, b):
    return lambda x: dist.Dirichlet(torch.tensor([a, b], dtype=x.dtype)).expand(x.shape)


def mixture(scale):
    def of(x):
        components = dist.Normal(torch.tensor([-1.0, 1.0], dtype=x.dtype), scale)
        return dist.MixtureSameFamily(dist.Categorical(torch.ones(2, dtype=x.dtype)), components).expand(x.shape)

    return of


def between_two(x):
    components = [dist.Normal(mean, math.hypot(0.5, NOISE)).log_prob(x) for mean in (-1.0, 1.0)]
    return torch.logaddexp(*components) - math.log(2)


SUPPORTS = {
    "correlations": (lkj(1.0), lkj(2.0), lambda z: z[..., 1, 0], correlation),
    "shares": (dirichlet(1.0, 1.0), dirichlet(3.0, 2.0), lambda z: z[..., 0], share),
    "mixture": (mixture(0.5), mixture(0.8), lambda z: z, between_two),
}


@pytest.mark.parametrize("number", [1, 3])
@pytest.mark.parametrize("name", SUPPORTS)
def test_weights_have_the_evidence_as_their_mean(name, number):
    *programs, exact = SUPPORTS[name]
    model, guide = pair(*programs)
    x = torch.full((COPIES,), 0.7, dtype=torch.float64)
    found = log_evidence(
        model, guide, x, num_particles=number, particles_per_chunk=number, method=Annealing(4, 2), seed=1
    )
    ratio = (found.log_weights - exact(x[:1])).exp().mean(0)
    assert_mean_within(ratio, torch.ones((), dtype=torch.float64))
    assert found.log_weights.std() > 0.02


def test_the_sandwich_closes_on_correlations():
    model, guide = pair(*SUPPORTS["correlations"][:3])
    found = sandwich(model, guide, torch.zeros(20, dtype=torch.float64), num_particles=200, annealing=Annealing(10, 3))
    assert (found.lower - correlation(found.frames)).abs().max() < 0.2
    assert (found.upper - correlation(found.frames)).abs().max() < 0.2


def test_what_a_guide_computes_of_its_draws_moves_with_them():
    """`AutoNormal` draws z_unconstrained and z of it, a point mass, which used to stay where it was: no move was
    accepted, and weights were those of the guide.
    """
    x = toy_data(sequences=2, time=3)

    def model(x, *_):
        with pyro.plate("sequences", len(x), dim=-1):
            rate = pyro.sample("z", dist.LogNormal(torch.zeros(len(x), dtype=torch.float64), 1.0))
            with pyro.plate("time", x.shape[1], dim=-2):
                pyro.sample("frames", dist.Normal(rate.log(), 0.5), obs=x.T)

    def evidence(x):
        covariance = 0.25 * torch.eye(3, dtype=torch.float64) + 1.0
        return torch.distributions.MultivariateNormal(torch.zeros(3, dtype=torch.float64), covariance).log_prob(x)

    guide = AutoNormal(model, init_scale=0.2)
    guide(x)
    annealing = Annealing(10, 2)
    plain = log_evidence(model, guide, x, num_particles=200)
    walked = log_evidence(model, guide, x, num_particles=200, particles_per_chunk=200, method=annealing)
    assert (plain.log_evidence - evidence(x)).abs().max() > 1.0
    assert (walked.log_evidence - evidence(x)).abs().max() < 0.3
    found = sandwich(model, guide, x, num_particles=200, annealing=annealing)
    assert (found.upper - evidence(found.frames)).abs().max() < 0.5


def ways(model, guide, x):
    """All that anneals."""
    return (
        lambda: log_evidence(model, guide, x, num_particles=4, method=Annealing(3, 1)),
        lambda: sandwich(model, guide, x, num_particles=1, annealing=Annealing(3, 1)),
        lambda: smc_log_estimates(model, guide, (x,), SMC(4), 2),
    )


def refused(model, guide, x, message):
    for way in ways(model, guide, x):
        with pytest.raises(ValueError, match=message):
            way()


X = torch.tensor([0.2, 0.7], dtype=torch.float64)


def test_a_direction_is_refused():
    def direction(x):
        return dist.ProjectedNormal(torch.ones(len(x), 3, dtype=x.dtype))

    model, guide = pair(direction, direction, lambda z: z[..., 0])
    refused(
        model,
        guide,
        X,
        r"site 'z': expected a support with unbounded coordinates .*got sphere \(ProjectedNormal\)\. Write the latent "
        "as a function .*num_particles alone",
    )


def test_a_guide_of_another_support_is_refused():
    model, guide = pair(
        lambda x: dist.Gamma(torch.full_like(x, 3.0), 2.0), lambda x: dist.Normal(1.0 + 0 * x, 0.1), lambda z: z
    )
    refused(model, guide, X, r"site 'z': expected .* the model's support, positive \(Gamma\), got real \(Normal\)")


def test_a_support_that_depends_on_another_latent_is_refused():
    def model(x, *_):
        with pyro.plate("sequences", len(x), dim=-1):
            width = pyro.sample("width", dist.LogNormal(torch.zeros_like(x), 1.0))
            seen(x, pyro.sample("z", dist.Uniform(0.0, width)))

    refused(
        model,
        pyro.poutine.block(model, hide=["frames"]),
        X,
        "supports that depend on no other latent, those of 'z' do.*Uniform",
    )


def test_a_flow_that_is_drawn_as_a_point_mass_is_refused():
    def guide(x, *_):
        with pyro.plate("sequences", len(x), dim=-1):
            exact = dist.Normal(x, 1.0)
            value = exact.rsample()
            pyro.sample("z", dist.Delta(value, log_density=exact.log_prob(value)))

    model, _ = pair(lambda x: dist.Normal(0 * x, 1.0), None, lambda z: z)
    refused(
        model, guide, X, r"site 'z': expected a distribution whose density is known at every value, got a point mass"
    )


def test_a_point_mass_and_a_site_of_the_guide_alone_are_refused():
    model, guide = pair(lambda x: dist.Normal(0 * x, 1.0), lambda x: dist.Delta(x), lambda z: z)
    refused(model, guide, X, r"'z' is a point mass \(Delta\)")

    def talkative(x, *_):
        with pyro.plate("sequences", len(x), dim=-1):
            pyro.sample("u", dist.Normal(0 * x, 1.0))
            pyro.sample("z", dist.Normal(0 * x, 1.0))

    refused(model, talkative, X, "the latent sites of the model and no others, it also draws 'u'")


def test_counts_are_refused():
    model, guide = pair(lambda x: dist.Poisson(0 * x + 1.0), lambda x: dist.Poisson(0 * x + 2.0), lambda z: z)
    refused(model, guide, X, "expected latents that are continuous or bits, 'z' is neither")


def test_a_point_mass_of_the_model_stays_where_it_is():
    """A constant that both programs have, and what both compute of a latent."""

    def program(x, looks):
        with pyro.plate("sequences", len(x), dim=-1):
            start = pyro.sample("start", dist.Delta(torch.full_like(x, 2.0)))
            z = pyro.sample("z", dist.Normal(0 * x if looks else 0.8 + 0 * x, 1.0 if looks else 0.5))
            twice = pyro.sample("twice", dist.Delta(start * z))
            if looks:
                seen(x, twice)

    x = X.repeat(COPIES)
    programs = (lambda x, *_: program(x, True)), (lambda x, *_: program(x, False))
    found = log_evidence(*programs, x, num_particles=1, method=Annealing(4, 2))
    exact = dist.Normal(0.0, math.hypot(2.0, NOISE)).log_prob(x)
    assert_mean_within((found.log_weights[0] - exact).exp().reshape(-1, 2), torch.ones(2, dtype=torch.float64))
    traces = importance_traces(*programs, (x,), 1)
    assert found.log_weights[0].std() < 0.7 * traces.log_weights().std()
