"""Contract cases of SQAIR."""

from functools import partial

from pyro_models import SequentialAttendInferRepeat
from pyro_models.components.glimpse_networks import GlimpseNetworks
from tests.contracts.cases import FRAME_SHAPE, ModelCase

_FOLLOWED = partial(
    SequentialAttendInferRepeat,
    FRAME_SHAPE,
    num_slots=2,
    what_dim=3,
    glimpse_size=(4, 4),
    networks=GlimpseNetworks(units=7),
    units=8,
    context_units=5,
    where_mean=(-0.5, -0.5, 0.0, 0.0),
    propagation_offset=1.0,  # so that objects come and go within a few frames
    later_offset=0.0,
)

MODELS = {
    "SequentialAttendInferRepeat": ModelCase(_FOLLOWED),
    "SequentialAttendInferRepeat, plain": ModelCase(partial(_FOLLOWED, chained=False, residual=True, mean_image=False)),
}
