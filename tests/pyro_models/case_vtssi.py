"""Contract cases of VTSSI's models."""

from functools import partial

from pyro_models import ContinuousAttendInferRepeat, DisentangledStateSpaceModel, MotionTransition, ObjectScenes
from tests.contracts.cases import FRAME_SHAPE, ModelCase


def scenes() -> ObjectScenes:
    """Small ones, with one or two objects in play, and a centring mask."""
    return ObjectScenes(FRAME_SHAPE, what_dim=3, glimpse_size=4, hidden=(7,), count_mean=0.5, bell_offset=1.0)


def moving(first_motion: int | None) -> DisentangledStateSpaceModel:
    """A small model, with or without motion."""
    transition = None if first_motion is None else MotionTransition(4, (6,), 5)
    return DisentangledStateSpaceModel(scenes(), first_motion=first_motion, transition=transition)


MODELS = {
    "DisentangledStateSpaceModel": ModelCase(partial(moving, 3)),
    "DisentangledStateSpaceModel, random walk": ModelCase(partial(moving, None)),
    "ContinuousAttendInferRepeat": ModelCase(lambda: ContinuousAttendInferRepeat(scenes())),
}
