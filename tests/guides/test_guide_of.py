"""What all guides share: they refuse unsuitable models by name, and leave the model its parameters.

The shape checker of the tests would refuse a wrong model first, with its own message, so the exported guides are tested
in an interpreter without it.
"""

import subprocess
import sys

import pytest
import torch
from pyro.nn import PyroModule

from guides.guide_of import GuideOf, VideoModel
from pyro_models import AttendInferRepeat, KalmanVAE
from tests.contracts.registry import FRAME_SHAPE, GUIDES, MODELS, build_guide

WRONG = {
    "DiscoveryPropagationGuide": "AttendInferRepeat()",
    "FindAndFuseGuide": "ContinuousAttendInferRepeat(), AIREncoder(ObjectScenes()), BroadcastDecoder()",
    "FrameGaussianGuide": "KalmanVAE()",
    "FrameProposalGuide": "DisentangledStateSpaceModel(), AIREncoder(ObjectScenes())",
    "GlimpseAttentionGuide": "KalmanVAE()",
    "IterativeRefinementGuide": "None",
    "KalmanGuide": "RecurrentCodes()",
    "NoLatentsGuide": "None",
    "ObjectFilterGuide": "AttendInferRepeat()",
    "ObjectPotentialsGuide": "AttendInferRepeat()",
    "ObjectStatesGuide": "KalmanVAE()",
    "PosePredictionGuide": "AttendInferRepeat()",
    "PriorCorrectionGuide": "RecurrentCodes()",
    "RecurrentGuide": "KalmanVAE()",
    "RecurrentStateGuide": "AttendInferRepeat()",
    "SilhouetteTrackingGuide": "KalmanVAE()",
    "SpatioTemporalRefinementGuide": "AttendInferRepeat()",
}


def refusals(*calls):
    """The error message of each call."""
    tries = "".join(f"\ntry:\n    {call}\nexcept TypeError as error:\n    print(error)\n" for call in calls)
    program = f"from guides import *\nfrom pyro_models import *\n{tries}"
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True, timeout=120)
    lines = done.stdout.splitlines()
    assert len(lines) == len(calls)
    return lines


class FramesGuide(GuideOf, PyroModule):
    serves = VideoModel


class KalmanOnly(GuideOf, PyroModule):
    serves = KalmanVAE


class Subclass(KalmanVAE):
    pass


def test_every_guide_refuses_a_model_of_another_kind():
    assert WRONG.keys() == {type(build_guide(name)[1]).__name__ for name in GUIDES}
    found = refusals(*(f"{guide}({model})" for guide, model in WRONG.items()))
    told = dict(line.removeprefix("model: ").split(" expected ", 1) for line in found)
    assert told.keys() == WRONG.keys()
    advice = "; choose a guide for this model, or another model for this guide"
    mixed = "a model with control_dim, dynamics, frame_shape, marginalize_state, prediction, prepare"
    assert told["GlimpseAttentionGuide"] == f"an instance of AttendInferRepeat, got KalmanVAE{advice}"
    assert told["KalmanGuide"] == (
        f"{mixed}, got RecurrentCodes, which has no dynamics, marginalize_state, prediction, prepare{advice}"
    )
    assert told["FrameGaussianGuide"] == (
        "a model with code_dim, control_dim, frame_shape, predictor, "
        f"got KalmanVAE, which has no code_dim, predictor{advice}"
    )
    expected = f"an instance of DisentangledStateSpaceModel, got ContinuousAttendInferRepeat{advice}"
    assert told["FindAndFuseGuide"] == expected
    assert told["NoLatentsGuide"].startswith("a model with control_dim, frame_shape, got NoneType")


def test_a_class_in_place_of_a_model_is_refused():
    found = refusals("KalmanGuide(KalmanVAE)", "NoLatentsGuide(KalmanVAE)", "RecurrentGuide(DeepMarkovModel)")
    assert [line.split(", got ")[1] for line in found] == [
        "the class KalmanVAE; create an instance first",
        "the class KalmanVAE; create an instance first",
        "the class DeepMarkovModel; create an instance first",
    ]


def test_subclasses_of_the_model_are_served():
    model = Subclass(FRAME_SHAPE, decoder="mlp")
    assert KalmanOnly(model).model is model
    with pytest.raises(TypeError, match="KalmanOnly expected an instance of KalmanVAE, got AttendInferRepeat; choose"):
        KalmanOnly(AttendInferRepeat(FRAME_SHAPE))


@pytest.mark.parametrize("name", MODELS)
def test_every_model_says_what_guides_need_to_know(name):
    model = MODELS[name].build()
    assert FramesGuide(model).model is model
    assert (model.frame_shape, model.control_dim) == (FRAME_SHAPE, MODELS[name].control_dim)


def test_the_model_is_no_submodule_of_its_guide():
    guide = FramesGuide(KalmanVAE(FRAME_SHAPE, decoder="mlp"))
    assert not guide.state_dict()
    assert list(guide.modules()) == [guide]
    moved = guide.to(torch.float64)
    assert {parameter.dtype for parameter in moved.model.parameters()} == {torch.float32}
