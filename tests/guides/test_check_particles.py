"""These tests pin: a program that is right for one draw and wrong in a plate of particles is named, also where sizes
coincide so that every shape is right; a correct program is not named, whatever its rounding."""

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.nn import PyroModule
from torch import nn

from guides.check.guide import GuideMismatchError, check_guide
from guides.check.particles import NUM_PARTICLES

SEQUENCES = 4


def frames_of(time):
    return torch.rand(SEQUENCES, time, 1, 4, 4)


class Model(PyroModule):
    """Codes of a whole video, event (time, 2), which go into the plate of time to be decoded, and one level."""

    def layout(self, codes):
        """From (*particles, sequences, time, 2), with a 1 behind the particles, to (*particles, time, sequences, 2)."""
        return (codes.squeeze(-4) if codes.dim() > 3 else codes).transpose(-3, -2)

    def forward(self, frames, observed=None, controls=None):
        with pyro.plate("sequences", SEQUENCES, dim=-1):
            codes = pyro.sample("codes", dist.Normal(torch.zeros(frames.shape[1], 2), 1.0).to_event(2))
            level = pyro.sample("level", dist.Normal(0.0, 1.0))
            with pyro.plate("time", frames.shape[1], dim=-2):
                mean = (self.layout(codes).sum(-1) + level)[..., None, None, None]
                mean = mean.expand(*mean.shape[:-3], 1, 4, 4)
                pyro.sample("frames", dist.Normal(mean, 1.0).to_event(3), obs=frames.transpose(0, 1))


class Guide(PyroModule):
    """The distribution of the level depends on the drawn codes."""

    def __init__(self):
        super().__init__()
        self.net = nn.Linear(16, 2)

    def mean(self, frames):
        return self.net(frames.flatten(2))

    def codes_law(self, mean):
        return dist.Normal(mean, 0.5).to_event(2)

    def level_law(self, mean):
        return dist.Normal(mean, 1.0)

    def forward(self, frames, observed=None, controls=None):
        with pyro.plate("sequences", SEQUENCES, dim=-1):
            codes = pyro.sample("codes", self.codes_law(self.mean(frames)))
            pyro.sample("level", self.level_law(codes.mean((-1, -2))))


def only(model, guide, time=5):
    with pytest.raises(GuideMismatchError) as caught:
        check_guide(model, guide, frames_of(time))
    (found,) = caught.value.mismatches
    return found


@pytest.mark.parametrize("time", [NUM_PARTICLES, NUM_PARTICLES + 2])
def test_programs_that_broadcast_fit(time):
    check_guide(Model(), Guide(), frames_of(time))


class Transposed(Model):
    """Exchanges particles and time, as counting dims from the left does."""

    def layout(self, codes):
        return codes.transpose(-3, -2) if codes.dim() == 3 else codes.squeeze(-4).permute(2, 0, 1, 3)


def test_sizes_that_coincide_hide_nothing():
    """With as many particles as time steps all shapes are right."""
    found = only(Transposed(), Guide(), NUM_PARTICLES)
    assert found.site == "frames"
    assert (
        found.expected == f"the same log density of the model in a plate of {NUM_PARTICLES} particles as for each alone"
    )
    in_plate, alone = (float(part.split()[0]) for part in found.got.split(", "))
    assert abs(in_plate - alone) > 0.1
    assert found.mend.startswith("count dims from the right")


@pytest.mark.parametrize("time", [1, NUM_PARTICLES, NUM_PARTICLES + 2])
def test_a_transpose_that_takes_the_plate_of_time_for_nothing(time):
    """(particles, 1, sequences, time, 2) with sequences and time exchanged, as is right for (sequences, time, 2)."""

    class Plain(Model):
        def layout(self, codes):
            return codes.transpose(-3, -2)

    found = only(Plain(), Guide(), time)
    assert found.site == "frames"
    assert "3 particles" in found.expected


def test_a_guide_that_mixes_particles_up_is_named_by_the_site_that_it_scores_wrongly():
    guide = Guide()
    guide.level_law = lambda mean: dist.Normal(mean if mean.dim() == 1 else mean.flip(0), 1.0)
    found = only(Model(), guide)
    assert found.site == "level"
    assert found.expected.startswith("the same log density of the guide")


def test_a_point_mass_is_compared_by_its_place():
    guide = Guide()
    guide.level_law = dist.Delta
    check_guide(Model(), guide, frames_of(5))
    guide.level_law = lambda mean: dist.Delta(mean if mean.dim() == 1 else mean.flip(0))
    found = only(Model(), guide)
    assert found.site == "level"
    assert found.expected.startswith("the same draw of the guide")


def test_dropout_and_noise_of_a_program_s_own_are_no_mixing_up():
    class Drops(Guide):
        def __init__(self):
            super().__init__()
            self.drop = nn.Dropout(0.5)

        def mean(self, frames):
            return self.net(self.drop(frames.flatten(2)))

    class Noisy(Guide):
        def mean(self, frames):
            return super().mean(frames) + 0.1 * torch.randn(2)

    for guide in (Drops(), Noisy()):
        guide.train()
        check_guide(Model(), guide, frames_of(5))
        assert all(module.training for module in guide.modules())


def test_small_scales_amplify_rounding_and_are_no_mixing_up():
    guide = Guide()
    guide.codes_law = lambda mean: dist.Normal(mean + 3.0, 1e-4).to_event(2)
    check_guide(Model(), guide, frames_of(5))
