"""Contract case of WalkingPeople."""

import torch

from pyro_models import WalkingPeople
from pyro_models.walking_people import ForegroundPixels, Silhouette
from tests.contracts.cases import FRAME_SHAPE, ModelCase


def people() -> WalkingPeople:
    """Two small slots, pixels that say little, and parameters drawn at random."""
    size = FRAME_SHAPE[1:]
    silhouette = Silhouette(size, intercept=3.0, slope=0.1, knots=3)
    model = WalkingPeople(FRAME_SHAPE, num_slots=2, silhouette=silhouette, pixels=ForegroundPixels(size, 0.3, 0.3))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
        for logit in (model.motion.enter_logit, model.motion.stay_inside, model.motion.hide_logit):
            logit.zero_()
    return model


MODELS = {"WalkingPeople": ModelCase(people)}
