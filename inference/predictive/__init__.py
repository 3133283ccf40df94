"""Predictive scores: frames one step ahead, and frames that are held out."""
