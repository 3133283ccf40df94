"""Resampling of chains with unequal weights, independently per population and video."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from inference.annealing.chains import TemperedChains
from inference.estimators.resampling import systematic


def resample(chains: TemperedChains, count: int, threshold: float) -> Float[Tensor, "count sequences"]:
    """Resample populations whose effective sample size is below a share of their chains, and reset their weights to 1.

    Args:
        chains: chains of all populations, concatenated.
        count: number of populations.
        threshold: the share.

    Returns:
        Log mean weight of each resampled population, 0 for the others.
    """
    weights = chains.log_weights.unflatten(0, (count, -1))
    size = weights.shape[1]
    total = weights.logsumexp(1)
    effective = torch.exp(2 * total - (2 * weights).logsumexp(1))
    chosen = (effective < threshold * size) & total.isfinite()  # if all weights are 0 there is nothing to resample
    shares = torch.where(chosen[:, None], (weights - total[:, None]).exp(), 1 / size)
    ancestors = systematic(shares.transpose(0, 1).flatten(1)).reshape(size, count, -1).transpose(0, 1)
    same = torch.arange(size, device=weights.device)[:, None]
    ancestors = torch.where(chosen[:, None], ancestors, same)
    first = size * torch.arange(count, device=weights.device)[:, None, None]
    chains.select((first + ancestors).flatten(0, 1))
    chains.log_weights = torch.where(chosen[:, None], 0.0, weights).flatten(0, 1)
    return torch.where(chosen, total - math.log(size), 0.0)
