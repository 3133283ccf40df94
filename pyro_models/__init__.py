"""Generative models p(frames, latents), one per file, as PyroModules that run under plain `pyro.infer.SVI`."""

from pyro_models.kalman_vae import KalmanVAE

__all__ = ["KalmanVAE"]
