"""Does a guide fit its model? `check_guide`, one file for each kind of mismatch."""

from guides.check.guide import GuideCheck, GuideMismatchError, check_guide

__all__ = ["GuideCheck", "GuideMismatchError", "check_guide"]
