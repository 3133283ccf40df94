"""Contract cases of FrameGaussianGuide."""

from functools import partial

from guides import FrameGaussianGuide
from tests.contracts.cases import GuideCase

GUIDES = {
    "FrameGaussianGuide": GuideCase("RecurrentCodes", FrameGaussianGuide),
    "FrameGaussianGuide, controls": GuideCase("RecurrentCodes, controls", FrameGaussianGuide),
    "FrameGaussianGuide, bidirectional": GuideCase("RecurrentCodes, bidirectional", FrameGaussianGuide),
    "FrameGaussianGuide, point": GuideCase("RecurrentCodes", partial(FrameGaussianGuide, point=True)),
}
