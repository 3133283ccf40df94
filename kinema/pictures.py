"""The public names of `inference.pictures`."""

from inference.pictures import *
from inference.pictures import __all__ as __all__
