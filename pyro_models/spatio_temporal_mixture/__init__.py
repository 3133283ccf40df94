"""Spatial mixtures of slots that remember (Zablotskaia et al. 2020)."""

from pyro_models.spatio_temporal_mixture.broadcast_decoder import BroadcastDecoder
from pyro_models.spatio_temporal_mixture.model import SpatioTemporalMixture
from pyro_models.spatio_temporal_mixture.slot_memory import SlotMemory

__all__ = ["BroadcastDecoder", "SlotMemory", "SpatioTemporalMixture"]
