"""Contract cases of RecurrentGuide."""

from functools import partial

from guides import RecurrentGuide
from tests.contracts.cases import GuideCase

GUIDES = {
    "RecurrentGuide": GuideCase("DeepMarkovModel", partial(RecurrentGuide, hidden_dim=11)),
    "RecurrentGuide, controls": GuideCase("DeepMarkovModel, controls", partial(RecurrentGuide, hidden_dim=11)),
    "RecurrentGuide of DVBF": GuideCase("DeepVariationalBayesFilter", partial(RecurrentGuide, hidden_dim=11)),
    "RecurrentGuide of DVBF, controls": GuideCase(
        "DeepVariationalBayesFilter, controls", partial(RecurrentGuide, hidden_dim=11)
    ),
}
