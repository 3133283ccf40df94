"""The importance-weighted bound for guides with discrete sites."""

import math
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from inference.estimators.multi_sample import MultiSampleELBO, log_mean_exp
from inference.programs.increments import increments, step_scores
from inference.programs.traces import ImportanceTraces, Program
from videos.typed import typed

CREDITS = ("sequence", "steps")


class VIMCO(MultiSampleELBO):
    """Variational inference for Monte Carlo objectives (Mnih and Rezende 2016, eqs. 5 to 10), sequence by sequence.

    The bound is that of `IWAE`; b_k is log q of the latent choices that cannot be reparameterised, such as presence.

        grad L_K = E[ d/dphi log 1/K sum_k w_k  +  sum_k (L - L_-k) d b_k / dphi ],       L = log 1/K sum_k w_k,
        L_-k = log 1/K ( sum_{j != k} w_j + exp( 1/(K-1) sum_{j != k} log w_j ) )

    The first term is pathwise where draws are reparameterised, and `b_k` is differentiated along all paths: a presence
    whose distribution depends on a drawn position passes gradients on to it. The baseline L_-k of particle k does not
    depend on particle k, so the gradient is unbiased for every guide, with both kinds of sites.

    With `credit="steps"` the choices of a time step are judged by what comes from that step on. With c_ks what step s
    adds to log w_k, b_kt log q of the choices of step t,

        sum_k sum_t (L - L_-kt) d b_kt / dphi
        L_-kt = log 1/K ( sum_{j != k} w_j + exp( sum_{s < t} c_ks + 1/(K-1) sum_{j != k} sum_{s >= t} c_js ) )

    which is unbiased as well: what lies before a choice does not depend on it.

    Args:
        num_particles: K; at least 2 where the guide has sites that are not reparameterised. With none it is `IWAE`.
        credit: "sequence", as published, or "steps", for models and guides whose sites belong to time steps (see
            `inference.programs.increments`) and guides that draw them in the order of time.

    Raises:
        ValueError: if K is too small, there is no such credit, and what `inference.programs.traces` and `increments`
            raise.
    """

    @typed
    def __init__(self, num_particles: int = 2, credit: str = "sequence") -> None:
        if credit not in CREDITS:
            raise ValueError(f"credit: expected one of {', '.join(CREDITS)}, got {credit!r}")
        super().__init__(num_particles)
        self.credit = credit

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
        if self.credit == "sequence":
            signal = (bound - leave_one_out_bounds(log_weights)).detach()
            return bound + (signal * traces.log_scores()).sum(0)
        added = increments(traces).detach()
        before = added.cumsum(1) - added
        after = log_weights.detach()[:, None] - before
        others = before + (after.sum(0) - after) / (self.num_particles - 1)
        scores = step_scores(traces)
        baselines = [replaced_bounds(log_weights.detach(), one) for one in others.unbind(1)]
        return bound + sum(
            ((bound.detach() - baseline) * scores[:, step]).sum(0) for step, baseline in enumerate(baselines)
        )


def leave_one_out_bounds(
    log_weights: Float[Tensor, "particles sequences"],
) -> Float[Tensor, "particles sequences"]:
    """L_-k: the bound with the weight of particle k replaced by the geometric mean of the others."""
    return replaced_bounds(log_weights, (log_weights.sum(0) - log_weights) / (log_weights.shape[0] - 1))


def replaced_bounds(
    log_weights: Float[Tensor, "particles sequences"], others: Float[Tensor, "particles sequences"]
) -> Float[Tensor, "particles sequences"]:
    """The bound with the log weight of particle k replaced by another, separately for each k."""
    num_particles = log_weights.shape[0]
    diagonal = torch.eye(num_particles, dtype=torch.bool, device=log_weights.device)[..., None]
    replaced = torch.where(diagonal, others[:, None], log_weights[None])
    return torch.logsumexp(replaced, dim=1) - math.log(num_particles)
