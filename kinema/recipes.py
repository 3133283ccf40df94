"""The public names of `inference.recipes`."""

from inference.recipes import *
from inference.recipes import __all__ as __all__
