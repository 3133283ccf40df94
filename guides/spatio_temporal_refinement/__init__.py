"""Iterative inference of slots, over refinements and over frames (Zablotskaia et al. 2020)."""

from guides.spatio_temporal_refinement.guide import SpatioTemporalRefinementGuide
from guides.spatio_temporal_refinement.refinement_network import RefinementNetwork

__all__ = ["RefinementNetwork", "SpatioTemporalRefinementGuide"]
