"""The public names of `pyro_models`."""

from kinema.pyro_models import distributions as distributions
from pyro_models import *
from pyro_models import __all__ as __all__
