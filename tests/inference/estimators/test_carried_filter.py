"""A filter that is handed frame after frame is the particle filter of the whole video; sequences come and go."""

import pytest
import torch

from guides import DiscoveryPropagationGuide
from inference.estimators.carried_filter import CarriedFilter, Particles
from inference.estimators.particle_filter import ParticleFilter, Resampling
from pyro_models import SequentialAttendInferRepeat
from pyro_models.components.glimpse_networks import GlimpseNetworks

FRAMES = 4


@pytest.fixture(scope="module")
def pair():
    torch.manual_seed(0)
    networks = GlimpseNetworks("mlp", 8)
    model = SequentialAttendInferRepeat(
        (1, 10, 12), num_slots=2, what_dim=3, glimpse_size=(4, 3), networks=networks, units=8, context_units=4
    )
    return model, DiscoveryPropagationGuide(model, glance_units=6, propagation_bias=1.0)


def videos(number):
    return torch.rand(number, FRAMES, 1, 10, 12, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("threshold", [0.0, 0.6])
def test_frame_by_frame_it_is_the_filter_of_the_video(pair, threshold):
    """Same random numbers, same evidence, resampled or not."""
    frames, resampling = videos(3), Resampling(threshold=threshold)
    torch.manual_seed(2)
    with torch.no_grad():
        whole = ParticleFilter(6, resampling).run(pair[0], pair[1], (frames,))
    carried = CarriedFilter.of(pair[0], pair[1], 6, resampling)
    torch.manual_seed(2)
    particles, evidence, counted = None, torch.zeros(3), []
    for frame in frames.unbind(1):
        if particles is not None:
            before, (particles, ancestors) = particles, carried.resampled(particles)
            again = (particles.log_weights == 0).all(0) & (before.log_weights != 0).any(0)
            assert torch.equal(again, whole.resampled[len(counted) - 1])
            assert torch.equal(ancestors, whole.ancestors[len(counted) - 1])
            gathered = before.log_weights.logsumexp(0) - torch.tensor(6.0).log()
            evidence = evidence + torch.where(again, gathered, 0.0)
        particles = carried.step(frame, particles)
        counted.append(1 / particles.shares.square().sum(0))
    assert particles is not None
    evidence = evidence + particles.log_weights.logsumexp(0) - torch.tensor(6.0).log()
    torch.testing.assert_close(evidence, whole.log_evidence, rtol=1e-5, atol=1e-3)
    torch.testing.assert_close(torch.stack(counted), whole.effective_sample_size, rtol=1e-4, atol=1e-3)


def test_sequences_are_picked_and_joined(pair):
    carried = CarriedFilter.of(pair[0], pair[1], 4)
    first, second = (carried.step(videos(number)[:, 0], None) for number in (3, 2))
    both = carried.joined(first, second)
    assert both.log_weights.shape == (4, 5)
    back = carried.select(both, torch.tensor([4, 0]))
    where = back.states[0].slots.where
    torch.testing.assert_close(where[..., 0, :, :], second.states[0].slots.where[..., 1, :, :])
    torch.testing.assert_close(where[..., 1, :, :], first.states[0].slots.where[..., 0, :, :])
    torch.testing.assert_close(back.log_weights[:, 1], first.log_weights[:, 0])
    assert isinstance(carried.step(videos(2)[:, 1], back), Particles)


def test_wrong_pairs_are_refused(pair):
    with pytest.raises(ValueError, match="num_particles: expected at least 2, got 1"):
        CarriedFilter.of(pair[0], pair[1], 1)
    with pytest.raises(ValueError, match="guide: expected one that can be run step by step"):
        CarriedFilter.of(pair[0], torch.nn.Linear(1, 1), 4)
    with pytest.raises(ValueError, match="frames"):
        CarriedFilter.of(pair[0], pair[1], 2).step(torch.zeros(1, 1, 5, 5), None)
