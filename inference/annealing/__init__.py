"""Annealed chains from the guide to the posterior, independent or in populations."""
