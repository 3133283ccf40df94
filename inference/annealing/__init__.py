"""Chains that walk from the guide to the posterior, alone and in populations."""
