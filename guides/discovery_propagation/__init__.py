"""The guide of SQAIR: objects of the previous frame are propagated, new ones discovered."""

from guides.discovery_propagation.guide import DiscoveryPropagationGuide

__all__ = ["DiscoveryPropagationGuide"]
