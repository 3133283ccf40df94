"""Everything stays on the device of frames and parameters, which shows without a GPU.

On the meta device tensors have shapes and no values: one that was made on the CPU on the way cannot be combined with
them, and one that a branch wants to read is refused.
"""

import pyro
import pytest

from guides.stepwise import StepwiseGuide
from inference import FIVO, VIMCO
from tests.contracts.registry import GUIDES, MODELS, build_guide, make_video, unsettle
from tests.contracts.test_guides import completing


def on_meta(name):
    model, guide = build_guide(name)
    for module in (model, guide):
        unsettle(module)
        module.to("meta")
    video = make_video(MODELS[GUIDES[name].model].control_dim)
    return model, guide, tuple(None if value is None else value[:, :3].to("meta") for value in video)


@pytest.mark.parametrize("name", GUIDES)
def test_bounds_and_their_gradients(name):
    model, guide, video = on_meta(name)
    estimators = [VIMCO(2)] + [FIVO(2)] * isinstance(guide, StepwiseGuide)
    with pyro.validation_enabled(False):
        for estimator in estimators:
            loss = estimator.differentiable_loss(model, guide, *video)
            assert loss.device.type == "meta"
            loss.backward()
    for parameter in [*model.parameters(), *guide.parameters()]:
        assert parameter.grad is None or parameter.grad.device.type == "meta"


@pytest.mark.parametrize("name", completing())
def test_completion(name):
    _, guide, video = on_meta(name)
    with pyro.validation_enabled(False):
        for method in guide.completion_methods:
            values = guide.complete(*video, method=method)
            assert {value.device.type for value in values.values()} <= {"meta"}
