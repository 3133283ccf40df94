"""Resampling of chains, each population of each video by itself, when their weights have become unequal."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from inference.annealing.chains import TemperedChains
from inference.estimators.resampling import systematic


def resample(chains: TemperedChains, count: int, threshold: float) -> Float[Tensor, "count sequences"]:
    """Resample the populations whose effective sample size is below a share of their chains; their weights become 1.

    Args:
        chains: of all populations, one after the other.
        count: how many populations there are.
        threshold: the share.

    Returns:
        Log mean weight of each population that was resampled, 0 of the others.
    """
    weights = chains.log_weights.unflatten(0, (count, -1))
    size = weights.shape[1]
    total = weights.logsumexp(1)
    effective = torch.exp(2 * total - (2 * weights).logsumexp(1))
    chosen = (effective < threshold * size) & total.isfinite()  # nothing to choose from where all weights are 0
    shares = torch.where(chosen[:, None], (weights - total[:, None]).exp(), 1 / size)
    ancestors = systematic(shares.transpose(0, 1).flatten(1)).reshape(size, count, -1).transpose(0, 1)
    same = torch.arange(size, device=weights.device)[:, None]
    ancestors = torch.where(chosen[:, None], ancestors, same)
    first = size * torch.arange(count, device=weights.device)[:, None, None]
    chains.select((first + ancestors).flatten(0, 1))
    chains.log_weights = torch.where(chosen[:, None], 0.0, weights).flatten(0, 1)
    return torch.where(chosen, total - math.log(size), 0.0)
