"""The public names of `inference.queries`."""

from inference.queries import *
from inference.queries import __all__ as __all__
