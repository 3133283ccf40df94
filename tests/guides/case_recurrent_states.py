"""Contract cases of RecurrentStateGuide."""

from functools import partial

from guides import RecurrentStateGuide
from tests.contracts.cases import GuideCase

GUIDES = {
    "RecurrentStateGuide": GuideCase("KalmanVAE, states drawn", partial(RecurrentStateGuide, hidden_dim=11)),
}
