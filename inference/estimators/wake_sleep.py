"""Reweighted wake-sleep: weights instead of gradients through discrete choices."""

from typing import Any

from jaxtyping import Float
from torch import Tensor

from inference.estimators.multi_sample import MultiSampleELBO, shares_of
from inference.programs.replays import traces_at_leaves
from inference.programs.traces import ImportanceTraces, Program
from videos.typed import typed


class WakeSleep(MultiSampleELBO):
    """Reweighted wake-sleep (Bornschein and Bengio 2015), with wake updates of model and guide, sequence by sequence.

        model:  sum_k v_k d log p(x, z_k) / d theta,       v_k = w_k / sum_j w_j
        guide:  sum_k v_k d log q(z_k | x) / d phi

    The model climbs the bound of `IWAE`. The guide climbs another objective: it approaches the posterior in the
    inclusive divergence KL(p || q), from draws that the weights make stand for the posterior's (biased for finite K).
    No gradient passes through a draw, so discrete sites cost no variance. Le, Kosiorek, Siddharth, Teh and Wood (2019)
    found it to be better than VIMCO on AIR, and to gain with K where the gradient of a bound loses. The loss is the
    negative bound of `IWAE`, which the guide does not minimise.

    Args:
        num_particles: K; one particle has weight 1, and the guide then merely becomes overconfident: at least 2.

    Raises:
        ValueError: if K is too small, and what `inference.programs.traces` raises.
    """

    @typed
    def __init__(self, num_particles: int = 2) -> None:
        super().__init__(num_particles)

    def objective(
        self, traces: ImportanceTraces, model: Program, guide: Program, args: tuple, kwargs: dict[str, Any]
    ) -> Float[Tensor, " sequences"]:
        """See `MultiSampleELBO.objective`."""
        if self.num_particles == 1:
            raise ValueError(
                "num_particles: expected at least 2, since the normalised weight of one particle is always 1, got 1"
            )
        fixed, _ = traces_at_leaves(traces, model, guide, args, kwargs=kwargs)
        shares = shares_of(traces.log_weights())
        return (shares * (fixed.log_joint() + fixed.log_guide())).sum(0)
