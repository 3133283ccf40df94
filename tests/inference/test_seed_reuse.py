"""These tests pin: one seed may be given to simulation, evidence and calibration without a wrong number.

With one stream for all, the noise behind a simulated video would be drawn again as the first particle: a guide that is
the prior would then draw the truth, and a "lower bound" would lie nats above the evidence.
"""

import pyro
import pyro.distributions as dist
import pytest
import torch

from inference import calibrate, log_evidence
from inference.programs.simulation import simulate

SEQUENCES = 400


def conjugate(d):
    """z ~ N(0, I), x ~ N(z, I / 4), so x ~ N(0, 5/4 I); the prior as guide."""

    def latent(sequences):
        return pyro.sample("z", dist.Normal(torch.zeros(sequences, d), 1.0).to_event(1))

    def model(frames, observed=None, controls=None):
        with pyro.plate("sequences", frames.shape[0], dim=-1):
            pyro.sample("frames", dist.Normal(latent(frames.shape[0]), 0.5).to_event(1), obs=frames)

    def guide(frames, observed=None, controls=None):
        with pyro.plate("sequences", frames.shape[0], dim=-1):
            latent(frames.shape[0])

    return model, guide


@pytest.mark.parametrize(("d", "num_particles"), [(2, 1), (8, 200)])
def test_a_lower_bound_on_videos_of_the_same_seed_lies_below_the_truth(d, num_particles):
    model, guide = conjugate(d)
    frames, _ = simulate(model, torch.zeros(SEQUENCES, d), seed=0)
    estimate = log_evidence(model, guide, frames, num_particles=num_particles, seed=0).log_evidence
    truth = dist.Normal(0.0, 1.25**0.5).log_prob(frames.double()).sum(-1)
    excess = estimate - truth
    assert excess.mean() < 5 * excess.std() / SEQUENCES**0.5


@pytest.mark.parametrize("d", [2, 4])
def test_an_exact_guide_is_calibrated_with_the_seed_of_its_simulation(d):
    model, _ = conjugate(d)

    def exact(frames, observed=None, controls=None):
        with pyro.plate("sequences", frames.shape[0], dim=-1):
            pyro.sample("z", dist.Normal(0.8 * frames, 0.2**0.5).to_event(1))

    alarms = 0
    for seed in range(20):
        calibration = calibrate(model, exact, torch.zeros(300, d), num_draws=10, seed=seed)
        alarms += calibration.verdicts()["z"] != "calibrated"
    assert alarms <= 3  # of 20 at a rate of 0.01: four have a probability of 4e-5
