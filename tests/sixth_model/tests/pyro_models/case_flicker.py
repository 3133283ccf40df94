"""Contract case of flicker."""

from functools import partial

from pyro_models.flicker import Flicker
from tests.contracts.cases import FRAME_SHAPE, ModelCase

MODELS = {"Flicker": ModelCase(partial(Flicker, FRAME_SHAPE))}
