"""What every model and guide with steps promises: its steps give the whole program, and a particle filter accepts them.

Also `increments`, on the same pairs: what each step adds to the log weights.
"""

import pyro
import pyro.distributions as dist
import pytest
import torch

from guides.stepwise import StepwiseGuide
from inference import IWAE, VIMCO
from inference.estimators import FIVO, increments
from inference.programs.replays import traces_at
from inference.programs.traces import importance_traces
from pyro_models import VariationalRecurrentNetwork
from pyro_models.components.stepwise import StepwiseModel
from tests.contracts.cases import TIME
from tests.contracts.registry import GUIDES, MODELS, build_guide, make_video, unsettle

STEPWISE = [name for name in GUIDES if isinstance(build_guide(name)[1], StepwiseGuide)]


def pair_and_video(name, missing):
    model, guide = (module.double() for module in build_guide(name))
    unsettle(guide)
    frames, observed, controls = make_video(MODELS[GUIDES[name].model].control_dim, torch.float64)
    frames = torch.where(observed[:, :, None, None, None], frames, torch.nan) if missing else frames
    return model, guide, (frames, observed if missing else None, controls)


def test_models_and_guides_with_steps_go_together():
    assert STEPWISE
    assert all(isinstance(build_guide(name)[0], StepwiseModel) for name in STEPWISE)


@pytest.mark.slow
@pytest.mark.ci
@pytest.mark.parametrize("missing", [False, True], ids=["all seen", "some missing"])
@pytest.mark.parametrize("num_particles", [1, 3])
@pytest.mark.parametrize("name", STEPWISE)
def test_steps_without_resampling_are_the_whole(name, num_particles, missing):
    model, guide, video = pair_and_video(name, missing)
    results = []
    discrete = importance_traces(model, guide, video, 1).score_sites()
    whole = VIMCO(num_particles) if discrete else IWAE(num_particles)
    for loss in (FIVO(num_particles, threshold=0.0), whole):
        model.zero_grad(), guide.zero_grad()
        pyro.set_rng_seed(1)
        value = (loss.loss if discrete and num_particles == 1 else loss.loss_and_grads)(model, guide, *video)
        results.append((value, [parameter.grad for part in (model, guide) for parameter in part.parameters()]))
    assert results[0][0] == pytest.approx(results[1][0], rel=1e-12)
    torch.testing.assert_close(results[0][1], results[1][1], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", STEPWISE)
def test_states_of_model_and_guide_follow_the_same_ancestors(name):
    """With every frame missing the guide is the model: weights are exactly 1 if both continue from the same state."""
    model, guide, (frames, _, controls) = pair_and_video(name, True)
    nothing = torch.zeros(frames.shape[:2], dtype=torch.bool)
    pyro.set_rng_seed(2)
    result = FIVO(3, threshold=2.0).run(model, guide, torch.full_like(frames, torch.nan), nothing, controls)
    assert bool(result.resampled[:-1].all())
    assert not bool(result.resampled[-1].any())
    torch.testing.assert_close(result.log_evidence, torch.zeros_like(result.log_evidence), rtol=0, atol=1e-10)


@pytest.mark.parametrize("missing", [False, True], ids=["all seen", "some missing"])
@pytest.mark.parametrize("num_particles", [1, 3])
@pytest.mark.parametrize("name", STEPWISE)
def test_increments_add_up(name, num_particles, missing):
    model, guide, video = pair_and_video(name, missing)
    traces = importance_traces(model, guide, video, num_particles)
    parts = increments(traces)
    assert parts.shape == (num_particles, TIME, video[0].shape[0])
    torch.testing.assert_close(parts.sum(1), traces.log_weights())


@pytest.mark.parametrize("name", STEPWISE)
def test_an_increment_does_not_read_later_frames_but_through_the_guide(name):
    """The model's part, at given latents: a change in frame t changes the increment of t, and none before it.

    Later ones move only where the model's own distribution of what comes next reads frames.
    """
    model, guide, (frames, _, controls) = pair_and_video(name, False)
    traces = importance_traces(model, guide, (frames, None, controls), 2)
    values = {key: node["value"] for key, node in traces.guide.nodes.items() if node["type"] == "sample"}
    values = {key: value for key, value in values.items() if key in traces.model and key != "sequences"}
    other = frames.clone()
    other[:, 4] = 1 - other[:, 4]
    before, after = (
        increments(traces_at(values, traces, model, lambda *video: guide(frames, *video[1:]), (x, None, controls)))
        for x in (frames, other)
    )
    moved = (before - after).abs().amax((0, 2)) > 0
    assert moved[:5].tolist() == [False] * 4 + [True]
    assert not moved[5:].any() or isinstance(model, VariationalRecurrentNetwork)


def test_a_latent_that_is_a_whole_path_has_no_increments():
    model, guide = build_guide("KalmanGuide, collapsed")
    traces = importance_traces(model, guide, make_video(0)[:1], 2)
    with pytest.raises(ValueError, match="site 'a': expected inside a plate called 'time', or a name that ends in"):
        increments(traces)


def test_plates_and_numbers_of_different_steps_have_no_increments():
    def model(frames):
        with pyro.plate("sequences", len(frames), dim=-1):
            for step in range(3):
                pyro.sample(f"z_{step}", dist.Normal(torch.zeros(len(frames)), 1.0))
            with pyro.plate("time", 2, dim=-2):
                pyro.sample("frames", dist.Normal(torch.zeros(2, len(frames)), 1.0), obs=frames.T)

    def guide(frames):
        with pyro.plate("sequences", len(frames), dim=-1):
            for step in range(3):
                pyro.sample(f"z_{step}", dist.Normal(torch.zeros(len(frames)), 1.0))

    traces = importance_traces(model, guide, (torch.zeros(4, 2),), 2)
    with pytest.raises(
        ValueError, match=r"expected sites of the same steps, got plates 'time' of \[2\] and frames, z_0"
    ):
        increments(traces)
