"""The importance-weighted bound, with weights per sequence."""

import math
from typing import Any
from weakref import WeakKeyDictionary

import torch
from jaxtyping import Float
from pyro.infer import ELBO
from pyro.util import warn_if_nan
from torch import Tensor

from inference.estimators.traces import (
    ImportanceTraces,
    Program,
    find_particle_dim,
    importance_traces,
    sample_sites,
)


class IWAE(ELBO):
    """The importance-weighted bound of Burda, Grosse and Salakhutdinov (2016), eq. 8, sequence by sequence.

        L_K = sum_n E[ log 1/K sum_k w_kn ],   w_kn = p(x_n, z_kn) / q(z_kn | x_n),   z_kn ~ q

    K = 1 is the ELBO; L_K never falls with K and tends to the log evidence. The average over particles is inside the
    sum over sequences: each sequence has its own weights, and its own bound.

    The gradient "standard" differentiates L_K through the draws (their eq. 14): unbiased if and only if every latent
    site of the guide is reparameterised, which is checked. As K grows the signal-to-noise ratio of a guide's gradient
    falls like 1 / sqrt(K) (Rainforth et al., 2018): use a few particles for training and many for `log_evidence`.

    Losses are negative bounds in nats, summed over sequences and times full size / batch size when the model
    subsamples its plate `sequences`, as in every `pyro.infer.ELBO`. Works with `inference.SVI` and `pyro.infer.SVI`.

    Args:
        num_particles: K, at least 1.
        gradient: "standard".

    Raises:
        ValueError: if an argument is not as described; when a gradient is asked for and a latent site of the guide is
            not reparameterised; and what `inference.estimators.traces.importance_traces` raises.
    """

    def __init__(self, num_particles: int = 1, gradient: str = "standard") -> None:
        if num_particles < 1:
            raise ValueError(f"num_particles: expected at least 1, got {num_particles}")
        if gradient != "standard":
            raise ValueError(f"gradient: expected 'standard', got {gradient!r}")
        super().__init__(num_particles=num_particles)
        self.gradient = gradient
        # The place of the particle plate depends on model and guide: one estimator may meet several.
        self._particle_dims: WeakKeyDictionary[Program, WeakKeyDictionary[Program, int]] = WeakKeyDictionary()

    def _get_trace(self, model: Program, guide: Program, args: tuple, kwargs: dict[str, Any]) -> ImportanceTraces:
        if self.num_particles == 1:
            return importance_traces(model, guide, args, 1, kwargs=kwargs)
        dims = self._particle_dims.setdefault(model, WeakKeyDictionary())
        if guide not in dims:
            dims[guide] = find_particle_dim(model, guide, args, kwargs)
        return importance_traces(model, guide, args, self.num_particles, kwargs=kwargs, particle_dim=dims[guide])

    def _negative_bound(self, traces: ImportanceTraces) -> Float[Tensor, ""]:
        per_sequence = torch.logsumexp(traces.log_weights(), dim=0) - math.log(self.num_particles)
        return -traces.subsampling * per_sequence.sum()

    def loss(self, model: Program, guide: Program, *args: Any, **kwargs: Any) -> float:
        """The negative bound in nats, without gradients; any guide will do."""
        with torch.no_grad():
            loss = self._negative_bound(self._get_trace(model, guide, args, kwargs))
        warn_if_nan(loss, "loss")
        return loss.item()

    def differentiable_loss(self, model: Program, guide: Program, *args: Any, **kwargs: Any) -> Float[Tensor, ""]:
        """The negative bound in nats; its gradient is the estimator's. Nothing is read back from the device."""
        traces = self._get_trace(model, guide, args, kwargs)
        scored = [
            site["name"]
            for site in sample_sites(traces.guide)
            if not site["is_observed"] and not site["fn"].has_rsample
        ]
        if scored:
            raise ValueError(
                f"gradient: {self.gradient!r} expects every latent site of the guide to be reparameterised, "
                f"{', '.join(map(repr, scored))} of the guide cannot be; use pyro.infer.TraceGraph_ELBO for such sites"
            )
        return self._negative_bound(traces)

    def loss_and_grads(self, model: Program, guide: Program, *args: Any, **kwargs: Any) -> float:
        """The negative bound in nats; adds its gradient to that of every parameter."""
        loss = self.differentiable_loss(model, guide, *args, **kwargs)
        if loss.requires_grad:
            loss.backward(retain_graph=self.retain_graph)
        warn_if_nan(loss.detach(), "loss")
        return loss.item()
