"""Contract cases of PriorCorrectionGuide."""

from guides import PriorCorrectionGuide
from tests.contracts.cases import GuideCase

GUIDES = {
    "PriorCorrectionGuide": GuideCase("VariationalRecurrentNetwork", PriorCorrectionGuide),
    "PriorCorrectionGuide, convolutions": GuideCase("VariationalRecurrentNetwork, convolutions", PriorCorrectionGuide),
}
