"""Contract cases of IterativeRefinementGuide, which starts from guides, the prior and constants.

The file comes after those of the bases, as the first case of a model is its usual guide.
"""

from functools import partial
from typing import Any

from guides import (
    GlimpseAttentionGuide,
    IterativeRefinementGuide,
    KalmanGuide,
    PriorCorrectionGuide,
    RecurrentGuide,
    RecurrentStateGuide,
)
from tests.contracts.cases import GuideCase


def refined(base: Any = None, **options: Any) -> Any:
    """Two steps of small networks, from a base or another start."""

    def build(model: Any) -> IterativeRefinementGuide:
        return IterativeRefinementGuide(model, base and base(model), steps=2, hidden_dim=5, **options)

    return build


recurrent = partial(RecurrentGuide, hidden_dim=11)

GUIDES = {
    "IterativeRefinementGuide of KalmanGuide": GuideCase("KalmanVAE", refined(KalmanGuide), draws_aside=True),
    "IterativeRefinementGuide of RecurrentStateGuide": GuideCase(
        "KalmanVAE, states drawn", refined(partial(RecurrentStateGuide, hidden_dim=11)), draws_aside=True
    ),
    "IterativeRefinementGuide of RecurrentGuide, second order, controls": GuideCase(
        "DeepMarkovModel, controls", refined(recurrent, gradients="second_order", inner_draws=2), draws_aside=True
    ),
    "IterativeRefinementGuide of the prior": GuideCase("DeepMarkovModel", refined(start="prior"), draws_aside=True),
    "IterativeRefinementGuide of constants": GuideCase("DeepMarkovModel", refined(), draws_aside=True),
    "IterativeRefinementGuide of PriorCorrectionGuide": GuideCase(
        "VariationalRecurrentNetwork", refined(PriorCorrectionGuide), draws_aside=True
    ),
    "IterativeRefinementGuide of GlimpseAttentionGuide": GuideCase(
        "AttendInferRepeat", refined(partial(GlimpseAttentionGuide, hidden_dim=11)), draws_aside=True
    ),
}
