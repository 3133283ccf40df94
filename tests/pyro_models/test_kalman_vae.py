"""The Kalman VAE: its two sites are the joint it states, missing frames are never read, shapes and errors."""

import math

import pyro
import pytest
import torch
from pyro import poutine
from pyro.infer import Predictive
from torch.distributions import Bernoulli, Normal

from pyro_models import KalmanVAE


def tiny(**options):
    torch.manual_seed(1)
    settings = {"frame_shape": (1, 4, 4), "code_dim": 2, "state_dim": 3, "num_components": 2, "decoder": "mlp"}
    model = KalmanVAE(**{**settings, **options}).double()
    with torch.no_grad():
        for parameter in model.dynamics.parameters():
            if parameter.requires_grad:
                parameter.add_(0.2 * torch.randn_like(parameter))
    return model


@pytest.fixture
def frames():
    return (torch.rand(5, 7, 1, 4, 4) > 0.5).double()


def draws(model, *args):
    """The model's own draw of its latents, and its trace."""
    trace = poutine.trace(model).get_trace(*args)
    trace.compute_log_prob()
    return trace


@pytest.mark.parametrize("control_dim", [0, 2])
def test_joint_is_the_product_of_its_conditionals(frames, control_dim):
    """p(a) p(z | a) p(x | a) is N(z_1) prod N(z_t | z_{t-1}) prod N(a_t | z_t) prod Bernoulli(x_t | a_t)."""
    model = tiny(marginalize_state=False, control_dim=control_dim)
    controls = torch.randn(5, 7, 2, dtype=torch.float64) if control_dim else None
    trace = draws(model, frames, None, controls)
    codes, states = trace.nodes["a"]["value"], trace.nodes["z"]["value"]
    dynamics = model.dynamics
    weights = dynamics.weights(codes)
    expected = Normal(0.0, math.sqrt(20)).log_prob(states[:, 0]).sum(-1)
    transition_scale, emission_scale = (
        (0.5 * variance).exp() for variance in (dynamics.log_transition_variance, dynamics.log_emission_variance)
    )
    for step in range(7):
        matrix = (weights[:, step, :, None, None] * dynamics.emission_matrices).sum(1)
        expected += Normal((matrix @ states[:, step, :, None])[..., 0], emission_scale).log_prob(codes[:, step]).sum(-1)
        if step:
            matrix = (weights[:, step, :, None, None] * dynamics.transition_matrices).sum(1)
            mean = (matrix @ states[:, step - 1, :, None])[..., 0]
            if control_dim:
                matrix = (weights[:, step, :, None, None] * dynamics.control_matrices).sum(1)
                mean = mean + (matrix @ controls[:, step, :, None])[..., 0]
            expected += Normal(mean, transition_scale).log_prob(states[:, step]).sum(-1)
        logits = model.decoder(codes[:, step])
        expected += Bernoulli(logits=logits).log_prob(frames[:, step]).sum((1, 2, 3))
    total = trace.nodes["a"]["log_prob"] + trace.nodes["z"]["log_prob"] + trace.nodes["frames"]["log_prob"].sum(0)
    torch.testing.assert_close(total, expected)


def test_sites_plates_and_shapes(frames):
    trace = draws(tiny(marginalize_state=False), frames)
    assert trace.nodes["a"]["value"].shape == (5, 7, 2)
    assert trace.nodes["z"]["value"].shape == (5, 7, 3)
    assert trace.nodes["frames"]["log_prob"].shape == (7, 5)
    plates = {name: [plate.name for plate in trace.nodes[name]["cond_indep_stack"]] for name in ("a", "z", "frames")}
    assert plates == {"a": ["sequences"], "z": ["sequences"], "frames": ["sequences", "time"]}
    assert "z" not in draws(tiny(), frames).nodes


@pytest.mark.parametrize("marginalize_state", [True, False])
def test_particles_are_independent_copies(frames, marginalize_state):
    model = tiny(marginalize_state=marginalize_state)
    singles = [draws(model, frames) for _ in range(3)]
    sites = ["a"] if marginalize_state else ["a", "z"]
    values = {site: torch.stack([single.nodes[site]["value"] for single in singles])[:, None] for site in sites}

    def with_particles():
        with pyro.plate("particles", 3, dim=-3):
            poutine.condition(model, values)(frames)

    trace = draws(with_particles)
    for index, single in enumerate(singles):
        for site in sites:
            torch.testing.assert_close(trace.nodes[site]["log_prob"][index, 0], single.nodes[site]["log_prob"])
        torch.testing.assert_close(trace.nodes["frames"]["log_prob"][index], single.nodes["frames"]["log_prob"])


def test_missing_frames_carry_nothing(frames):
    model = tiny()
    observed = torch.rand(5, 7) > 0.4
    codes = torch.randn(5, 7, 2, dtype=torch.float64)
    conditioned = poutine.condition(model, {"a": codes})
    expected = draws(conditioned, frames, observed).log_prob_sum()
    frames[~observed] = math.nan
    assert torch.equal(draws(conditioned, frames, observed).log_prob_sum(), expected)
    only_seen = draws(conditioned, frames, observed).nodes["frames"]["log_prob"]
    assert (only_seen[~observed.T] == 0).all()


def test_prior_predictive_is_binary_video(frames):
    model = tiny(marginalize_state=False)
    draw = Predictive(poutine.uncondition(model), num_samples=6, parallel=True)(frames)
    assert draw["frames"].shape == (6, 7, 5, 1, 4, 4)
    assert set(draw["frames"].unique().tolist()) == {0.0, 1.0}


def test_gaussian_frames_learn_a_variance_per_pixel(frames):
    model = tiny(likelihood="gaussian")
    trace = draws(model, frames)
    (gradient,) = torch.autograd.grad(trace.log_prob_sum(), model.likelihood.scaled_log_excess)
    assert gradient.shape == (1, 4, 4)
    assert gradient.ne(0).all()


def test_parameter_count_of_the_reference():
    """144,452 with torch's second LSTM bias, less the encoder's 20,868, which is the guide's."""
    model = KalmanVAE(control_dim=1)
    learned = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    assert learned == 144_452 - 20_868


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((torch.zeros(5, 7, 4, 4),), r"frames: expected .* = \(\.\.\., \.\.\., 1, 4, 4\), got \(5, 7, 4, 4\)"),
        ((torch.zeros(5, 7, 1, 4, 5),), r"frames: expected .*got \(5, 7, 1, 4, 5\)"),
        ((torch.zeros(5, 7, 1, 4, 4, dtype=torch.bool),), "frames: expected floating point .*got torch.bool"),
        ((torch.zeros(5, 7, 1, 4, 4), torch.ones(7, 5) > 0), r"observed: expected bool .*\(5, 7\), got .*\(7, 5\)"),
        ((torch.zeros(5, 7, 1, 4, 4), torch.ones(5, 7)), "observed: expected bool .*got torch.float32"),
        ((torch.zeros(5, 7, 1, 4, 4), None, torch.zeros(5, 7, 1)), "controls: expected None.*control_dim=0"),
    ],
)
def test_wrong_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        tiny()(*arguments)


def test_controls_are_required_where_built_in():
    with pytest.raises(ValueError, match=r"controls: expected .* = \(5, 7, 2\), got None"):
        tiny(control_dim=2)(torch.zeros(5, 7, 1, 4, 4))
