"""Kalman guides: collapsed and joint bounds agree path by path, marginals are looser by the known gap."""

import math

import pyro
import pytest
import torch
from pyro import poutine
from pyro.infer import SVI, Trace_ELBO

from guides import KalmanGuide, RecurrentStateGuide
from guides.encoders import FrameEncoder
from pyro_models import KalmanVAE
from pyro_models.kalman_vae.mixed_linear_dynamics import MixedLinearDynamics


def pair(posterior, **options):
    torch.manual_seed(1)
    settings = {"frame_shape": (1, 4, 4), "code_dim": 2, "state_dim": 3, "num_components": 2, "decoder": "mlp"}
    model = KalmanVAE(**{**settings, **options}, marginalize_state=posterior == "collapsed").double()
    encoder = FrameEncoder((1, 4, 4), model.dynamics.code_dim, "mlp", variance_limit=0.03).double()
    if posterior == "recurrent":
        return model, RecurrentStateGuide(model, encoder=encoder, hidden_dim=8).double()
    return model, KalmanGuide(model, posterior, encoder=encoder)


def frames_and_gap():
    torch.manual_seed(2)
    frames = (torch.rand(5, 7, 1, 4, 4) > 0.5).double()
    observed = torch.ones(5, 7, dtype=torch.bool)
    observed[:, 3:5] = False
    return frames, observed


def log_weights(model, guide, *args):
    """log p(x, latents) - log q(latents | x) of one draw, per sequence."""
    guide_trace = poutine.trace(guide).get_trace(*args)
    model_trace = poutine.trace(poutine.replay(model, guide_trace)).get_trace(*args)
    guide_trace.compute_log_prob()
    model_trace.compute_log_prob()
    total = model_trace.nodes["frames"]["log_prob"].sum(0)
    for site in guide_trace.stochastic_nodes:
        if site in model_trace.nodes and site != "sequences":
            total = total + model_trace.nodes[site]["log_prob"] - guide_trace.nodes[site]["log_prob"]
    return total, guide_trace


@pytest.mark.parametrize("gap", [False, True])
def test_joint_and_collapsed_weights_agree_path_by_path(gap):
    frames, observed = frames_and_gap()
    args = (frames, observed) if gap else (frames,)
    joint, joint_guide = pair("joint")
    collapsed, collapsed_guide = pair("collapsed")
    for _ in range(3):
        weights, trace = log_weights(joint, joint_guide, *args)
        replayed, _ = log_weights(collapsed, poutine.replay(collapsed_guide, trace=trace), *args)
        torch.testing.assert_close(weights, replayed, rtol=1e-9, atol=1e-7)


class PointEncoder(torch.nn.Module):
    """Codes that are known: the encoder of the gap's oracle."""

    def __init__(self, codes):
        super().__init__()
        self.codes = codes

    def forward(self, frames):
        return self.codes, torch.full_like(self.codes, 1e-12)


def constant_velocity(num_frames, observed):
    """State (position, velocity) in two dimensions, unit step; codes are positions."""
    dynamics = MixedLinearDynamics(2, 4, 1).double()
    eye, zero = torch.eye(2, dtype=torch.float64), torch.zeros(2, 2, dtype=torch.float64)
    with torch.no_grad():
        dynamics.transition_matrices.copy_(torch.cat([torch.cat([eye, eye], 1), torch.cat([zero, eye], 1)])[None])
        dynamics.emission_matrices.copy_(torch.cat([eye, zero], 1)[None])
        dynamics.log_transition_variance.fill_(math.log(0.08))
        dynamics.log_emission_variance.fill_(math.log(0.03))
    step = torch.arange(num_frames, dtype=torch.float64)
    codes = torch.stack([step, -step / 2], -1)[None]
    return dynamics, codes, torch.tensor(observed)[None]


@pytest.mark.parametrize(
    ("num_frames", "missing", "gap"),
    [(5, [], 2.5983894889), (5, [2, 3], 5.1838105694), (20, list(range(4, 16)), 282.78), (20, [], 7.40)],
)
def test_product_of_marginals_is_looser_by_the_known_gap(num_frames, missing, gap):
    """KL(prod_t p(z_t | a) || p(z | a)) in nats, by the mean of log q - log p over draws: within 5 standard errors."""
    observed = [step not in missing for step in range(num_frames)]
    dynamics, codes, observed = constant_velocity(num_frames, observed)
    chain = dynamics.condition(codes, observed)
    marginals, joint = chain.smoothed_marginals(codes), chain.posterior(codes)
    draws = marginals.sample(torch.Size([20_000]))
    penalty = (marginals.log_prob(draws) - joint.log_prob(draws)).squeeze(-1)
    error = penalty.std().item() / math.sqrt(20_000)
    assert penalty.mean().item() == pytest.approx(gap, abs=5 * error + 0.01)
    joint_draws = joint.rsample(torch.Size([3]))
    identity = chain.joint_log_prob(codes, joint_draws) - joint.log_prob(joint_draws) - chain.log_prob(codes)
    assert identity.abs().max() < 1e-7


@pytest.mark.slow
def test_bounds_are_ordered():
    """E[joint] = collapsed >= E[marginals], and a recurrent network does no better than the exact posterior."""
    frames, observed = frames_and_gap()
    means = {}
    for posterior in ("joint", "collapsed", "marginals", "recurrent"):
        model, guide = pair(posterior)
        with torch.no_grad():
            draws = torch.stack([log_weights(model, guide, frames, observed)[0] for _ in range(100)])
        means[posterior] = draws.mean().item()
    assert means["joint"] == pytest.approx(means["collapsed"], abs=1.0)
    assert means["marginals"] < means["joint"] - 1.0
    assert means["recurrent"] < means["joint"] - 1.0


@pytest.mark.slow
@pytest.mark.ci
@pytest.mark.parametrize("posterior", ["collapsed", "joint", "marginals", "recurrent"])
def test_trains_under_plain_svi(posterior):
    frames, observed = frames_and_gap()
    model, guide = pair(posterior)
    optimizer = pyro.optim.Adam({"lr": 0.01})
    svi = SVI(model, guide, optimizer, Trace_ELBO(num_particles=2, vectorize_particles=True, max_plate_nesting=2))
    losses = [svi.step(frames, observed) for _ in range(60)]
    assert sum(losses[-10:]) / 10 < 0.9 * losses[0]


def test_completion_keeps_what_is_seen_and_infers_the_rest():
    frames, observed = frames_and_gap()
    model, guide = pair("joint")
    everything = guide.complete(frames)
    for method in guide.completion_methods:
        completed = guide.complete(frames, observed, method=method)
        assert completed["a"].shape == (5, 7, 2)
        assert completed["z"].shape == (5, 7, 3)
        torch.testing.assert_close(completed["a"][observed], everything["a"][observed])
    smoothed, filtered = (guide.complete(frames, observed, method=method)["a"] for method in guide.completion_methods)
    assert not torch.allclose(smoothed[~observed], filtered[~observed])
    tail = torch.arange(7).expand(5, 7) < 4
    smoothed, filtered = (guide.complete(frames, tail, method=method)["a"] for method in guide.completion_methods)
    torch.testing.assert_close(smoothed, filtered)


def test_completion_draws_have_the_moments_of_the_smoother():
    """Means of 4,000 draws within 5 standard errors of the posterior means (encoder noise made negligible)."""
    frames, observed = frames_and_gap()
    model, _ = pair("joint")
    codes = torch.randn(5, 7, 2, dtype=torch.float64)
    guide = KalmanGuide(model, "joint", encoder=PointEncoder(codes))
    mean = guide.complete(frames, observed)
    draws = guide.complete(frames, observed, num_samples=4_000)
    assert draws["a"].shape == (4_000, 1, 5, 7, 2)
    for site in ("a", "z"):
        spread = draws[site].std(0).squeeze(0)
        error = (draws[site].mean(0).squeeze(0) - mean[site]).abs()
        assert (error <= 5 * spread / math.sqrt(4_000) + 1e-5).all()


def test_further_rounds_reach_a_fixed_point_of_the_mixture():
    """With equal components the weights do not matter and a second round changes nothing; with others it does."""
    frames, observed = frames_and_gap()
    model, guide = pair("collapsed")
    with torch.no_grad():
        model.dynamics.emission_matrices.add_(torch.randn_like(model.dynamics.emission_matrices))
    once, twice = (guide.complete(frames, observed, rounds=rounds)["a"] for rounds in (1, 2))
    assert not torch.allclose(once[~observed], twice[~observed])
    with torch.no_grad():
        for matrices in (model.dynamics.emission_matrices, model.dynamics.transition_matrices):
            matrices.copy_(matrices[:1].expand_as(matrices).clone())
    once, twice = (guide.complete(frames, observed, rounds=rounds)["a"] for rounds in (1, 2))
    torch.testing.assert_close(once, twice)


def test_errors_name_the_argument():
    model, guide = pair("collapsed")
    frames, observed = frames_and_gap()
    with pytest.raises(ValueError, match="posterior: expected 'collapsed', 'joint' or 'marginals', got 'exact'"):
        KalmanGuide(model, "exact")
    with pytest.raises(ValueError, match="posterior: 'joint' needs a model with marginalize_state=False, got .*=True"):
        KalmanGuide(model, "joint")
    with pytest.raises(ValueError, match="model: expected marginalize_state=False"):
        RecurrentStateGuide(model)
    with pytest.raises(ValueError, match=r"method: expected one of \('smoothing', 'filtering'\), got 'guessing'"):
        guide.complete(frames, observed, method="guessing")
    with pytest.raises(ValueError, match="method: 'filtering' gives means of one pass"):
        guide.complete(frames, observed, method="filtering", num_samples=3)


def test_model_parameters_belong_to_the_model_only():
    model, guide = pair("joint")
    assert not {id(parameter) for parameter in model.parameters()} & {id(parameter) for parameter in guide.parameters()}
    assert all(name.startswith("encoder.") for name in guide.state_dict())
