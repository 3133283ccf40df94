"""One entry of a slot's latent moves by the prior's standard deviations, and nothing else does."""

import math

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.nn import PyroModule

from guides import NoLatentsGuide
from inference.programs.decoding import decode_latents
from inference.queries import reconstruct
from inference.queries.latent_walks import Walk, walk_latent
from pyro_models import DeepMarkovModel, SlotMemory
from pyro_models.components.scene import Decomposition
from tests.guides.case_spatio_temporal_refinement import refined
from tests.pyro_models.case_relational_nem import MODELS as RELATIONAL
from tests.pyro_models.case_spatio_temporal_mixture import LATENT, UNITS, mixture

FRAMES = torch.rand(1, 3, 1, 8, 8, generator=torch.Generator().manual_seed(0))
MEMORIES = {"model": SlotMemory(LATENT, UNITS, relations=2), "guide": "guide", "none": None}


class TwoSlots(PyroModule):
    """Two slots: z_1 ~ N(1, diag(2, 4)^2) are the brightness of a slot and the logit of its mask."""

    frame_shape, control_dim = (1, 2, 2), 0
    scales = torch.tensor([2.0, 4.0])

    def __init__(self, distribution=dist.Normal):
        super().__init__()
        self.distribution = distribution

    def forward(self, frames, observed=None, controls=None):
        with pyro.plate("sequences", len(frames), dim=-1):
            with pyro.plate("objects", 2, dim=-2):
                law = self.distribution(torch.ones(2, len(frames), 2), self.scales).to_event(1)
                latent = pyro.sample("z_1", law)
            with pyro.plate("time", 1, dim=-3):
                mean = self.decompose({"z_1": latent}).composite.transpose(0, 1).unsqueeze(-5)
                pyro.sample("frames", dist.Normal(mean, 1.0).to_event(3), obs=frames.unsqueeze(0).transpose(1, 2))

    def decompose(self, latents):
        latent = latents["z_1"].transpose(0, 1).unsqueeze(1)  # (sequences, time, slots, 2)
        means = latent[..., 0, None, None, None].expand(*latent.shape[:-1], *self.frame_shape)
        return Decomposition(means, latent[..., 1, None, None].softmax(-3).expand(*latent.shape[:-1], 2, 2))


class Reading(PyroModule):
    """q(z_1) = N((3, 1), 0.5^2) for the first slot and N((1, 0), 4^2) for the second."""

    completion_methods = ("mean",)
    mean, scale = torch.tensor([[[3.0, 1.0]], [[1.0, 0.0]]]), torch.tensor([0.5, 4.0])[:, None, None]

    def forward(self, frames, observed=None, controls=None):
        with pyro.plate("sequences", len(frames), dim=-1), pyro.plate("objects", 2, dim=-2):
            pyro.sample("z_1", dist.Normal(self.mean.expand(2, len(frames), 2), self.scale).to_event(1))

    def complete(self, frames, observed=None, controls=None, *, method=None, num_samples=None):
        return {"z_1": self.mean.expand(2, len(frames), 2)}


def divergence(mean, scale, prior_scale):
    return math.log(prior_scale / scale) + (scale**2 + (mean - 1) ** 2) / (2 * prior_scale**2) - 0.5


def test_entries_are_sorted_by_their_divergence_from_the_prior():
    frames = torch.zeros(1, 1, 1, 2, 2)
    first = {0: divergence(3, 0.5, 2), 1: divergence(1, 0.5, 4)}
    second = {0: divergence(1, 4, 2), 1: divergence(0, 4, 4)}
    assert sum(first.values()) > sum(second.values())
    found = walk_latent(TwoSlots(), Reading(), frames)
    assert (found.site, found.slot, found.entries) == ("z_1", 0, (1, 0))
    assert found.nats.tolist() == pytest.approx([first[1], first[0]])
    other = walk_latent(TwoSlots(), Reading(), frames, walk=Walk(slot=1, most_entries=1))
    assert (other.slot, other.entries) == (1, (0,))
    assert other.nats.tolist() == pytest.approx([second[0]])
    assert other.decomposition.means.shape[:2] == (1, 7)


@pytest.mark.parametrize("memory", MEMORIES)
def test_frames_are_those_of_the_model_at_moved_latents(memory):
    torch.manual_seed(0)
    model = mixture(MEMORIES[memory])
    guide = refined(model)
    found = walk_latent(model, guide, FRAMES, walk=Walk(frame=2, slot=1, most_entries=2, reach=3.0, num_places=3))
    assert found.site == "z_2"
    assert found.distances.tolist() == [-3.0, 0.0, 3.0]
    assert (found.nats.diff() <= 0).all()
    video = (FRAMES[:, :2], None, None)
    answer = reconstruct(model, guide, *video)
    with torch.no_grad():
        state = model.after(answer.latents["z_1"], *model.remembered(None, model.prepare(*video)))
        output = answer.latents["h_1"].chunk(2, -1)[0] if memory == "guide" else state.output
        scale = model.prior(output).stddev
        for row, entry in enumerate(found.entries):
            for column, distance in enumerate(found.distances):
                moved = {name: value.clone() for name, value in answer.latents.items()}
                moved["z_2"][1, 0, entry] += distance * scale[1, 0, entry]
                expected = decode_latents(model, video, moved, 3).frames[0, 1]
                torch.testing.assert_close(found.decomposition.composite[row, column], expected)
    torch.testing.assert_close(found.decomposition.composite[:, 1], answer.frames[:, 1].expand(2, -1, -1, -1))
    assert (found.decomposition.composite[:, 2] - answer.frames[:, 1]).abs().amax((1, 2, 3)).min() > 1e-5


def test_what_cannot_be_walked_is_refused():
    torch.manual_seed(0)
    model = mixture(None)
    guide = refined(model)
    for frames, walk, message in (
        (FRAMES, {"frame": 4}, "frame: expected 1 to 3, the number of frames, got 4"),
        (FRAMES, {"frame": 0}, "frame: expected 1 to 3, the number of frames, got 0"),
        (FRAMES, {"slot": 3}, "slot: expected 0 to 2, got 3"),
        (FRAMES, {"slot": -1}, "slot: expected 0 to 2, got -1"),
        (FRAMES, {"site": "a"}, "site: expected a latent of single slots .* got 'a_1' where the latents are z_1$"),
        (FRAMES.expand(2, 3, 1, 8, 8), {}, r"frames: expected one video, .* got \(2, 3, 1, 8, 8\); select one"),
        (FRAMES[0], {}, r"frames: expected \(sequences, .* got \(3, 1, 8, 8\); a single video needs"),
    ):
        with pytest.raises(ValueError, match=message):
            walk_latent(model, guide, frames, walk=Walk(**walk))
    relational = RELATIONAL["RelationalNeuralEM"].build()
    with pytest.raises(ValueError, match="site: expected a latent .* got 'z_1' where the latents are none"):
        walk_latent(relational, NoLatentsGuide(relational), FRAMES.round())
    with pytest.raises(ValueError, match="site: expected a Gaussian, .* got 'z_1' with Independent in TwoSlots"):
        walk_latent(TwoSlots(dist.Laplace), Reading(), torch.zeros(1, 1, 1, 2, 2))
    with pytest.raises(TypeError, match="model: expected one whose slots share .* decompose, got DeepMarkovModel"):
        walk_latent(DeepMarkovModel((1, 8, 8), hidden_dim=4), guide, FRAMES)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"most_entries": 0}, "most_entries: expected at least 1, got 0"),
        ({"reach": 0.0}, "reach: expected a positive number of standard deviations, got 0.0"),
        ({"num_places": 6}, "num_places: expected an odd number from 3 on, .* got 6"),
        ({"num_places": 1}, "num_places: expected an odd number from 3 on, .* got 1"),
    ],
)
def test_walks_that_lead_nowhere_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Walk(**options)
