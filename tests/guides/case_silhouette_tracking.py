"""Contract case of SilhouetteTrackingGuide."""

from guides import SilhouetteTrackingGuide
from tests.contracts.cases import GuideCase

GUIDES = {"SilhouetteTrackingGuide": GuideCase("WalkingPeople", SilhouetteTrackingGuide)}
