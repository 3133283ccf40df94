"""Contract cases of FindAndFuseGuide, in the variants VTSSI and FIND, and of FrameProposalGuide."""

from typing import Any

from guides import AIREncoder, FindAndFuseGuide, Finder, FrameProposalGuide, MotionFuser, Rectifier
from guides.find_and_fuse.convolutions import Convolution
from guides.find_and_fuse.places import RecurrentPlaces
from tests.contracts.cases import GuideCase


def encoder(scenes: Any, places: Any = None) -> AIREncoder:
    """A small encoder."""
    places = places or RecurrentPlaces(scenes, layers=(Convolution(2, 3, 2),), units=6, head_units=5)
    return AIREncoder(scenes, places, count_layers=(Convolution(2, 5, 2),), count_units=(6,), glimpse_units=(7,))


def finder(model: Any) -> Finder:
    """A small finder."""
    return Finder(
        model,
        kernels=Convolution(2, 3, 2),
        kernel_units=(6,),
        layers=(Convolution(3, 2),),
        feature_units=(6,),
        features=5,
        hidden=(6,),
        head_units=5,
    )


def vtssi(model: Any, **options: Any) -> FindAndFuseGuide:
    """All parts."""
    # without a hidden layer: a softmax over frames does not see the bias of a unit that is on in all of them
    rectifier = Rectifier(model.scenes, 3, units=5, hidden=())
    fuser = MotionFuser(model, units=6, head_units=5)
    return FindAndFuseGuide(model, encoder(model.scenes), finder(model), rectifier=rectifier, fuser=fuser, **options)


GUIDES = {
    "FindAndFuseGuide": GuideCase(
        "DisentangledStateSpaceModel",
        vtssi,
        idle={"rectifier.logit.0.bias": "a softmax does not see it"},
        draws_aside=True,
    ),
    "FindAndFuseGuide, finder alone": GuideCase(
        "DisentangledStateSpaceModel, random walk",
        lambda model: FindAndFuseGuide(model, encoder(model.scenes), finder(model)),
        draws_aside=True,
    ),
    "FrameProposalGuide": GuideCase(
        "ContinuousAttendInferRepeat",
        lambda model: FrameProposalGuide(model, encoder(model.scenes)),
        draws_aside=True,
    ),
}
