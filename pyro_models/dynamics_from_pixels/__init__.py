"""Dynamics from pixels (Chiappa and Paquet 2019): objects with linear dynamics behind a renderer."""

from pyro_models.dynamics_from_pixels.model import DynamicsFromPixels

__all__ = ["DynamicsFromPixels"]
