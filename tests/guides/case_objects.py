"""Contract cases of guides of objects."""

from functools import partial

from guides import ObjectFilterGuide, ObjectPotentialsGuide, ObjectStatesGuide
from tests.contracts.cases import GuideCase

GUIDES = {
    "ObjectFilterGuide": GuideCase("DynamicsFromPixels", partial(ObjectFilterGuide, state_dim=7)),
    "ObjectFilterGuide, bidirectional": GuideCase(
        "DynamicsFromPixels, glyphs without dynamics", partial(ObjectFilterGuide, state_dim=7, bidirectional=True)
    ),
    "ObjectPotentialsGuide": GuideCase("DynamicsFromPixels", partial(ObjectPotentialsGuide, state_dim=7)),
    "ObjectPotentialsGuide, keypoints": GuideCase(
        "DynamicsFromPixels, glyphs without dynamics",
        partial(ObjectPotentialsGuide, state_dim=7, reading="keypoints"),
    ),
    "ObjectPotentialsGuide, tracking": GuideCase(
        "DynamicsFromPixels", partial(ObjectPotentialsGuide, state_dim=7, reading="tracking")
    ),
    "ObjectStatesGuide": GuideCase("DynamicsFromPixels, states drawn", partial(ObjectStatesGuide, state_dim=7)),
    "ObjectStatesGuide, learned": GuideCase(
        "DynamicsFromPixels, states drawn", partial(ObjectStatesGuide, state_dim=7, posterior="learned")
    ),
}
