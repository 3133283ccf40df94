"""CLEVRER's videos of colliding solids, from the published files."""

from videos.clevrer.clips import ClevrerClips
from videos.clevrer.sequences import load_clevrer

__all__ = ["ClevrerClips", "load_clevrer"]
