"""Exact marginals and likelihoods: Pyro distributions without learnable parameters."""

from pyro_models.distributions.gaussian_path import GaussianPath
from pyro_models.distributions.linear_gaussian_ssm import LinearGaussianSSM
from pyro_models.distributions.mixture_linear_gaussian_ssm import MixtureLinearGaussianSSM
from pyro_models.distributions.observations_given_readings import ObservationsGivenReadings
from pyro_models.distributions.pixel_mixture import PixelGradients, PixelMixture
from pyro_models.distributions.state_path_posterior import StatePathPosterior

__all__ = [
    "GaussianPath",
    "LinearGaussianSSM",
    "MixtureLinearGaussianSSM",
    "ObservationsGivenReadings",
    "PixelGradients",
    "PixelMixture",
    "StatePathPosterior",
]
