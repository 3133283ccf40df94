"""Guides of dynamics from pixels: positions read from frames, states from exact Kalman marginals."""

from guides.objects.filter import ObjectFilterGuide
from guides.objects.potentials import ObjectPotentialsGuide
from guides.objects.states import ObjectStatesGuide

__all__ = ["ObjectFilterGuide", "ObjectPotentialsGuide", "ObjectStatesGuide"]
