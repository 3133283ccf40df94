"""The fused CPU kernel of the Gaussian marginal, in numba."""
