"""Contract cases of the variational recurrent network."""

from functools import partial

from pyro_models import VariationalRecurrentNetwork
from pyro_models.vrnn.mirrored_convolutions import MirroredConvolutions
from tests.contracts.cases import FRAME_SHAPE, ModelCase

_CONVOLUTIONS = MirroredConvolutions(9, (2, 3), (2, 2))

MODELS = {
    "VariationalRecurrentNetwork": ModelCase(partial(VariationalRecurrentNetwork, FRAME_SHAPE, latent_dim=3, units=7)),
    "VariationalRecurrentNetwork, convolutions": ModelCase(
        partial(VariationalRecurrentNetwork, FRAME_SHAPE, latent_dim=3, units=7, layers=1, networks=_CONVOLUTIONS)
    ),
}
