"""Rules that turn a trace of the guide and a trace of the model into a loss; they know no model."""

from inference.estimators.iwae import IWAE

ESTIMATORS = {"iwae": IWAE}

__all__ = ["ESTIMATORS", "IWAE"]
