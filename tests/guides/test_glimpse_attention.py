"""The attention guide: its density by hand, what it looks at, presence that learns by every estimator."""

import math

import pyro
import pytest
import torch
from pyro.infer import TraceEnum_ELBO, TraceGraph_ELBO
from torch.nn.functional import affine_grid, grid_sample

from guides import GlimpseAttentionGuide
from inference import SVI, VIMCO, WakeSleep
from inference.programs.traces import importance_traces
from pyro_models import AttendInferRepeat
from tests.contracts.registry import unsettle
from tests.contracts.scores import draw, score

FRAMES, SEQUENCES, SIDE = 2, 3, 9


def make(**options):
    pyro.set_rng_seed(1)
    model = AttendInferRepeat((1, SIDE, SIDE), what_dim=2, glimpse_size=4, hidden=(5,), another=0.6).double()
    guide = GlimpseAttentionGuide(model, hidden_dim=6, presence_bias=0.5, **options).double()
    unsettle(guide)
    return model, guide, torch.rand(SEQUENCES, FRAMES, 1, SIDE, SIDE, dtype=torch.float64)


def by_hand(model, guide, image, latents, place):
    """Log density of one frame's latents: the LSTM unrolled on single vectors."""
    total, alive = 0.0, 1.0
    where, what = torch.zeros(3, dtype=torch.float64), torch.zeros(2, dtype=torch.float64)
    features = guide.features(image.flatten())
    memory = (torch.zeros(1, 6, dtype=torch.float64),) * 2
    for index in (1, 2, 3):
        inputs = torch.cat([features, torch.tensor([alive], dtype=torch.float64), alive * where, alive * what])
        memory = guide.recurrence(inputs[None], memory)
        hidden = memory[0][0]
        presence = latents[f"z_pres_{index}"][place].item()
        if alive:
            chance = guide.presence(hidden).sigmoid().item()
            total += math.log(chance if presence else 1 - chance)
        alive *= presence
        where, what = latents[f"z_where_{index}"][place], latents[f"z_what_{index}"][place]
        if not alive:
            continue
        mean, raw = guide.where(hidden).chunk(2)
        scale = torch.log1p((raw + guide.where_offset).exp()) + 0.01
        total += torch.distributions.Normal(model.where_mean + mean, scale).log_prob(where).sum().item()
        theta = torch.zeros(1, 2, 3, dtype=torch.float64)
        theta[0, 0, 0] = theta[0, 1, 1] = where[0].sigmoid()
        theta[0, :, 2] = where[1:].tanh()
        grid = affine_grid(theta, [1, 1, 4, 4], align_corners=True)
        glimpse = grid_sample(image[None, None], grid, align_corners=True).flatten()
        mean, raw = guide.what(glimpse).chunk(2)
        total += torch.distributions.Normal(mean, torch.log1p(raw.exp()) + 0.01).log_prob(what).sum().item()
    return total


def test_density_by_hand():
    model, guide, frames = make()
    latents = draw(guide, (frames, None, None))
    assert len(model.scene(latents).presence.sum(-1).unique()) > 1
    found = score(guide, (frames, None, None), latents)
    expected = [
        sum(by_hand(model, guide, frames[n, t, 0], latents, (t, n)) for t in range(FRAMES)) for n in range(SEQUENCES)
    ]
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64), rtol=1e-6, atol=1e-5)


def presence_gradient(guide, step):
    guide.zero_grad()
    step()
    return torch.cat([guide.presence.weight.grad.flatten(), guide.presence.bias.grad])


@pytest.mark.slow
def test_enumeration_and_score_function_agree_on_how_presence_should_move():
    """The ELBO's gradient for the presence head, summed over presences or estimated from draws, with a baseline too."""
    model, guide, frames = make(baseline=True)
    frames = frames[:, :1].repeat(60, 1, 1, 1, 1)  # 60 draws at once
    exact = TraceEnum_ELBO(max_plate_nesting=2)
    graph = TraceGraph_ELBO(max_plate_nesting=2)
    scored = [presence_gradient(guide, lambda: graph.loss_and_grads(model, guide, frames)) for _ in range(60)]
    guide.enumerate_presence = True
    summed = [presence_gradient(guide, lambda: exact.loss_and_grads(model, guide, frames)) for _ in range(30)]
    reference = torch.stack(summed)
    others = torch.stack(scored)
    error = (reference.var(0) / len(reference)).sqrt()
    assert (reference.mean(0) / error).abs().max() > 8  # there is something to agree on
    difference = (others.mean(0) - reference.mean(0)).abs()
    assert bool((difference < 4.5 * (error**2 + others.var(0) / len(others)).sqrt()).all())
    assert bool((reference.var(0) < others.var(0)).all())


@pytest.mark.parametrize(
    ("loss", "baseline"),
    [(VIMCO(3), False), (WakeSleep(3), False), (TraceGraph_ELBO(), False), (TraceGraph_ELBO(), True)],
    ids=["vimco", "wake-sleep", "graph", "graph with baseline"],
)
def test_every_estimator_reaches_every_parameter(loss, baseline):
    model, guide, frames = make(baseline=baseline)
    parameters = dict([*model.named_parameters(), *guide.named_parameters()])
    before = {name: value.detach().clone() for name, value in parameters.items()}
    svi = SVI(model, guide, torch.optim.Adam(list(parameters.values()), 0.01), loss)
    for _ in range(3):
        assert math.isfinite(svi.step(frames).item())
    still = [name for name, value in parameters.items() if torch.equal(before[name], value)]
    assert still == []


def test_particles_see_the_windows_that_they_drew():
    """Weights of vectorised particles are those of single ones: E[w] does not depend on how particles are drawn."""
    model, guide, frames = make()
    with torch.no_grad():
        together = importance_traces(model, guide, (frames,), 150).log_weights()
        alone = torch.cat([importance_traces(model, guide, (frames,), 1).log_weights() for _ in range(150)])
    both = torch.stack([together.mean(0), alone.mean(0)])
    spread = (together.var(0) / 150 + alone.var(0) / 150).sqrt()
    assert bool(((both[0] - both[1]).abs() < 4.5 * spread).all())
