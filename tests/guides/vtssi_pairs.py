"""Small pairs of every variant of VTSSI, off their initial values, for tests of its guide."""

from typing import Any

import torch

from guides import FindAndFuseGuide, FrameProposalGuide, MotionFuser, Rectifier
from pyro_models import ContinuousAttendInferRepeat, DisentangledStateSpaceModel, MotionTransition, ObjectScenes
from tests.guides.case_find_and_fuse import encoder, finder

VARIANTS = ("AIR", "FIND", "RECT/FIND", "FIND/MOT", "VTSSI")


def pair(
    variant: str,
    first_motion: int = 3,
    noise: float = 0.2,
    side: int = 8,
    motion_dim: int = 4,
    position_step: float = 0.1,
    **options: Any,
) -> tuple[Any, Any]:
    """Model and guide in double precision.

    Args:
        variant: one of `VARIANTS`.
        first_motion: M, of those with a motion.
        noise: what is added to every parameter.
        side: height and width of a frame.
        motion_dim: size of a motion.
        position_step: of the random walk.
        options: of `ObjectScenes`.
    """
    settings = {"what_dim": 3, "glimpse_size": 4, "hidden": (7,), "count_mean": 0.5} | options
    scenes = ObjectScenes((1, side, side), **settings)
    if variant == "AIR":
        model: Any = ContinuousAttendInferRepeat(scenes)
        guide: Any = FrameProposalGuide(model, encoder(scenes))
    else:
        moving = variant in ("FIND/MOT", "VTSSI")
        transition = MotionTransition(motion_dim, (6,), 5) if moving else None
        model = DisentangledStateSpaceModel(
            scenes,
            first_motion=first_motion if moving else None,
            transition=transition,
            position_step=position_step,
        )
        guide = FindAndFuseGuide(
            model,
            encoder(scenes),
            finder(model),
            rectifier=Rectifier(scenes, 3, units=5, hidden=(6,)) if variant in ("RECT/FIND", "VTSSI") else None,
            fuser=MotionFuser(model, units=6, head_units=5) if moving else None,
        )
    with torch.no_grad():
        for parameter in [*model.parameters(), *guide.parameters()]:
            parameter.add_(noise * torch.randn_like(parameter))
    return model.double(), guide.double()


def video(sequences: int = 3, frames: int = 6, side: int = 8) -> torch.Tensor:
    """Grey noise."""
    return torch.rand(sequences, frames, 1, side, side, dtype=torch.float64)
