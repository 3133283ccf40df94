"""The importance-weighted bound along its pathwise gradients."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from inference.estimators.multi_sample import MultiSampleELBO, log_mean_exp, shares_of
from inference.programs.replays import traces_at_leaves
from inference.programs.traces import ImportanceTraces, Program
from videos.typed import typed

GRADIENTS = ("standard", "stl", "dreg")


class IWAE(MultiSampleELBO):
    """The importance-weighted bound of Burda, Grosse and Salakhutdinov (2016), sequence by sequence.

        L_K = sum_n E[ log 1/K sum_k w_kn ],   w_kn = p(x_n, z_kn) / q(z_kn | x_n),   z_kn ~ q

    Three gradients, for guides whose latent sites are all reparameterised, z = z(noise, phi); with the normalised
    weights v_k = w_k / sum_j w_j:

    - "standard" differentiates L_K (Burda et al., eq. 14). Unbiased. As K grows the signal-to-noise ratio of a guide's
      gradient falls like 1 / sqrt(K) (Rainforth et al. 2018).
    - "stl", sticking the landing (Roeder, Wu and Duvenaud 2017): sum_k v_k (d log w_k / d z_k) (d z_k / d phi), without
      the score d log q / d phi. No variance at an exact guide. Unbiased for K = 1, biased for K > 1 (Tucker et al.).
    - "dreg", doubly reparameterised (Tucker, Lawson, Gu and Maddison 2019): the same with v_k^2. Unbiased, and its
      signal-to-noise ratio grows with K: the one to use for K > 1.

    "stl" and "dreg" run the guide twice (once at fixed draws); the gradient in the model's parameters is the standard
    one.

    Args:
        num_particles: K, at least 1.
        gradient: "standard", "stl" or "dreg".

    Raises:
        ValueError: if an argument is not as described; when a gradient is requested and a latent site of the guide is
            not reparameterised; and what `inference.programs.traces` raises.
    """

    @typed
    def __init__(self, num_particles: int = 1, gradient: str = "standard") -> None:
        super().__init__(num_particles)
        if gradient not in GRADIENTS:
            raise ValueError(f"gradient: expected one of {', '.join(map(repr, GRADIENTS))}, got {gradient!r}")
        self.gradient = gradient

    def objective(
        self, traces: ImportanceTraces, model: Program, guide: Program, args: tuple, kwargs: dict[str, Any]
    ) -> Float[Tensor, " sequences"]:
        """See `MultiSampleELBO.objective`."""
        if scored := traces.score_sites():
            raise ValueError(
                f"gradient: {self.gradient!r} expects every latent site of the guide to be reparameterised, "
                f"{', '.join(map(repr, scored))} of the guide cannot be; use VIMCO, WakeSleep or "
                f"pyro.infer.TraceGraph_ELBO for such sites"
            )
        if self.gradient == "standard":
            return log_mean_exp(traces.log_weights())
        fixed, leaves = traces_at_leaves(traces, model, guide, args, kwargs=kwargs)
        log_weights = fixed.log_weights()
        shares = shares_of(log_weights)
        factors = shares_of(log_weights, 2) if self.gradient == "dreg" else shares
        slopes: tuple[Tensor | None, ...] = ()
        if leaves:  # none in a model without latents, and torch refuses an empty list
            slopes = torch.autograd.grad(
                (factors * log_weights).sum(), list(leaves.values()), retain_graph=True, allow_unused=True
            )
        total = (shares * fixed.log_joint()).sum(0)
        nodes: Any = traces.guide.nodes
        for name, slope in zip(leaves, slopes, strict=True):
            if slope is not None:
                # One number for the batch will do: only its gradient is used.
                total = total + (slope * nodes[name]["value"]).sum() / traces.num_sequences
        return total
