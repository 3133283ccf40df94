"""Variational tracking with disentangled state-space models (Akhundov et al. 2019)."""

from pyro_models.vtssi.model import DisentangledStateSpaceModel
from pyro_models.vtssi.object_scenes import ObjectScenes
from pyro_models.vtssi.per_frame import ContinuousAttendInferRepeat
from pyro_models.vtssi.transition import MotionTransition

__all__ = ["ContinuousAttendInferRepeat", "DisentangledStateSpaceModel", "MotionTransition", "ObjectScenes"]
