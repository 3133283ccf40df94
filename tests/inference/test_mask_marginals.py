"""These tests pin: which models integrate missing frames out is detected by trial."""

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.nn import PyroModule

from inference.predictive.mask_marginals import integrates_out
from tests.contracts.cases import CONTROL, SEQUENCES, TIME
from tests.contracts.registry import GUIDES, MODELS, build_guide, make_video, unsettle

EXACT = (
    "AttendInferRepeat",
    "ContinuousAttendInferRepeat",
    "DDPAE",
    "DeepMarkovModel",
    "DeepVariationalBayesFilter",
    "DisentangledStateSpaceModel",
    "SequentialAttendInferRepeat",
    "SpatioTemporalMixture",
    "WalkingPeople",
)


@pytest.mark.parametrize("name", sorted(GUIDES))
def test_which_models_integrate_missing_frames_out(name):
    """In a gap: those whose latents are drawn all the same; at the end: whatever is made of steps, and pixels alone."""
    model, guide = build_guide(name)
    unsettle(model)
    of = GUIDES[name].model
    frames, _, controls = make_video(MODELS[of].control_dim)
    if of.startswith("DynamicsFromPixels"):
        controls = torch.ones(SEQUENCES, TIME, CONTROL)
    found = []
    for steps in (slice(2, 4), slice(4, None)):
        held_out = torch.zeros(SEQUENCES, TIME, dtype=torch.bool)
        held_out[1:, steps] = True
        found.append(integrates_out(model, guide, (frames, ~held_out, controls), held_out))
    in_a_gap = of.startswith(EXACT) or of == "DynamicsFromPixels, states drawn"
    assert found == [in_a_gap, not of.startswith("RecurrentCodes")]


class FedBlanks(PyroModule):
    """Each frame depends on the previous one, which is black where it is missing."""

    def forward(self, frames, observed=None, controls=None):
        frames = torch.where(observed[:, :, None, None, None], frames, 0.0)
        before = torch.cat([torch.zeros_like(frames[:, :1]), frames[:, :-1]], 1).transpose(0, 1)
        with pyro.plate("sequences", len(frames), dim=-1), pyro.plate("time", frames.shape[1], dim=-2):
            law = dist.Normal(before, 1.0).to_event(3).mask(observed.T)
            pyro.sample("frames", law, obs=frames.transpose(0, 1))


class LeavesLatentsOut(PyroModule):
    """A chain of latents that loses a link's density where a frame is missing, though the next looks at its value."""

    def __init__(self, chained):
        super().__init__()
        self.chained = chained

    def forward(self, frames, observed=None, controls=None):
        path, before = [], torch.zeros(len(frames))
        with pyro.plate("sequences", len(frames), dim=-1):
            for step in range(frames.shape[1]):
                law = dist.Normal(before if self.chained else 0.0, 1.0).mask(observed[:, step])
                before = pyro.sample(f"z_{step}", law)
                path.append(before)
            mean = torch.stack(path)[..., None, None, None].expand(*frames.transpose(0, 1).shape)
            with pyro.plate("time", frames.shape[1], dim=-2):
                law = dist.Normal(mean, 1.0).to_event(3).mask(observed.T)
                pyro.sample("frames", law, obs=frames.transpose(0, 1))


def draws_each(frames, observed=None, controls=None):
    with pyro.plate("sequences", len(frames), dim=-1):
        for step in range(frames.shape[1]):
            pyro.sample(f"z_{step}", dist.Normal(0.0, 1.0).mask(observed[:, step]))


def draws_nothing(frames, observed=None, controls=None):
    pass


@pytest.mark.parametrize(
    ("model", "guide", "integrates"),
    [
        (FedBlanks(), draws_nothing, False),
        (LeavesLatentsOut(chained=True), draws_each, False),
        (LeavesLatentsOut(chained=False), draws_each, True),
    ],
)
def test_what_a_mask_takes_away_is_varied(model, guide, integrates):
    """Blank frames stay blank under the mask, and junk in a latent is the same junk in both runs: neither may hide."""
    frames, held_out = torch.zeros(3, 4, 1, 1, 1), torch.zeros(3, 4, dtype=torch.bool)
    held_out[:, 1] = True
    assert integrates_out(model, guide, (frames, ~held_out, None), held_out) is integrates
