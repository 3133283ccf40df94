"""The importance-weighted bound for guides with discrete sites."""

import math
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from inference.estimators.multi_sample import MultiSampleELBO, log_mean_exp
from inference.estimators.traces import ImportanceTraces, Program


class VIMCO(MultiSampleELBO):
    """Variational inference for Monte Carlo objectives (Mnih and Rezende 2016, eqs. 5 to 10), sequence by sequence.

    The bound is that of `IWAE`; b_k is log q of the latent choices that cannot be reparameterised, such as presence.

        grad L_K = E[ d/dphi log 1/K sum_k w_k  +  sum_k (L - L_-k) d b_k / dphi ],       L = log 1/K sum_k w_k,
        L_-k = log 1/K ( sum_{j != k} w_j + exp( 1/(K-1) sum_{j != k} log w_j ) )

    The first term is pathwise where draws are reparameterised, and `b_k` is differentiated along all paths: a presence
    whose law depends on a drawn position passes gradients on to it. The baseline L_-k of particle k does not depend on
    particle k, so the gradient is unbiased for every guide, with both kinds of sites.

    Args:
        num_particles: K; at least 2 where the guide has sites that are not reparameterised. With none it is `IWAE`.

    Raises:
        ValueError: if K is too small, and what `inference.estimators.traces` raises.
    """

    def __init__(self, num_particles: int = 2) -> None:
        super().__init__(num_particles)

    def objective(
        self, traces: ImportanceTraces, model: Program, guide: Program, args: tuple, kwargs: dict[str, Any]
    ) -> Float[Tensor, " sequences"]:
        """See `MultiSampleELBO.objective`."""
        log_weights = traces.log_weights()
        bound = log_mean_exp(log_weights)
        scored = traces.score_sites()
        if not scored:
            return bound
        if self.num_particles == 1:
            raise ValueError(
                f"num_particles: expected at least 2 for a guide whose {', '.join(map(repr, scored))} is not "
                "reparameterised, since the baseline of a particle is made of the others, got 1; "
                "pyro.infer.TraceGraph_ELBO takes one particle"
            )
        signal = (bound - leave_one_out_bounds(log_weights)).detach()
        return bound + (signal * traces.log_scores()).sum(0)


def leave_one_out_bounds(
    log_weights: Float[Tensor, "particles sequences"],
) -> Float[Tensor, "particles sequences"]:
    """L_-k: the bound with the weight of particle k replaced by the geometric mean of the others."""
    num_particles = log_weights.shape[0]
    others = (log_weights.sum(0) - log_weights) / (num_particles - 1)
    diagonal = torch.eye(num_particles, dtype=torch.bool, device=log_weights.device)[..., None]
    replaced = torch.where(diagonal, others[:, None], log_weights[None])
    return torch.logsumexp(replaced, dim=1) - math.log(num_particles)
