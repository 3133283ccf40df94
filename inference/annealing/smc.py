"""A sequential Monte Carlo sampler from the guide to the posterior: annealing with resampling."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from inference.annealing.chains import TemperedChains
from inference.annealing.densities import TemperedDensities
from inference.annealing.path import find_path
from inference.annealing.population import resample
from inference.annealing.walks import frozen
from inference.programs.traces import Program, importance_traces
from inference.runtime.numbers import check_count
from videos.typed import typed_fields


@dataclass(frozen=True)
@typed_fields
class SMC:
    """A sequential Monte Carlo sampler (Del Moral, Doucet and Jasra 2006) from the guide to the posterior.

    A population of chains passes through targets q(z | x)^(1 - b) p(x, z)^b, b from 0 to 1. At each intermediate b,
    chains are resampled if their weights are too unequal; then each gets a proposed flip of each of its bits (presence)
    and one Hamiltonian move of its continuous latents. The product of the mean weights between resamplings,

        Z = prod_s 1/K sum_k w_sk,   E[Z] = p(x),

    is unbiased if temperatures and moves were chosen by other chains (Del Moral 2004). A pilot run finds them, for each
    video separately: see `inference.annealing.path`.

    Attributes:
        num_particles: K, chains per population.
        num_temperatures: steps from the guide to the posterior; None = the largest number that `target_ess` requires in
            any video.
        target_ess: conditional effective sample size that each step of the pilot run keeps, as a share of its chains.
        num_leapfrog: leapfrog steps per move, each with a gradient of both densities.
        threshold: chains are resampled when their effective sample size is below this share of them; 0 = never, which
            is annealed importance sampling.
        num_tuning: chains of the pilot run.
    """

    num_particles: int = 64
    num_temperatures: int | None = None
    target_ess: float = 0.9
    num_leapfrog: int = 5
    threshold: float = 0.5
    num_tuning: int = 32

    def __post_init__(self) -> None:
        least = {"num_particles": 2, "num_leapfrog": 1, "num_tuning": 8}
        least |= {} if self.num_temperatures is None else {"num_temperatures": 1}
        for name, number in least.items():
            check_count(name, getattr(self, name), number)
        if not 0 < self.target_ess < 1:
            raise ValueError(f"target_ess: expected a share between 0 and 1, got {self.target_ess}")
        if not 0 <= self.threshold <= 1:
            raise ValueError(f"threshold: expected a share from 0 to 1, got {self.threshold}")


def smc_log_estimates(
    model: Program, guide: Program, args: Sequence[Any], smc: SMC, count: int, *, particle_dim: int | None = None
) -> Float[Tensor, "count sequences"]:
    """Logs of unbiased estimates of the evidence of each video, in nats.

    All populations run in parallel, `count * smc.num_particles` chains in the particle plate. Draws use the caller's
    random streams.

    Args:
        model: the model.
        guide: the guide.
        args: their positional arguments.
        smc: settings of the sampler.
        count: number of estimates, each from a separate population; at least 1.
        particle_dim: result of `find_particle_dim` for this pair, if known.

    Raises:
        ValueError: if `count` is not positive; also what `TemperedDensities` and `importance_traces` raise.
    """
    if count < 1:
        raise ValueError(f"count: expected at least 1, got {count}")
    with frozen(model, guide):
        traces = importance_traces(model, guide, args, count * smc.num_particles, particle_dim=particle_dim)
        others = importance_traces(model, guide, args, smc.num_tuning, particle_dim=traces.particle_dim)
        path = find_path(TemperedDensities(others, model, guide, args), smc.num_leapfrog, smc.target_ess, smc.threshold)
        inverse, paces = path.schedule(smc.num_temperatures or len(path.paces))
        densities = TemperedDensities(traces, model, guide, args)
        chains = TemperedChains(densities, densities.start())
        estimates = torch.zeros(count, traces.num_sequences, dtype=torch.float64, device=inverse.device)
        steps = inverse.diff(dim=0)
        for index, pace in enumerate(paces):
            chains.reweigh(steps[index])
            estimates = estimates + resample(chains, count, smc.threshold)
            now = inverse[index + 1].to(chains.log_joint)
            chains.flip(now)
            if chains.can_move:
                chains.move(now, pace, smc.num_leapfrog)
        chains.reweigh(steps[-1])
        last = chains.log_weights.unflatten(0, (count, -1)).logsumexp(1) - math.log(smc.num_particles)
        return estimates + last
