"""Annealing over bits and over objects that may not exist, against evidences that are sums in closed form."""

import math

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.nn import PyroModule
from torch import nn

from guides import GlimpseAttentionGuide
from inference import Annealing, log_evidence, sandwich
from inference.annealing.densities import TemperedDensities
from inference.annealing.flips import flip_bits
from inference.annealing.hamiltonian import Pace
from inference.annealing.walks import anneal, frozen
from inference.programs.traces import importance_traces
from pyro_models import AttendInferRepeat
from tests.oracles.enumerable_presence import (
    DATA,
    ORDERS,
    PRESENCES,
    PresenceGuide,
    PresenceModel,
    log_bernoulli,
    parameters,
    particles,
)
from tests.oracles.enumerable_presence import log_evidence as presence_evidence
from tests.oracles.monte_carlo import assert_mean_within

COPIES = 10_000
CHANCE, SPREAD, NOISE = 0.3, 2.0, 0.5


class LampModel(PyroModule):
    """In each of three frames a lamp may stand somewhere; a frame shows the lamp's place, or 0, with noise."""

    def forward(self, frames, observed=None, controls=None):
        count, time = frames.shape
        with pyro.plate("sequences", count, dim=-1), pyro.plate("time", time, dim=-2):
            lamp = pyro.sample("lamp", dist.Bernoulli(torch.full((time, 1), CHANCE, dtype=torch.float64)))
            place = pyro.sample("place", dist.Normal(torch.zeros_like(lamp), SPREAD).mask(lamp > 0))
            pyro.sample("frames", dist.Normal(lamp * place, NOISE), obs=frames.T)


class LampGuide(PyroModule):
    """Ignores the frames, and has the wrong probability and spread."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(1.0, dtype=torch.float64))

    def forward(self, frames, observed=None, controls=None):
        count, time = frames.shape
        with pyro.plate("sequences", count, dim=-1), pyro.plate("time", time, dim=-2):
            lamp = pyro.sample("lamp", dist.Bernoulli(torch.full((time, 1), 0.6, dtype=torch.float64)))
            pyro.sample("place", dist.Normal(0.5 + 0 * lamp, self.scale).mask(lamp > 0))


def lamp_evidence(frames):
    """Each frame is a mixture of two Gaussians."""
    off = math.log(1 - CHANCE) + dist.Normal(0.0, NOISE).log_prob(frames)
    on = math.log(CHANCE) + dist.Normal(0.0, math.hypot(SPREAD, NOISE)).log_prob(frames)
    return torch.logaddexp(off, on).sum(-1)


def walk(model, guide, frames, start=None, *, backwards=False, number=1, steps=4):
    """Log weights of a few coarse temperatures."""
    with frozen(model, guide):
        traces = importance_traces(model, guide, (frames,), number)
        densities = TemperedDensities(traces, model, guide, (frames,))
        start = densities.start() if start is None else densities.exact(start)
        scales = {name: torch.ones((), dtype=torch.float64) for name in densities.coordinates}
        paces = [Pace(torch.full((len(frames),), 0.4, dtype=torch.float64), scales)] * (steps - 1)
        return anneal(densities, start, Annealing(steps, 2), paces, backwards=backwards)[0]


def test_the_oracle_agrees_with_itself():
    p = parameters()
    terms = [particles(p, x, "content first", 40, p) for x in DATA]
    found = sum(torch.logsumexp(chance + joint - guide, 0) for chance, joint, guide in terms)
    assert found.item() == pytest.approx(presence_evidence(p).item(), abs=1e-6)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("backwards", [False, True])
def test_weights_over_bits_have_the_evidence_as_their_mean(order, backwards):
    p = parameters()
    for x in DATA:
        chance, joint, guide = particles(p, x, order, 40, p)
        evidence = torch.logsumexp(chance + joint - guide, 0).item()
        start = posterior_draws(p, x) if backwards else None
        log_weights = walk(PresenceModel(), PresenceGuide(order), x.repeat(COPIES), start, backwards=backwards)
        sign = -1 if backwards else 1
        assert_mean_within((log_weights[0] - sign * evidence).exp().detach(), torch.ones((), dtype=torch.float64))
        assert log_weights.std() > 0.05


def posterior_draws(p, x):
    """Exact draws of presence and content given x, for `COPIES` sequences."""
    p = {name: value.detach() for name, value in p.items()}
    base, gain, scale, noise = PRESENCES @ p["base"], PRESENCES @ p["gain"], p["log_scale"].exp(), p["log_noise"].exp()
    variance = gain**2 * scale**2 + noise**2
    law = dist.Normal(base + gain * p["mean"], variance.sqrt())
    chosen = dist.Categorical(logits=log_bernoulli(PRESENCES, p["prior"]) + law.log_prob(x)).sample((COPIES,))
    precision = 1 / scale**2 + gain**2 / noise**2
    mean = (p["mean"] / scale**2 + gain * (x - base) / noise**2) / precision
    content = mean[chosen] + precision[chosen].rsqrt() * torch.randn(COPIES, dtype=torch.float64)
    return {"presence": PRESENCES[chosen].T, "content": content}


@pytest.mark.parametrize("number", [1, 5])
@pytest.mark.parametrize("backwards", [False, True])
def test_weights_over_objects_that_may_not_exist_have_the_evidence_as_their_mean(backwards, number):
    """In reverse, what is masked in the exact draw is drawn again: here it starts far off."""
    frames = torch.tensor([[1.0, 0.1, -0.8]], dtype=torch.float64).repeat(COPIES, 1)
    start = None
    if backwards:
        on = math.log(CHANCE) + dist.Normal(0.0, math.hypot(SPREAD, NOISE)).log_prob(frames.T)
        off = math.log(1 - CHANCE) + dist.Normal(0.0, NOISE).log_prob(frames.T)
        lamp = dist.Bernoulli(logits=on - off).sample()
        precision = SPREAD**-2 + NOISE**-2
        place = frames.T * NOISE**-2 / precision + precision**-0.5 * torch.randn(3, COPIES, dtype=torch.float64)
        start = {"lamp": lamp, "place": torch.where(lamp > 0, place, 1e3)}
    log_weights = walk(LampModel(), LampGuide(), frames, start, backwards=backwards, number=number, steps=8)
    ratio = (log_weights - (-1 if backwards else 1) * lamp_evidence(frames[:1])).exp().mean(0)
    assert_mean_within(ratio, torch.ones((), dtype=torch.float64))
    assert log_weights.std() > 0.05


def test_bits_alone_are_annealed():
    """No continuous latent: flips are all the moves there are."""

    def model(frames, *_):
        with pyro.plate("sequences", len(frames), dim=-1):
            bit = pyro.sample("bit", dist.Bernoulli(torch.tensor(CHANCE, dtype=torch.float64)))
            pyro.sample("frames", dist.Normal(bit, NOISE), obs=frames)

    def guide(frames, *_):
        with pyro.plate("sequences", len(frames), dim=-1):
            pyro.sample("bit", dist.Bernoulli(torch.full_like(frames, 0.8)))

    frames = torch.full((COPIES,), 0.2, dtype=torch.float64)
    on, off = dist.Normal(1.0, NOISE).log_prob(frames[0]), dist.Normal(0.0, NOISE).log_prob(frames[0])
    evidence = torch.logaddexp(on + math.log(CHANCE), off + math.log(1 - CHANCE))
    log_weights = walk(model, guide, frames)
    assert_mean_within((log_weights[0] - evidence).exp(), torch.ones((), dtype=torch.float64))
    assert log_weights.std() > 0.05


def test_flips_leave_the_posterior_as_it_is():
    """From exact draws, flips alone, at inverse temperature 1: each lamp stays as probable as it is."""
    frames = torch.tensor([[1.0, 0.1, -0.8]], dtype=torch.float64).repeat(COPIES, 1)
    on = math.log(CHANCE) + dist.Normal(0.0, math.hypot(SPREAD, NOISE)).log_prob(frames.T)
    off = math.log(1 - CHANCE) + dist.Normal(0.0, NOISE).log_prob(frames.T)
    lamp = dist.Bernoulli(logits=on - off).sample()
    precision = SPREAD**-2 + NOISE**-2
    place = frames.T * NOISE**-2 / precision + precision**-0.5 * torch.randn(3, COPIES, dtype=torch.float64)
    model, guide = LampModel(), LampGuide()
    with frozen(model, guide):
        traces = importance_traces(model, guide, (frames,), 1)
        densities = TemperedDensities(traces, model, guide, (frames,))
        latents = densities.exact({"lamp": lamp, "place": place})
        moved, log_joint, log_guide = flip_bits(densities, latents, torch.ones(COPIES))
        again = densities(moved)
    assert_mean_within(moved["lamp"].T, (on - off).sigmoid()[:, 0])
    assert (moved["lamp"] != lamp).double().mean() > 0.02
    torch.testing.assert_close((log_joint, log_guide), again)


def test_what_is_masked_cancels():
    frames = torch.randn(4, 3, dtype=torch.float64)
    model, guide = LampModel(), LampGuide()
    with frozen(model, guide):
        traces = importance_traces(model, guide, (frames,), 6)
        densities = TemperedDensities(traces, model, guide, (frames,))
        log_joint, log_guide = densities(densities.start())
    torch.testing.assert_close(log_joint - log_guide, traces.log_weights())
    lamp, place = (traces.guide.nodes[name]["value"] for name in ("lamp", "place"))
    everywhere = dist.Bernoulli(0.6).log_prob(lamp) + dist.Normal(0.5, 1.0).log_prob(place)
    torch.testing.assert_close(log_guide, everywhere.sum(1))


def test_the_sandwich_closes_on_lamps():
    template = torch.zeros(12, 3, dtype=torch.float64)
    found = sandwich(LampModel(), LampGuide(), template, num_particles=200, annealing=Annealing(30, 3), seed=1)
    exact = lamp_evidence(found.frames)
    assert ((found.lower - exact).abs() < 0.3).all()
    assert ((found.upper - exact).abs() < 0.3).all()


@pytest.mark.slow
@pytest.mark.ci
def test_scenes_of_objects_are_bracketed():
    """AIR under noise so strong that very many importance weights know the evidence, too."""
    pyro.set_rng_seed(0)
    model = AttendInferRepeat(
        (1, 12, 12), num_slots=2, what_dim=2, glimpse_size=4, hidden=(8,), another=0.5, frame_scale=1.0
    )
    guide = GlimpseAttentionGuide(model, hidden_dim=8, where_offset=0.5, presence_bias=0.0)
    template = torch.zeros(4, 1, 1, 12, 12)
    found = sandwich(model, guide, template, num_particles=64, annealing=Annealing(40, 3, num_tuning=4), seed=0)
    weighed = log_evidence(model, guide, found.frames, num_particles=100_000, particles_per_chunk=4000)
    assert weighed.standard_error.max() < 0.1
    assert (weighed.elbo < weighed.log_evidence - 2.5).all()
    assert ((found.lower - weighed.log_evidence).abs() < 0.6).all()
    assert (found.upper - weighed.log_evidence > -0.6).all()
    assert (found.upper - weighed.log_evidence < 1.2).all()
