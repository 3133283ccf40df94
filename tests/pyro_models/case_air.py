"""Contract cases of AIR."""

from functools import partial

from pyro_models import AttendInferRepeat
from tests.contracts.cases import FRAME_SHAPE, ModelCase

MODELS = {
    "AttendInferRepeat": ModelCase(
        partial(AttendInferRepeat, FRAME_SHAPE, what_dim=3, glimpse_size=4, hidden=(11,), another=0.6)
    ),
}
