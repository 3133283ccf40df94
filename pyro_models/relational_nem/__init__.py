"""Relational neural expectation maximisation (van Steenkiste et al. 2018), a baseline for videos of binary pixels."""

from pyro_models.relational_nem.model import RelationalNeuralEM

__all__ = ["RelationalNeuralEM"]
