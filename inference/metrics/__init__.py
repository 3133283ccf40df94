"""Scores of frames and scenes; they know no model."""
