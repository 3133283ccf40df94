"""From a model and a guide to numbers, runs and pictures."""
