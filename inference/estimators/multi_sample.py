"""What estimators with several particles share: draws, weights per sequence, the bound, and Pyro's interface."""

import math
from abc import abstractmethod
from typing import Any
from weakref import WeakKeyDictionary

import torch
from jaxtyping import Float
from pyro.infer import ELBO
from pyro.util import warn_if_nan
from torch import Tensor

from inference.programs.traces import ImportanceTraces, Program, find_particle_dim, importance_traces
from inference.runtime.numbers import check_count


class SequenceELBO(ELBO):
    """A bound that is a sum over sequences, with particles in a plate: what an `ELBO` of ours starts from.

    Losses are negative bounds in nats, summed over sequences and times full size / batch size when the model subsamples
    its plate `sequences`, as in every `pyro.infer.ELBO`.

    Args:
        num_particles: K, at least 1.

    Raises:
        ValueError: if `num_particles` is not positive.
    """

    def __init__(self, num_particles: int) -> None:
        check_count("num_particles", num_particles)
        super().__init__(num_particles=num_particles)
        # The place of the particle plate depends on model and guide: one estimator may meet several.
        self._particle_dims: WeakKeyDictionary[Program, WeakKeyDictionary[Program, int]] = WeakKeyDictionary()

    def particle_dim(self, model: Program, guide: Program, args: tuple, kwargs: dict[str, Any]) -> int:
        """`find_particle_dim`, run once for each pair."""
        dims = self._particle_dims.setdefault(model, WeakKeyDictionary())
        if guide not in dims:
            dims[guide] = find_particle_dim(model, guide, args, kwargs)
        return dims[guide]

    def _get_trace(self, model: Program, guide: Program, args: tuple, kwargs: dict[str, Any]) -> ImportanceTraces:
        if self.num_particles == 1:
            return importance_traces(model, guide, args, 1, kwargs=kwargs)
        dim = self.particle_dim(model, guide, args, kwargs)
        return importance_traces(model, guide, args, self.num_particles, kwargs=kwargs, particle_dim=dim)

    @abstractmethod
    def differentiable_loss(self, model: Program, guide: Program, *args: Any, **kwargs: Any) -> Float[Tensor, ""]:
        """The negative bound in nats; its gradient is the estimator's."""

    def loss_and_grads(self, model: Program, guide: Program, *args: Any, **kwargs: Any) -> float:
        """The negative bound in nats; adds its gradient to that of every parameter."""
        loss = self.differentiable_loss(model, guide, *args, **kwargs)
        if loss.requires_grad:
            loss.backward(retain_graph=self.retain_graph)
        warn_if_nan(loss.detach(), "loss")
        return loss.item()


class MultiSampleELBO(SequenceELBO):
    """The importance-weighted bound of Burda, Grosse and Salakhutdinov (2016), eq. 8, sequence by sequence.

        L_K = sum_n E[ log 1/K sum_k w_kn ],   w_kn = p(x_n, z_kn) / q(z_kn | x_n),   z_kn ~ q

    K = 1 is the ELBO; L_K never falls with K and tends to the log evidence. The average over particles is inside the
    sum over sequences: each sequence has its own weights, and its own bound.

    A subclass says along which gradient, see `objective`.

    Args:
        num_particles: K, at least 1.

    Raises:
        ValueError: if `num_particles` is not positive, and what `inference.programs.traces` raises.
    """

    @abstractmethod
    def objective(
        self, traces: ImportanceTraces, model: Program, guide: Program, args: tuple, kwargs: dict[str, Any]
    ) -> Float[Tensor, " sequences"]:
        """For each sequence a number in nats whose gradient is followed upwards; its value does not matter.

        Args:
            traces: the draws, with the graphs of both programs.
            model: the model that was run.
            guide: the guide that was run.
            args: their positional arguments.
            kwargs: their keyword arguments.
        """

    def loss(self, model: Program, guide: Program, *args: Any, **kwargs: Any) -> float:
        """The negative bound in nats, without gradients; any guide will do."""
        with torch.no_grad():
            traces = self._get_trace(model, guide, args, kwargs)
            loss = -traces.subsampling * log_mean_exp(traces.log_weights()).sum()
        warn_if_nan(loss, "loss")
        return loss.item()

    def differentiable_loss(self, model: Program, guide: Program, *args: Any, **kwargs: Any) -> Float[Tensor, ""]:
        """The negative bound in nats; its gradient is the estimator's. Nothing is read back from the device."""
        traces = self._get_trace(model, guide, args, kwargs)
        objective = self.objective(traces, model, guide, args, kwargs)
        bound = log_mean_exp(traces.log_weights().detach())
        return -traces.subsampling * (bound + (objective - objective.detach())).sum()


def log_mean_exp(log_weights: Float[Tensor, "particles sequences"]) -> Float[Tensor, " sequences"]:
    """Log 1/K sum_k exp l_kn; particles whose share is negligible get no gradient, see `shares_of`."""
    cut = 2 * math.log(torch.finfo(log_weights.dtype).eps)
    hopeless = log_weights.detach() < log_weights.detach().amax(0) + cut
    return torch.logsumexp(log_weights.masked_fill(hopeless, -torch.inf), dim=0) - math.log(log_weights.shape[0])


def shares_of(
    log_weights: Float[Tensor, "particles sequences"], power: int = 1
) -> Float[Tensor, "particles sequences"]:
    """(w_kn / sum_j w_jn)^power without gradient, and zero where that is below the square of the dtype's precision.

    Such a share changes no sum, but 1e-38 and less are subnormal numbers, on which CPUs crawl: with particles dozens of
    nats apart they make a training step 2 to 3 times longer.

    Args:
        log_weights: of each particle and sequence.
        power: of the shares.
    """
    shares = log_weights.detach().softmax(0).pow(power)
    return shares.masked_fill(shares < torch.finfo(shares.dtype).eps ** 2, 0.0)
