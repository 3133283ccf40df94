"""The typed result of filtering and smoothing: one Gaussian per time step."""

from dataclasses import dataclass, fields

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class GaussianPath:
    """Marginal distributions N(mean_t, covariance_t) of the states z_t, with intermediate results.

    Attributes:
        mean: E[z_t | ...].
        covariance: Cov[z_t | ...].
        log_prob: log p(a) in nats per sequence; None for states that no observation informs.
        predicted_mean: E[z_t | a_1 .. a_{t-1}]; from `filter` and `smooth`.
        predicted_covariance: Cov[z_t | a_1 .. a_{t-1}]; from `filter` and `smooth`.
        step_log_prob: log p(a_t | a_1 .. a_{t-1}), 0 where a_t is missing, in nats; from `filter` only.
        lag_one_covariance: Cov[z_t, z_{t+1} | a], rows belong to z_t; from `smooth` only.
    """

    mean: Float[Tensor, "*batch time state"]
    covariance: Float[Tensor, "*batch time state state"]
    log_prob: Float[Tensor, "*batch"] | None = None
    predicted_mean: Float[Tensor, "*batch time state"] | None = None
    predicted_covariance: Float[Tensor, "*batch time state state"] | None = None
    step_log_prob: Float[Tensor, "*batch time"] | None = None
    lag_one_covariance: Float[Tensor, "*batch steps state state"] | None = None

    def to(self, dtype: torch.dtype) -> "GaussianPath":
        """The same path in another dtype."""
        given = {field.name: getattr(self, field.name) for field in fields(self)}
        return GaussianPath(**{name: value.to(dtype) for name, value in given.items() if value is not None})
