"""These tests pin: programs whose weights would be silently wrong are refused, by the name of the site.

Each is a program that somebody wrote: a value moved along the wrong dim, a point estimate, a latent of the guide's own.
"""

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer.autoguide import AutoNormal

from inference import FIVO, IWAE, VIMCO, Annealing, WakeSleep, log_evidence, sandwich
from inference.programs.traces import importance_traces, log_weights
from pyro_models.components.layout import merge_particles, to_time_plate
from tests.oracles.closed_form_bounds import ToyModel, ToyParameters, toy_data
from tests.oracles.closed_form_bounds import log_evidence as exact_log_evidence

P = ToyParameters.make()


def path_model(move):
    """A latent path `a`, event (time, 2), is observed step by step; `move` puts time into its plate."""

    def model(x, observed=None, controls=None):
        sequences, time, _ = x.shape
        with pyro.plate("sequences", sequences, dim=-1):
            a = pyro.sample("a", dist.Normal(torch.zeros(time, 2), 1.0).to_event(2))
            with pyro.plate("time", time, dim=-2):
                pyro.sample("frames", dist.Normal(move(a), 1.0).to_event(1), obs=x.transpose(0, 1))

    def guide(x, observed=None, controls=None):
        with pyro.plate("sequences", x.shape[0], dim=-1):
            pyro.sample("a", dist.Normal(x / 2, 0.5**0.5).to_event(2))  # exact

    return model, guide


def right(a):
    return to_time_plate(merge_particles(a, 2), 1)


def wrong(a):
    return a.transpose(-3, -2)  # right for (sequences, time, 2), wrong for (particles, 1, sequences, time, 2)


@pytest.mark.parametrize("shape", [(5, 7, 2), (4, 4, 2), (5, 4, 2), (4, 7, 2), (2, 2, 2), (1, 7, 2), (5, 1, 2)])
@pytest.mark.parametrize("num_particles", [2, 4, 6])
def test_a_density_that_broadcasts_over_particles_is_refused(shape, num_particles):
    x = torch.randn(shape)
    exact = dist.Normal(0.0, 2**0.5).log_prob(x).sum((1, 2)).double()
    for move, particles in ((right, num_particles), (wrong, 1)):  # one draw comes without a plate of particles
        estimate = log_evidence(*path_model(move), x, num_particles=particles)
        torch.testing.assert_close(estimate.log_evidence, exact, rtol=1e-4, atol=1e-4)
    if shape[0] == 1 and shape[1] == 1:
        return
    for estimate in (
        lambda *pair: log_evidence(*pair, x, num_particles=num_particles),
        lambda *pair: IWAE(num_particles).loss(*pair, x),
        lambda *pair: VIMCO(num_particles).differentiable_loss(*pair, x),
        lambda *pair: WakeSleep(num_particles).differentiable_loss(*pair, x),
        lambda *pair: importance_traces(*pair, (x,), num_particles),
    ):
        with pytest.raises(ValueError, match=r"(?s)'frames'.*|model, guide: expected programs that run in a plate"):
            estimate(*path_model(wrong))


def test_the_message_has_shapes_and_a_remedy():
    with pytest.raises(ValueError, match="site 'frames'") as caught:
        log_evidence(*path_model(wrong), torch.randn(5, 7, 2), num_particles=50)
    message = str(caught.value)
    for words in ("particles 2, time 7, sequences 5", "merge_particles, to_time_plate"):
        assert words in message


def point_pair(distribution):
    def model(x, observed=None, controls=None):
        with pyro.plate("sequences", x.shape[0], dim=-1):
            z = pyro.sample("z", dist.Normal(0.0, 1.0))
            with pyro.plate("time", x.shape[1], dim=-2):
                pyro.sample("frames", dist.Normal(z, 1.0), obs=x.T)

    def guide(x, observed=None, controls=None):
        with pyro.plate("sequences", x.shape[0], dim=-1):
            pyro.sample("z", distribution(x.mean(-1)))

    return model, guide


POINTS = {
    "plain": dist.Delta,
    "masked": lambda v: dist.Delta(v).mask(torch.ones_like(v, dtype=torch.bool)),
    "event": lambda v: dist.Independent(dist.Delta(v), 0),
}


@pytest.mark.parametrize("num_particles", [1, 7])
@pytest.mark.parametrize("kind", POINTS)
def test_a_point_mass_has_no_evidence(kind, num_particles):
    model, guide = point_pair(POINTS[kind])
    x = torch.randn(5, 3)
    for estimate in (
        lambda: log_evidence(model, guide, x, num_particles=num_particles),
        lambda: log_evidence(model, guide, x, num_particles=num_particles, method=Annealing(3)),
        lambda: sandwich(model, guide, x, num_particles=num_particles, annealing=Annealing(3)),
    ):
        with pytest.raises(ValueError, match=r"'z' is a point mass \(Delta\).*no evidence"):
            estimate()


def test_a_point_mass_with_its_own_density_and_one_of_the_model_are_taken():
    def model(x, observed=None, controls=None):
        with pyro.plate("sequences", x.shape[0], dim=-1):
            pyro.sample("start", dist.Delta(torch.tensor(2.0)))
            z = pyro.sample("z", dist.Normal(0.0, 1.0))
            pyro.sample("frames", dist.Normal(z, 1.0), obs=x)

    def guide(x, observed=None, controls=None):
        with pyro.plate("sequences", x.shape[0], dim=-1):
            pyro.sample("start", dist.Delta(torch.tensor(2.0)))
            exact = dist.Normal(x / 2, 0.5**0.5)
            value = exact.rsample()
            pyro.sample("z", dist.Delta(value, log_density=exact.log_prob(value)))

    x = torch.randn(5)
    expected = dist.Normal(0.0, 2**0.5).log_prob(x).double()
    torch.testing.assert_close(log_evidence(model, guide, x, num_particles=1).log_evidence, expected)


@pytest.mark.parametrize("auxiliary", [False, True])
def test_a_site_of_the_guide_alone_is_refused(auxiliary):
    def guide(x, observed=None, controls=None):
        with pyro.plate("sequences", x.shape[0], dim=-1):
            u = pyro.sample("u", dist.Normal(0.0, 2.0), infer={"is_auxiliary": auxiliary})
            pyro.sample("z", dist.Normal(x.mean(-1) + 0 * u, 1.0))

    model, _ = point_pair(dist.Delta)
    x = torch.randn(5, 3)
    for estimate in (
        lambda: log_evidence(model, guide, x, num_particles=1),
        lambda: log_evidence(model, guide, x, num_particles=50),
        lambda: log_evidence(model, guide, x, num_particles=8, method=Annealing(3)),
        lambda: IWAE(3).loss(model, guide, x),
        lambda: VIMCO(3).loss(model, guide, x),
        lambda: sandwich(model, guide, x, annealing=Annealing(3)),
    ):
        with pytest.raises(ValueError, match="expected the latent sites of the model and no others, it also draws 'u'"):
            estimate()


def test_a_site_that_both_have_is_scored_in_both():
    """q(u) q(z | u, x) against p(z) r(u | z): with the exact r every weight is the evidence."""

    def model(x, observed=None, controls=None):
        with pyro.plate("sequences", x.shape[0], dim=-1):
            z = pyro.sample("z", dist.Normal(0.0, 1.0))
            pyro.sample("frames", dist.Normal(z, 1.0), obs=x)
            pyro.sample("u", dist.Normal((z - x / 2) / 0.5 * 0.25, 0.125**0.5))

    def guide(x, observed=None, controls=None):
        with pyro.plate("sequences", x.shape[0], dim=-1):
            u = pyro.sample("u", dist.Normal(torch.zeros_like(x), 0.5))  # z | x = u + N(x / 2, 1 / 4): variance 1 / 2
            pyro.sample("z", dist.Normal(x / 2 + u, 0.5))

    x = torch.randn(5)
    result = log_evidence(model, guide, x, num_particles=40)
    torch.testing.assert_close(result.log_evidence, dist.Normal(0.0, 2**0.5).log_prob(x).double())
    assert bool((result.pareto_k == -torch.inf).all())


def test_an_automatic_guide_is_one_latent_drawn_as_a_function_and_its_volume_is_checked():
    x = toy_data(sequences=5, time=3)
    model = ToyModel(P)
    guide = AutoNormal(model, init_scale=1.5)
    guide(x)
    assert log_weights(model, guide, (x,), 4).shape == (4, 5)
    estimate = log_evidence(model, guide, x, num_particles=20_000, particles_per_chunk=20_000)
    off = (estimate.log_evidence - exact_log_evidence(P, x)).abs() / estimate.standard_error
    assert bool((off < 6).all())

    def without_volume(x, observed=None, controls=None):
        with pyro.plate("sequences", x.shape[0], dim=-1):
            u = pyro.sample("z_unconstrained", dist.Normal(0.0, 1.0), infer={"is_auxiliary": True})
            pyro.sample("z", dist.Delta(u.exp()))

    def positive(x, observed=None, controls=None):
        with pyro.plate("sequences", x.shape[0], dim=-1):
            z = pyro.sample("z", dist.LogNormal(0.0, 1.0))
            pyro.sample("frames", dist.Normal(z, 1.0), obs=x)

    with pytest.raises(ValueError, match="site 'z': expected .*'z_unconstrained'.* with log_density"):
        log_evidence(positive, without_volume, torch.rand(5), num_particles=3)
    automatic = AutoNormal(positive)
    automatic(torch.rand(5))
    assert log_evidence(positive, automatic, torch.rand(5), num_particles=3).num_particles == 3


def test_fivo_meets_the_same_checks():
    from tests.contracts.registry import build_guide, make_video

    model, guide = build_guide("RecurrentGuide")
    frames = make_video(0)[0]
    step = guide.step

    def with_spare(index, state, context):
        pyro.sample(f"spare_{index}", dist.Normal(torch.zeros(frames.shape[0]), 1.0))
        return step(index, state, context)

    guide.step = with_spare
    with pytest.raises(ValueError, match="it also draws 'spare_0'"):
        FIVO(3).loss(model, guide, frames)
