"""Predictive scores of frames: one step ahead, and held out."""
