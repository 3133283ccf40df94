"""Exact marginals and likelihoods: Pyro distributions without learnable parameters."""
