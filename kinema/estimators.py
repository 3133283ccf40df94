"""The public names of `inference.estimators`."""

from inference.estimators import *
from inference.estimators import __all__ as __all__
