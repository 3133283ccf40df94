"""Queries of a model and a guide: reconstruct, impute, forecast, generate, and walk along a latent."""

from inference.queries.ask import Generation, forecast, generate, impute, reconstruct
from inference.queries.imputation import Imputation
from inference.queries.latent_walks import LatentWalk, Walk, walk_latent

__all__ = [
    "Generation",
    "Imputation",
    "LatentWalk",
    "Walk",
    "forecast",
    "generate",
    "impute",
    "reconstruct",
    "walk_latent",
]
