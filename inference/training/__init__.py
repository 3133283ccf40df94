"""Training from start to end, in stages, resumable."""
