"""Contract cases of relational neural expectation maximisation."""

from functools import partial

from pyro_models import RelationalNeuralEM
from tests.contracts.cases import FRAME_SHAPE, ModelCase

_SMALL = partial(RelationalNeuralEM, FRAME_SHAPE, num_slots=3, state_dim=7, hidden=9, channels=(4, 5), attention_dim=6)

MODELS = {
    "RelationalNeuralEM": ModelCase(_SMALL, has_latents=False),
    "RelationalNeuralEM, mixture": ModelCase(partial(_SMALL, overlay="mixture"), has_latents=False),
}
