"""The variational recurrent network: its distribution by hand, its size, and its bounds."""

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine

from guides import PriorCorrectionGuide
from inference import FIVO, IWAE
from inference.programs.simulation import simulated_trace
from inference.programs.traces import importance_traces
from pyro_models import VariationalRecurrentNetwork
from pyro_models.vrnn.mirrored_convolutions import MirroredConvolutions

SHAPE = (1, 6, 6)


def pair(**options):
    model = VariationalRecurrentNetwork(SHAPE, **({"latent_dim": 3, "units": 7} | options))
    return model, PriorCorrectionGuide(model)


def count(*modules):
    return sum(parameter.numel() for module in modules for parameter in module.parameters())


@pytest.mark.parametrize(("units", "number"), [(128, 1.16e6), (192, 2.05e6)])
def test_sizes_of_the_published_networks(units, number):
    """The small one of Kosiorek et al. (2018) with 1.2 million parameters, and one as large as their 2.1 million."""
    model = VariationalRecurrentNetwork(units=units)
    assert count(model, PriorCorrectionGuide(model)) == pytest.approx(number, rel=0.02)


@pytest.mark.parametrize(
    ("networks", "number"),
    [(MirroredConvolutions(128, (32, 32, 64, 64), (2, 2, 2, 2)), 0.8e6), (MirroredConvolutions(212), 2.6e6)],
)
def test_sizes_of_the_published_convolutions(networks, number):
    """Kosiorek et al. 2018, appendix D.3: the small one as printed, and the medium one of 2.6 million."""
    model = VariationalRecurrentNetwork(units=networks.units, layers=1, networks=networks)
    assert count(model, PriorCorrectionGuide(model)) == pytest.approx(number, rel=0.02)


def test_log_probability_by_hand():
    model, guide = (module.double() for module in pair())
    frames = torch.rand(4, 3, *SHAPE, dtype=torch.float64)
    traces = importance_traces(model, guide, (frames,), 2)
    log_p, log_q = torch.zeros(2, 4, dtype=torch.float64), torch.zeros(2, 4, dtype=torch.float64)
    cell = model.recurrence
    output, memory = torch.zeros(2, 4, 7, dtype=torch.float64), torch.zeros(2, 4, 7, dtype=torch.float64)
    features, code = torch.zeros_like(output), torch.zeros_like(output)
    for step in range(3):
        gates = torch.cat([features, code], -1) @ cell.weight_ih.T + output @ cell.weight_hh.T
        keep_in, keep, new, show = (gates + cell.bias_ih + cell.bias_hh).chunk(4, -1)
        memory = keep.sigmoid() * memory + keep_in.sigmoid() * new.tanh()
        output = show.sigmoid() * memory.tanh()
        z = traces.guide.nodes[f"z_{step + 1}"]["value"].squeeze(1)
        mean, raw = model.prior(output).chunk(2, -1)
        log_p = log_p + dist.Normal(mean, raw.exp().log1p() + 0.01).log_prob(z).sum(-1)
        features = model.frame_encoder(frames[:, step, 0]).expand(2, -1, -1)
        known = torch.cat([output, features], -1)
        scale = (guide.scale(known) + 0.25).exp().log1p() + 0.01
        log_q = log_q + dist.Normal(mean + guide.correction(known), scale).log_prob(z).sum(-1)
        code = model.latent_encoder(z)
        drawn = model.decoder(torch.cat([code, output], -1))
        log_p = log_p + dist.Normal(drawn, 0.3).log_prob(frames[:, step, 0]).sum((-1, -2))
    torch.testing.assert_close(traces.log_joint(), log_p)
    torch.testing.assert_close(traces.log_guide(), log_q)


def test_bounds_are_in_order():
    """A particle filter's is not below that of importance sampling on average, and one particle is the ELBO."""
    model, guide = pair()
    frames = torch.rand(200, 6, *SHAPE)
    losses = {}
    for name, loss in (("elbo", IWAE(1)), ("iwae", IWAE(8)), ("filter of one", FIVO(1))):
        pyro.set_rng_seed(0)
        losses[name] = loss.loss(model, guide, frames) / 200
    assert losses["filter of one"] == pytest.approx(losses["elbo"], rel=1e-6)
    assert losses["iwae"] < losses["elbo"] - 0.1
    assert FIVO(8).loss(model, guide, frames) / 200 < losses["elbo"] - 0.1


def test_videos_are_drawn_frame_after_frame():
    """Every distribution is the one that the model has at the video that was drawn."""
    model, _ = pair()
    blank = torch.zeros(5, 4, *SHAPE)
    drawn = simulated_trace(model, blank)
    latents = {name: drawn.nodes[name]["value"] for name in drawn.nodes if name.startswith("z_")}
    videos = {"drawn": drawn.nodes["frames"]["value"].transpose(0, 1), "blank": blank}
    conditioned = poutine.condition(model, latents)
    at = {name: poutine.trace(conditioned).get_trace(video) for name, video in videos.items()}
    assert len(latents) == 4
    for site in (*latents, "frames"):
        torch.testing.assert_close(drawn.nodes[site]["fn"].mean, at["drawn"].nodes[site]["fn"].mean)
    assert not torch.allclose(at["blank"].nodes["z_4"]["fn"].mean, at["drawn"].nodes["z_4"]["fn"].mean, atol=0.01)


def test_a_missing_frame_is_stood_in_for_by_its_expectation():
    model, guide = pair()
    frames = torch.rand(2, 3, *SHAPE)
    observed = torch.tensor([[True, False, True]] * 2)
    latents = guide.complete(frames, observed)
    context = model.prepare(frames, observed)
    state = None
    for step in range(2):
        state = model.after(*model.recur(step, state, context), latents[f"z_{step + 1}"])
    expected = model.decoder(torch.cat([state.code, state.output], -1))
    filled = frames.clone()
    filled[:, 1, 0] = expected.detach()
    stood_in, seen = (model.recur(2, state, model.prepare(*video))[0] for video in ((frames, observed), (filled,)))
    torch.testing.assert_close(stood_in, seen)
    with pytest.raises(ValueError, match="frame_shape: expected 1 channel, got 3"):
        VariationalRecurrentNetwork((3, 6, 6))
    with pytest.raises(ValueError, match="method: expected one of"):
        guide.complete(frames, method="smoothing")
