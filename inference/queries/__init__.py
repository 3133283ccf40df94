"""Queries of a model and a guide: reconstruct, impute, forecast, generate."""

from inference.queries.ask import Generation, forecast, generate, impute, reconstruct
from inference.queries.imputation import Imputation

__all__ = ["Generation", "Imputation", "forecast", "generate", "impute", "reconstruct"]
