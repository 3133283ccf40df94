"""The public names of `inference.metrics`."""

from inference.metrics import *
from inference.metrics import __all__ as __all__
