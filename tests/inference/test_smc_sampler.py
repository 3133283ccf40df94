"""The sequential Monte Carlo sampler is unbiased, whatever its temperatures, and takes all that annealing takes."""

import math

import pyro
import pyro.distributions as dist
import pytest
import torch

from inference import Annealing, log_evidence
from inference.annealing.chains import TemperedChains
from inference.annealing.densities import TemperedDensities
from inference.annealing.path import find_path
from inference.annealing.population import resample
from inference.annealing.smc import SMC, smc_log_estimates
from inference.programs.traces import importance_traces
from inference.runtime.generators import seeded
from tests.inference.test_annealed_presence import LampGuide, LampModel, lamp_evidence
from tests.oracles.enumerable_presence import DATA, ORDERS, PresenceGuide, PresenceModel, parameters, particles
from tests.oracles.monte_carlo import assert_mean_within

COPIES = 4_000
ONE = torch.ones((), dtype=torch.float64)
COARSE = SMC(num_particles=4, num_temperatures=4, target_ess=0.5, num_leapfrog=2, threshold=0.9, num_tuning=8)
NOISE = 0.5


def pair(dim, shift, scale, emit=None):
    """A standard Gaussian seen with noise, once or through `emit`, and a guide that ignores the data."""

    def model(frames, *_):
        with pyro.plate("sequences", len(frames), dim=-1):
            z = pyro.sample("z", dist.Normal(torch.zeros(dim, dtype=torch.float64), 1.0).to_event(1))
            likelihood = dist.Normal(z, NOISE).to_event(1) if emit is None else emit(z)
            pyro.sample("frames", likelihood, obs=frames)

    def guide(frames, *_):
        with pyro.plate("sequences", len(frames), dim=-1):
            pyro.sample("z", dist.Normal(torch.full((dim,), shift, dtype=torch.float64), scale).to_event(1))

    return model, guide


def either_sign(z):
    """Likelihood with two modes that are mirror images, one twice as high."""
    signs = torch.tensor([[1.0], [-1.0]], dtype=z.dtype)
    weights = torch.tensor([2.0, 1.0], dtype=z.dtype)
    return dist.MixtureSameFamily(dist.Categorical(weights), dist.Normal(signs * z[..., None, :], NOISE).to_event(1))


def estimates(model, guide, frames, smc=COARSE, count=2, seed=0):
    with seeded("test of the sampler", seed):
        return smc_log_estimates(model, guide, (frames,), smc, count).detach()


def gaussian_evidence(frames):
    return dist.Normal(0.0, math.hypot(1.0, NOISE)).log_prob(frames).sum(-1)


@pytest.mark.parametrize("threshold", [0.0, 0.6, 1.0])
def test_estimates_have_the_evidence_as_their_mean(threshold):
    frames = torch.tensor([[0.3, -1.0]], dtype=torch.float64).repeat(COPIES, 1)
    smc = SMC(4, 4, target_ess=0.5, num_leapfrog=2, threshold=threshold, num_tuning=8)
    found = estimates(*pair(2, 1.0, 0.8), frames, smc)
    assert found.shape == (2, COPIES)
    assert_mean_within((found - gaussian_evidence(frames)).exp().mean(0), ONE)
    assert found.std() > 0.05


def test_two_modes_have_the_evidence_as_their_mean():
    """Mirror images have the same probability under the model: the evidence is that of either."""
    frames = torch.full((COPIES, 1), 1.5, dtype=torch.float64)
    found = estimates(*pair(1, 0.5, 1.0, either_sign), frames)
    assert_mean_within((found - gaussian_evidence(frames)).exp().mean(0), ONE)
    assert found.std() > 0.05


@pytest.mark.parametrize("order", ORDERS)
def test_presences_have_the_evidence_as_their_mean(order):
    p = parameters()
    chance, joint, guide = particles(p, DATA[0], order, 40, p)
    evidence = torch.logsumexp(chance + joint - guide, 0).detach()
    found = estimates(PresenceModel(), PresenceGuide(order), DATA[:1].repeat(COPIES))
    assert_mean_within((found - evidence).exp().mean(0), ONE)
    assert found.std() > 0.05


def test_objects_that_may_not_exist_have_the_evidence_as_their_mean():
    frames = torch.tensor([[1.0, 0.1, -0.8]], dtype=torch.float64).repeat(COPIES, 1)
    found = estimates(LampModel(), LampGuide(), frames)
    assert_mean_within((found - lamp_evidence(frames)).exp().mean(0), ONE)


def test_draws_that_the_model_holds_impossible_die_out():
    """A draw is possible within 1 of what is seen: a fifth of the guide's draws are."""
    model, guide = pair(1, 2.0, 0.8, lambda z: dist.Uniform(z - 1, z + 1, validate_args=False).to_event(1))
    frames = torch.zeros(COPIES, 1, dtype=torch.float64)
    found = estimates(model, guide, frames, SMC(32, 4, num_leapfrog=1, num_tuning=8))
    exact = torch.special.ndtr(torch.tensor(1.0, dtype=torch.float64)) - 0.5  # half of P(|z| < 1)
    assert_mean_within(found.exp().mean(0), exact)
    nowhere = estimates(model, guide, frames[:2] + 50.0, SMC(8, 4, num_leapfrog=1, num_tuning=8))
    assert (nowhere == -torch.inf).all()


def test_an_exact_guide_needs_one_step_and_no_move():
    frames = torch.randn(3, 2, dtype=torch.float64)

    def exact(x, *_):
        with pyro.plate("sequences", len(x), dim=-1):
            pyro.sample("z", dist.Normal(0.8 * x, 0.2**0.5).to_event(1))

    found = estimates(pair(2, 0.0, 1.0)[0], exact, frames)
    torch.testing.assert_close(found, gaussian_evidence(frames).expand(2, -1))


def test_a_model_without_latents_has_its_density():
    def model(x, *_):
        with pyro.plate("sequences", len(x), dim=-1):
            pyro.sample("frames", dist.Normal(0.0, math.hypot(1.0, NOISE)).expand(x.shape).to_event(1), obs=x)

    frames = torch.randn(3, 2, dtype=torch.float64)
    found = estimates(model, lambda x, *_: None, frames)
    torch.testing.assert_close(found, gaussian_evidence(frames).expand(2, -1))


def path_of(model, guide, frames, number=32, target_ess=0.9):
    traces = importance_traces(model, guide, (frames,), number)
    return find_path(TemperedDensities(traces, model, guide, (frames,)), 3, target_ess, 0.5)


def test_each_video_has_its_own_temperatures():
    """The guide sits on what is seen in the first video and far from it in the second."""
    frames = torch.tensor([[0.0], [6.0]], dtype=torch.float64)
    path = path_of(*pair(1, 0.0, 0.5), frames)
    needed = (path.inverse < 1).sum(0)
    assert needed[1] > 3 * needed[0]
    inverse, paces = path.schedule(20)
    assert inverse.shape == (21, 2)
    assert len(paces) == 19
    assert (inverse[0] == 0).all()
    assert (inverse[-1] == 1).all()
    assert (inverse.diff(dim=0) > 0).all()
    assert inverse[10, 1] < inverse[10, 0]
    assert len(path_of(*pair(1, 0.0, 0.5), frames, target_ess=0.99).paces) > 2 * len(path.paces)


def test_a_guide_too_far_off_is_told(monkeypatch):
    monkeypatch.setattr("inference.annealing.path.MOST_TEMPERATURES", 3)
    with pytest.warns(RuntimeWarning, match="target_ess: 1 of 2 videos are not at the posterior after 3 temperatures"):
        path = path_of(*pair(1, 0.0, 0.5), torch.tensor([[0.0], [6.0]], dtype=torch.float64))
    assert (path.inverse[-1] == 1).all()


def test_populations_are_resampled_each_by_itself():
    """Of two populations of four chains of two videos, one population of one video has unequal weights."""
    frames = torch.zeros(2, 1, dtype=torch.float64)
    model, guide = pair(1, 0.0, 1.0)
    traces = importance_traces(model, guide, (frames,), 8)
    densities = TemperedDensities(traces, model, guide, (frames,))
    chains = TemperedChains(densities, densities.start())
    before = chains.latents["z"].clone()
    chains.log_weights = torch.zeros(8, 2, dtype=torch.float64)
    chains.log_weights[4:, 1] = torch.tensor([-50.0, -50.0, 3.0, -50.0])
    gained = resample(chains, 2, 0.5)
    torch.testing.assert_close(gained, torch.tensor([[0.0, 0.0], [0.0, 3.0 - math.log(4)]], dtype=torch.float64))
    after = chains.latents["z"]
    assert torch.equal(after[:, 0], before[:, 0])
    assert torch.equal(after[:4], before[:4])
    assert torch.equal(after[4:, 1], before[6, 1].expand(4, 1))
    assert (chains.log_weights == 0).all()
    torch.testing.assert_close((chains.log_joint, chains.log_guide), densities(chains.latents))


@pytest.mark.slow
def test_it_is_nearer_than_annealing_at_the_same_cost():
    """Twenty correlated latents; root mean square error over videos."""
    generator = torch.Generator().manual_seed(0)
    turn, _ = torch.linalg.qr(torch.randn(20, 20, dtype=torch.float64, generator=generator))
    gain = (torch.logspace(0, 2, 20, dtype=torch.float64) - 0.999).sqrt()[:, None] * turn
    seen = torch.distributions.MultivariateNormal(
        torch.zeros(20, dtype=torch.float64), gain @ gain.T + torch.eye(20, dtype=torch.float64)
    )

    def model(x, *_):
        with pyro.plate("sequences", len(x), dim=-1):
            z = pyro.sample("z", dist.Normal(torch.zeros(20, dtype=torch.float64), 1.0).to_event(1))
            pyro.sample("frames", dist.Normal(z @ gain.T, 1.0).to_event(1), obs=x)

    guide = pair(20, 0.0, 1.0)[1]
    frames = seen.sample((40,))
    annealed = log_evidence(
        model, guide, frames, num_particles=32, particles_per_chunk=32, method=Annealing(50, 5)
    ).log_evidence
    sampled = estimates(model, guide, frames, SMC(32, 26), count=1)[0]
    errors = [(found - seen.log_prob(frames)).square().mean().sqrt() for found in (sampled, annealed)]
    assert errors[0] < 0.7 * errors[1]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"num_particles": 1}, "num_particles: expected at least 2, got 1"),
        ({"num_temperatures": 0}, "num_temperatures: expected at least 1, got 0"),
        ({"num_tuning": 4}, "num_tuning: expected at least 8, got 4"),
        ({"target_ess": 1.0}, "target_ess: expected a share between 0 and 1, got 1.0"),
        ({"threshold": 1.5}, "threshold: expected a share from 0 to 1, got 1.5"),
    ],
)
def test_wrong_numbers_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        SMC(**wrong)


def test_no_estimates_are_refused():
    with pytest.raises(ValueError, match="count: expected at least 1, got 0"):
        estimates(*pair(1, 0.0, 1.0), torch.zeros(2, 1, dtype=torch.float64), count=0)
