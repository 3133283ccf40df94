"""Contract case of SilhouetteTrackingGuide."""

from functools import partial

from guides import SilhouetteTrackingGuide
from tests.contracts.cases import GuideCase

GUIDES = {"SilhouetteTrackingGuide": GuideCase("WalkingPeople", partial(SilhouetteTrackingGuide, refinements=1))}
