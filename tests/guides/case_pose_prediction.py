"""Contract cases of PosePredictionGuide."""

from functools import partial

from guides import PosePredictionGuide
from tests.contracts.cases import GuideCase

_SMALL = partial(PosePredictionGuide, units=5, image_dim=4)

GUIDES = {
    "PosePredictionGuide": GuideCase("DDPAE", _SMALL),
    "PosePredictionGuide, large glimpses": GuideCase("DDPAE, large glimpses", _SMALL),
}
