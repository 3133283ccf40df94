"""The public names of `pyro_models.distributions`."""

from pyro_models.distributions import *
from pyro_models.distributions import __all__ as __all__
