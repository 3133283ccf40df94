"""The variational recurrent network (Chung et al. 2015), the baseline of SQAIR."""

from pyro_models.vrnn.model import VariationalRecurrentNetwork

__all__ = ["VariationalRecurrentNetwork"]
