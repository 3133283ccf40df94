"""VTSSI trained as in the paper: count prior and mask are annealed, and single frames are a second objective."""

import pyro
import pytest
import torch
from pyro import poutine
from pyro.infer import Trace_ELBO

from guides import FrameProposalGuide
from inference import CountBoundary, FirstFrames, RunFolder, Stage, Term, TrainingOptions, WeightedSum, queries, train
from inference.estimators.particle_filter import ParticleFilter, Resampling
from inference.programs.traces import sample_sites
from inference.svi.schedules import LinearRamp
from pyro_models import ContinuousAttendInferRepeat
from tests.guides.vtssi_pairs import pair, video
from videos import VideoBatch


def test_stages_anneal_the_prior_and_the_mask_and_add_single_frames(tmp_path):
    model, guide = (module.float() for module in pair("VTSSI"))
    images = ContinuousAttendInferRepeat(model.scenes)
    bound = CountBoundary(model.scenes.count_thresholds())
    frames = Term(FirstFrames(Trace_ELBO(), 3), model=images, guide=FrameProposalGuide(images, guide.encoder))
    buffers = {
        "model.scenes.count_mean": LinearRamp(-2.0, -3.0, 2, 1),
        "model.scenes.bell_offset": LinearRamp(0.0, 0.4, 4),
    }
    stages = [
        Stage(2, loss=WeightedSum({"video": Term(bound), "frames": frames}), buffers=buffers),
        Stage(2, buffers=buffers, fresh_optimizer=False),
    ]
    before = guide.encoder.places.position.loc[-1].weight.clone()
    run = RunFolder.start(tmp_path / "run", {})
    options = TrainingOptions(batch_size=3, log_every=1, validate_every=2, progress=False, clip_norm=5.0)
    batch = VideoBatch(video(3, 5).float())
    result = train(model, guide, batch, stages, loss=bound, validation=batch, run=run, options=options)
    assert [record["buffer/model.scenes.count_mean"] for record in run.metrics()] == [-2.0, -2.0, -2.5, -3.0]
    assert model.scenes.bell_offset.item() == pytest.approx(0.3)
    assert not torch.equal(guide.encoder.places.position.loc[-1].weight, before)
    assert result.best_bound is not None
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    model.scenes.bell_offset.zero_()
    run.load_weights(model, guide)
    assert model.scenes.bell_offset.item() in (pytest.approx(0.1), pytest.approx(0.3))
    assert weights.keys() == model.state_dict().keys()


@pytest.mark.parametrize("variant", ["AIR", "VTSSI"])
def test_queries_give_a_scene_of_each_answer(variant):
    model, guide = (module.float() for module in pair(variant))
    x = video(3, 5).float()
    for answer in (queries.reconstruct(model, guide, x), queries.forecast(model, guide, x[:, :3], num_frames=2)):
        scene = model.scene(answer.latents)
        assert answer.frames.shape == x.shape
        assert scene.positions.shape == (3, 5, 2, 2)
        assert bool(((scene.presence == 0) | (scene.presence == 1)).all())
    drawn = model.scene(queries.reconstruct(model, guide, x, num_samples=4).latent_samples)
    assert drawn.box_sizes.shape == (4, 3, 5, 2, 2)
    assert (drawn.identities is None) == (variant == "AIR")


@pytest.mark.parametrize("num_particles", [1, 3])
def test_steps_of_single_frames_are_the_whole(num_particles):
    """The joint of a filter's steps is that of all frames at once."""
    model, guide = pair("AIR")
    x, joint, values = video(), [], []

    def watch(step):
        joint.append(step.traces.log_joint())
        values.append({name: site["value"] for name, site in sample_sites(step.traces.guide).items()})

    ParticleFilter(num_particles, Resampling(threshold=0.0)).run(model, guide, (x,), watch=watch)
    whole = {}
    for name in values[0]:
        events = 0 if name == "count" else 1
        steps = [
            step[name].reshape(num_particles, 1, -1, 3, *step[name].shape[step[name].dim() - events :])
            for step in values
        ]
        whole[name] = torch.cat(steps, 1)
    with pyro.plate("particles", num_particles, dim=-4):
        trace = poutine.trace(poutine.condition(model, whole)).get_trace(x)
    trace.compute_log_prob()
    total = sum(node["log_prob"].sum((1, 2)) for node in sample_sites(trace).values())
    torch.testing.assert_close(sum(joint), total)
