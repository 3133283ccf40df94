"""The Kalman variational autoencoder (Fraccaro et al. 2017): mixed linear dynamics behind a decoder."""

from pyro_models.kalman_vae.model import KalmanVAE

__all__ = ["KalmanVAE"]
