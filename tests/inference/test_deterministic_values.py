"""These tests pin: what a model computes with `pyro.deterministic` is in answers of queries, and makes its scene."""

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.nn import PyroModule

from guides import NoLatentsGuide, describe_sites
from inference import queries
from inference.gallery.objects import ScenePictures
from inference.scores.score import Evaluated
from pyro_models import RelationalNeuralEM
from videos import VideoBatch

FRAME = (1, 2, 3)
FRAMES = (torch.arange(5 * 4 * 6).reshape(5, 4, *FRAME) % 5 < 2).float()


class Level(PyroModule):
    """A grey level of each video; some values computed from it, inside and outside of plates."""

    frame_shape = FRAME

    def forward(self, frames, observed=None, controls=None):
        sequences, time = frames.shape[:2]
        pyro.deterministic("sizes", torch.ones(3))
        with pyro.plate("sequences", sequences, dim=-1):
            level = pyro.sample("level", dist.Normal(frames.new_zeros(sequences), 1.0))
            pyro.deterministic("squared", torch.stack([level, level**2], -1), event_dim=1)
            with pyro.plate("time", time, dim=-2):
                steps = torch.arange(1.0, time + 1)[:, None]
                pyro.deterministic("by_step", level * steps, event_dim=0)
                mean = level[..., None, None, None].expand(*level.shape, *FRAME)
                pyro.sample("frames", dist.Normal(mean, 1.0).to_event(3), obs=frames.transpose(0, 1))


def levels(frames):
    return frames.flatten(1).mean(1)


def drawing(frames, observed=None, controls=None):
    with pyro.plate("sequences", len(frames), dim=-1):
        pyro.sample("level", dist.Normal(levels(frames), 0.1))


class Completing(PyroModule):
    completion_methods = ("mean",)

    def forward(self, *arguments):
        drawing(*arguments)

    def complete(self, frames, observed=None, controls=None, *, method=None, num_samples=None):
        level = levels(frames)
        return {"level": level if num_samples is None else level + torch.arange(num_samples)[:, None, None]}


def test_the_table_of_sites_keeps_them_apart():
    table = describe_sites(Level(), FRAMES)
    assert table.names == ("level", "frames")
    assert [site.name for site in table.deterministic] == ["sizes", "squared", "by_step"]
    assert (table["squared"].batch_shape, table["squared"].event_shape) == ((5,), (2,))
    assert "squared" not in table
    assert "squared" not in str(table)


@pytest.mark.parametrize("num_samples", [None, 3])
@pytest.mark.parametrize("frames_per_chunk", [2048, 8])
def test_they_are_those_of_the_point_estimate(num_samples, frames_per_chunk):
    answer = queries.reconstruct(
        Level(), Completing(), FRAMES, num_samples=num_samples, frames_per_chunk=frames_per_chunk
    )
    level = levels(FRAMES)
    assert set(answer.latents) == {"level"}
    assert set(answer.deterministic) == {"squared", "by_step"}
    torch.testing.assert_close(answer.deterministic["squared"], torch.stack([level, level**2], -1))
    torch.testing.assert_close(answer.deterministic["by_step"], level * torch.arange(1.0, 5.0)[:, None])
    assert answer.values == {**answer.latents, **answer.deterministic}
    if num_samples is not None:
        assert set(answer.latent_samples) == {"level"}


@pytest.mark.parametrize("frames_per_chunk", [2048, 8])
def test_they_are_averages_where_a_guide_draws(frames_per_chunk):
    answer = queries.reconstruct(Level(), drawing, FRAMES, num_samples=4, frames_per_chunk=frames_per_chunk)
    drawn = answer.latent_samples["level"].reshape(4, 5)
    torch.testing.assert_close(answer.deterministic["squared"], torch.stack([drawn.mean(0), (drawn**2).mean(0)], -1))
    torch.testing.assert_close(answer.deterministic["by_step"], drawn.mean(0) * torch.arange(1.0, 5.0)[:, None])


def test_generated_videos_have_theirs():
    answer = queries.generate(Level(), 6, 4, frames_per_chunk=8)
    level = answer.latents["level"]
    assert len(level.unique()) == 6
    torch.testing.assert_close(answer.values["squared"], torch.stack([level, level**2], -1))
    torch.testing.assert_close(answer.values["level"], level)


def test_a_scene_may_be_made_of_them(tmp_path):
    model = RelationalNeuralEM((1, 8, 8), num_slots=3, state_dim=7, hidden=9, channels=(4, 5), attention_dim=6)
    frames = (torch.arange(5 * 4 * 64).reshape(5, 4, 1, 8, 8) % 7 < 3).float()
    evaluated = Evaluated(model, NoLatentsGuide(model), VideoBatch(frames))
    assert evaluated.scene.masks.shape == (5, 4, 3, 8, 8)
    torch.testing.assert_close(evaluated.scene.masks.sum(2), torch.ones(5, 4, 8, 8))
    assert ScenePictures().draw(evaluated, tmp_path)
