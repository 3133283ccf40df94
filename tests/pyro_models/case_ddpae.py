"""Contract cases of DDPAE."""

from functools import partial

from pyro_models import DDPAE
from tests.contracts.cases import FRAME_SHAPE, ModelCase

_SMALL = partial(DDPAE, FRAME_SHAPE, num_input=2, what_dim=3, channels=2)

MODELS = {
    "DDPAE": ModelCase(_SMALL),
    "DDPAE, large glimpses": ModelCase(partial(_SMALL, num_objects=3, glimpse_size=16)),
}
