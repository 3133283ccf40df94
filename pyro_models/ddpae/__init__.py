"""Decomposed disentangled prediction (Hsieh et al. 2018): objects of constant content whose poses change."""

from pyro_models.ddpae.model import DDPAE

__all__ = ["DDPAE"]
