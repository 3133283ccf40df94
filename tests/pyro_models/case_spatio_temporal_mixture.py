"""Contract cases of spatial mixtures of slots."""

from typing import Any, Literal

from pyro_models import BroadcastDecoder, SlotMemory, SpatioTemporalMixture
from tests.contracts.cases import FRAME_SHAPE, ModelCase

UNITS, LATENT = 6, 3


def mixture(memory: SlotMemory | Literal["guide"] | None, **options: Any) -> SpatioTemporalMixture:
    """A small one."""
    decoder = BroadcastDecoder(FRAME_SHAPE, LATENT, UNITS if memory else 0, channels=4, layers=2, halvings=1)
    return SpatioTemporalMixture(FRAME_SHAPE, num_slots=3, decoder=decoder, memory=memory, units=UNITS, **options)


MODELS = {
    "SpatioTemporalMixture": ModelCase(lambda: mixture(SlotMemory(LATENT, UNITS))),
    "SpatioTemporalMixture, relations": ModelCase(lambda: mixture(SlotMemory(LATENT, UNITS, relations=2))),
    "SpatioTemporalMixture, without memory": ModelCase(lambda: mixture(None)),
}
