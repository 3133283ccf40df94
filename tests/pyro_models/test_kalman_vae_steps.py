"""These tests pin: a Kalman VAE run step by step is the same model, and filters estimate its evidence without bias.

With one linear dynamics, a linear decoder and Gaussian frames the evidence is that of a linear-Gaussian state-space
model, which the dense joint gives.
"""

import pyro
import pytest
import torch
from pyro import poutine
from torch import nn

from guides import KalmanGuide
from guides.encoders import FrameEncoder
from inference import FIVO, IWAE, Pilot, log_evidence
from inference.estimators.particle_filter import ParticleFilter, Resampling
from inference.programs.traces import find_particle_dim
from pyro_models import KalmanVAE
from tests.oracles.joint_gaussian import joint_gaussian
from tests.oracles.monte_carlo import assert_mean_within

SEQUENCES, TIME, SIDE = 3, 6, 2


class LinearDecoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.map = nn.Linear(2, SIDE * SIDE)

    def forward(self, codes):
        return self.map(codes).unflatten(-1, (1, SIDE, SIDE))


class LinearEncoder(nn.Module):
    """The frame's own posterior under a flat prior, but shifted and too wide, so that weights vary."""

    def __init__(self, decoder, noise):
        super().__init__()
        weight = decoder.map.weight.detach()
        precision = weight.mT @ (weight / noise[:, None])
        self.register_buffer("gain", torch.linalg.solve(precision, (weight / noise[:, None]).mT))
        self.register_buffer("offset", decoder.map.bias.detach())
        self.spread = nn.Parameter(1.5 * torch.linalg.inv(precision).diagonal())
        self.shrink = nn.Parameter(torch.tensor(0.9, dtype=torch.float64))

    def forward(self, frames):
        mean = self.shrink * (frames.flatten(2) - self.offset) @ self.gain.mT
        return mean, self.spread.expand_as(mean)


def pair(num_components=2, control_dim=0):
    torch.manual_seed(3)
    model = KalmanVAE(
        (1, SIDE, SIDE),
        state_dim=3,
        num_components=num_components,
        decoder=LinearDecoder(),
        likelihood="gaussian",
        control_dim=control_dim,
    ).double()
    with torch.no_grad():
        model.dynamics.emission_matrices.normal_()
        model.dynamics.transition_matrices.add_(0.2 * torch.randn_like(model.dynamics.transition_matrices))
    guide = KalmanGuide(model, encoder=LinearEncoder(model.decoder, pixel_noise(model)))
    return model, guide


def pixel_noise(model):
    return model.likelihood(torch.zeros(1, SIDE, SIDE, dtype=torch.float64)).base_dist.scale.detach().flatten() ** 2


def video(control_dim=0, missing=True):
    generator = torch.Generator().manual_seed(5)
    frames = torch.randn(SEQUENCES, TIME, 1, SIDE, SIDE, dtype=torch.float64, generator=generator)
    observed = torch.ones(SEQUENCES, TIME, dtype=torch.bool)
    if missing:
        observed[0, 2:4] = observed[1, 0] = observed[2, -1] = False
        frames = torch.where(observed[:, :, None, None, None], frames, torch.nan)
    controls = torch.randn(SEQUENCES, TIME, control_dim, dtype=torch.float64, generator=generator)
    return frames, observed if missing else None, controls if control_dim else None


@pytest.mark.parametrize("mixture", ["lstm", "fifo"])
@pytest.mark.parametrize("control_dim", [0, 2])
@pytest.mark.parametrize("missing", [False, True])
@pytest.mark.parametrize("num_particles", [1, 4])
def test_the_steps_are_the_whole(num_particles, missing, control_dim, mixture):
    torch.manual_seed(0)
    model = KalmanVAE((1, 4, 4), state_dim=3, decoder="mlp", control_dim=control_dim, mixture=mixture).double()
    guide = KalmanGuide(model, encoder=FrameEncoder((1, 4, 4), 2, "mlp")).double()
    frames = (torch.rand(SEQUENCES, TIME, 1, 4, 4) > 0.5).double()
    _, observed, controls = video(control_dim, missing)
    args = (frames, observed, controls)
    weights, codes = [], []
    ParticleFilter(num_particles, Resampling(threshold=0.0)).run(
        model,
        guide,
        args,
        watch=lambda step: (
            weights.append(step.traces.log_joint()),
            codes.append(next(n for name, n in step.traces.guide.nodes.items() if name.startswith("a_"))["value"]),
        ),
    )
    path = torch.stack(codes, -2)
    assert path.shape == ((4, 1) if num_particles > 1 else ()) + (SEQUENCES, TIME, 2)
    with pyro.plate("particles", num_particles, dim=-3) if num_particles > 1 else poutine.block():
        trace = poutine.trace(poutine.condition(model, {"a": path})).get_trace(*args)
    trace.compute_log_prob()
    whole = trace.nodes["a"]["log_prob"].reshape(num_particles, SEQUENCES)
    whole = whole + trace.nodes["frames"]["log_prob"].reshape(num_particles, TIME, SEQUENCES).sum(1)
    torch.testing.assert_close(sum(weights), whole)
    assert bool(torch.isfinite(whole).all())


@pytest.mark.slow
@pytest.mark.ci
@pytest.mark.parametrize("missing", [False, True])
@pytest.mark.parametrize("pilot", [None, Pilot(32, 2)])
def test_filters_are_unbiased_for_the_evidence_of_the_dense_joint(pilot, missing):
    model, guide = pair(num_components=1)
    frames, observed, _ = video(missing=missing)
    exact = dense_evidence(model, frames, observed)
    result = log_evidence(
        model, guide, frames, observed, num_particles=4000, particles_per_chunk=1000, method=FIVO(8), pilot=pilot
    )
    ratios = (result.log_weights - exact).exp()
    assert ratios.std() > 0.01
    assert_mean_within(ratios, torch.ones(SEQUENCES, dtype=torch.float64))


def dense_evidence(model, frames, observed):
    dynamics = model.dynamics
    weight = model.decoder.map.weight.detach()
    noise = pixel_noise(model)
    emission = dynamics.emission_matrices[0].detach()
    covariance = weight @ dynamics.emission_covariance.detach() @ weight.mT + torch.diag(noise)
    result = []
    for row in range(SEQUENCES):
        joint = joint_gaussian(
            initial_mean=torch.zeros(3, dtype=torch.float64),
            initial_covariance=dynamics.initial_covariance.detach(),
            transition_matrix=dynamics.transition_matrices.detach(),
            transition_offset=None,
            transition_covariance=dynamics.transition_covariance.detach()[None],
            emission_matrix=(weight @ emission)[None],
            emission_covariance=covariance[None],
            emission_offset=model.decoder.map.bias.detach()[None],
            time=TIME,
        )
        seen = torch.ones(TIME, dtype=torch.bool) if observed is None else observed[row]
        result.append(joint.log_prob(frames[row].flatten(1), seen))
    return torch.stack(result)


def test_pilots_mend_a_guide_that_is_beside_the_posterior():
    model, guide = pair(num_components=1)
    guide.encoder.shrink.data.fill_(0.5)
    frames, observed, _ = video()
    spreads = [
        log_evidence(model, guide, frames, observed, num_particles=50, method=FIVO(50), pilot=pilot)
        .log_weights.std(0)
        .mean()
        for pilot in (None, Pilot(200, 3))
    ]
    assert spreads[1] < 0.5 * spreads[0]


def test_fivo_trains_a_kalman_vae():
    model, guide = pair()
    frames, observed, _ = video()
    FIVO(4).differentiable_loss(model, guide, frames, observed).backward()
    assert all(bool((p.grad != 0).any()) for p in guide.parameters())
    assert bool((model.dynamics.transition_matrices.grad != 0).any())


def test_a_model_with_states_drawn_has_no_steps():
    model = KalmanVAE((1, 4, 4), decoder="mlp", marginalize_state=False)
    guide = KalmanGuide(model, "joint", encoder=FrameEncoder((1, 4, 4), 2, "mlp"))
    with pytest.raises(ValueError, match="expected marginalize_state=True, since the site 'z' is a whole path"):
        FIVO(3).loss(model, guide, torch.rand(2, 3, 1, 4, 4).round())


def test_a_particle_plate_is_found_and_iwae_still_takes_the_whole():
    model, guide = pair()
    assert find_particle_dim(model, guide, video()) == -3
    assert torch.isfinite(torch.tensor(IWAE(3).loss(model, guide, *video())))
