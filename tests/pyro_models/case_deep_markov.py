"""Contract cases of the deep Markov model."""

from functools import partial

from pyro_models import DeepMarkovModel
from tests.contracts.cases import CONTROL, FRAME_SHAPE, ModelCase

MODELS = {
    "DeepMarkovModel": ModelCase(partial(DeepMarkovModel, FRAME_SHAPE, hidden_dim=11, likelihood="bernoulli")),
    "DeepMarkovModel, controls": ModelCase(
        partial(DeepMarkovModel, FRAME_SHAPE, hidden_dim=11, control_dim=CONTROL), CONTROL
    ),
}
