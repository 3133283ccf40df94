"""Contract cases of DiscoveryPropagationGuide."""

from functools import partial

from guides import DiscoveryPropagationGuide
from tests.contracts.cases import GuideCase

GUIDES = {
    "DiscoveryPropagationGuide": GuideCase(
        "SequentialAttendInferRepeat", partial(DiscoveryPropagationGuide, correlated=True, propagation_bias=1.0)
    ),
    "DiscoveryPropagationGuide, presence first": GuideCase(
        "SequentialAttendInferRepeat, plain",
        partial(DiscoveryPropagationGuide, order="first", masked=False, propagation_bias=1.0),
    ),
    "DiscoveryPropagationGuide, on a map": GuideCase(
        "SequentialAttendInferRepeat, plain", partial(DiscoveryPropagationGuide, propagation_bias=1.0, search="map")
    ),
}
