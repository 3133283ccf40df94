"""The public names of `videos`."""

from videos import *
from videos import __all__ as __all__
