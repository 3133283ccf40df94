"""Everything stays on the device of frames and parameters and is not read back; checked without a GPU.

Tensors on the meta device have shapes and no values: a tensor made on the CPU along the way cannot be combined with
them, and a branch that reads one is refused.
"""

import pyro
import pytest
import torch
from pyro.infer import Trace_ELBO

from guides.stepwise import StepwiseGuide
from inference import FIVO, SVI, VIMCO
from inference.recipes import RECIPES
from inference.recipes.growing_videos import LengtheningVideos
from tests.contracts.registry import GUIDES, MODELS, build_guide, full_size, make_video, unsettle
from tests.contracts.test_guides import completing

LARGE = tuple(name for name in RECIPES if full_size(name) or name.startswith(("ddpae", "sqair", "vtssi", "vrnn")))


def on_meta(name):
    model, guide = build_guide(name)
    for module in (model, guide):
        unsettle(module)
        module.to("meta")
    video = make_video(MODELS[GUIDES[name].model].control_dim)
    return model, guide, tuple(None if value is None else value[:, :3].to("meta") for value in video)


def step_on_meta(model, guide, loss, video, clip_norm=1.0):
    parameters = [*model.parameters(), *guide.parameters()]
    svi = SVI(model, guide, torch.optim.Adam(parameters, 1e-3), loss, clip_norm=clip_norm)
    with pyro.validation_enabled(False):
        assert svi.step(*video).device.type == "meta"
    assert {one.grad.device.type for one in parameters if one.grad is not None} == {"meta"}


@pytest.mark.slow
@pytest.mark.ci
@pytest.mark.parametrize("name", GUIDES)
def test_steps(name):
    model, guide, video = on_meta(name)
    weighing = [] if name.endswith("point") else [VIMCO(2)]  # point masses have no weights
    for loss in (*weighing, Trace_ELBO(), *[FIVO(2)] * isinstance(guide, StepwiseGuide)):
        step_on_meta(model, guide, loss, video)


@pytest.mark.parametrize("name", completing())
def test_completion(name):
    _, guide, video = on_meta(name)
    with pyro.validation_enabled(False):
        for method in guide.completion_methods:
            values = guide.complete(*video, method=method)
            assert {value.device.type for value in values.values()} <= {"meta"}


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name in LARGE else pytest.mark.ci) for name in RECIPES]
)
def test_steps_of_recipes_at_full_size(name):
    recipe = RECIPES[name].with_options(num_validation=1, num_test=1)
    recipe = recipe.with_options(num_train=recipe.training.batch_size)
    if isinstance(recipe.videos, LengtheningVideos):
        recipe = recipe.with_options(first_frames=recipe.videos.num_frames)
    model, guide = (module.to("meta") for module in recipe.build())
    batch = recipe.training_source(recipe.splits().train).batch(0).to("meta")
    step_on_meta(model, guide, recipe.loss(), batch.arguments, recipe.training.clip_norm)
