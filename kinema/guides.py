"""The public names of `guides`."""

from guides import *
from guides import __all__ as __all__
