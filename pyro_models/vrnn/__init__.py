"""The variational recurrent network (Chung et al. 2015), as SQAIR is compared with it."""

from pyro_models.vrnn.model import VariationalRecurrentNetwork

__all__ = ["VariationalRecurrentNetwork"]
