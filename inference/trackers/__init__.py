"""Trackers of clips: each has `track(clip) -> Tracks`, whatever is behind it."""

from inference.trackers.kalman import KalmanTracker
from inference.trackers.overlap import OverlapTracker
from inference.trackers.tracker import Detector, Tracker

#: Trackers by name; each can be made without arguments.
TRACKERS: dict[str, type[OverlapTracker] | type[KalmanTracker]] = {"blobs": OverlapTracker, "kalman": KalmanTracker}

__all__ = ["TRACKERS", "Detector", "KalmanTracker", "OverlapTracker", "Tracker"]
