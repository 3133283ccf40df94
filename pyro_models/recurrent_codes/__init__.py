"""Codes that a recurrent network predicts: the baselines of the Kalman variational autoencoder."""

from pyro_models.recurrent_codes.model import RecurrentCodes

__all__ = ["RecurrentCodes"]
