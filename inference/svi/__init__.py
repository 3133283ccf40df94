"""A step of stochastic variational inference: eager, traced, compiled, captured."""

from inference.svi.step import SVI, NonFiniteError

__all__ = ["SVI", "NonFiniteError"]
