"""Contract cases of recurrent networks on codes."""

from functools import partial

from pyro_models import RecurrentCodes
from pyro_models.recurrent_codes.code_predictors import BidirectionalPredictor
from tests.contracts.cases import CONTROL, FRAME_SHAPE, ModelCase


def _bidirectional() -> RecurrentCodes:
    """Hides any code but the first, so that a short video trains every weight."""
    return RecurrentCodes(FRAME_SHAPE, decoder="mlp", predictor=BidirectionalPredictor(2, hidden_dim=11, keep_first=1))


MODELS = {
    "RecurrentCodes": ModelCase(partial(RecurrentCodes, FRAME_SHAPE, decoder="mlp")),
    "RecurrentCodes, controls": ModelCase(partial(RecurrentCodes, FRAME_SHAPE, control_dim=CONTROL), CONTROL),
    "RecurrentCodes, bidirectional": ModelCase(_bidirectional),
}
