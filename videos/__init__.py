"""Frames in, frames out: simulators, loaders and patterns of missing frames."""
