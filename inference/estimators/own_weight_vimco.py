"""What published code of SQAIR and others calls VIMCO, to compare with."""

from typing import Any

from jaxtyping import Float
from torch import Tensor

from inference.estimators.multi_sample import MultiSampleELBO, log_mean_exp
from inference.estimators.vimco import leave_one_out_bounds
from inference.programs.traces import ImportanceTraces, Program


class OwnWeightVIMCO(MultiSampleELBO):
    """Each particle's choices are judged by its own weight, and the judgements are averaged:

        d log 1/K sum_k w_k  +  1/K sum_k (log w_k - L_-k) d b_k,          notation of `VIMCO`

    In expectation the second term is the score-function gradient of the ELBO, while the first is that of the bound with
    K particles: a mixture that is the gradient of neither (Kosiorek et al. 2018 print VIMCO, their code does this). Use
    `VIMCO` for anything but a comparison.

    Args:
        num_particles: K, at least 2 where the guide has sites that are not reparameterised.

    Raises:
        ValueError: if K is too small, and what `inference.programs.traces` raises.
    """

    def __init__(self, num_particles: int = 2) -> None:
        super().__init__(num_particles)

    def objective(
        self, traces: ImportanceTraces, model: Program, guide: Program, args: tuple, kwargs: dict[str, Any]
    ) -> Float[Tensor, " sequences"]:
        """See `MultiSampleELBO.objective`."""
        log_weights = traces.log_weights()
        bound = log_mean_exp(log_weights)
        if not traces.score_sites():
            return bound
        if self.num_particles == 1:
            raise ValueError("num_particles: expected at least 2, since a baseline is made of other particles, got 1")
        signal = (log_weights - leave_one_out_bounds(log_weights)).detach()
        return bound + (signal * traces.log_scores()).mean(0)
