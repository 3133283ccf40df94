"""The public names of `inference.trackers`."""

from inference.trackers import *
from inference.trackers import __all__ as __all__
