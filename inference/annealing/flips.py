"""Metropolis moves of bits, such as presence, one at a time."""

from collections.abc import Iterator, Mapping

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from inference.annealing.densities import TemperedDensities


def flip_bits(
    densities: TemperedDensities, latents: Mapping[str, Tensor], inverse: Float[Tensor, "*sequences"]
) -> tuple[dict[str, Tensor], Float[Tensor, "particles sequences"], Float[Tensor, "particles sequences"]]:
    """Propose to flip each bit of each chain and video once; leaves the target q^(1 - b) p^b invariant.

    A flip of one bit is accepted with probability min(1, target after / target before): metropolised Gibbs sampling,
    which moves more often than Gibbs sampling (Liu 1996). The bits of a site are visited in turn, all chains and videos
    in parallel.

    Args:
        densities: densities of the batch.
        latents: current latents, in the coordinates of `densities`.
        inverse: b, the inverse temperature, of each video or of all.

    Returns:
        The latents after the moves, and log p and log q there.
    """
    latents = dict(latents)
    log_joint, log_guide = densities(latents)
    for name in densities.bits:
        for cell in _cells(densities, name):
            proposal = {**latents, name: torch.where(cell, 1 - latents[name], latents[name])}
            new_joint, new_guide = densities(proposal)
            change = inverse * (new_joint - log_joint) + (1 - inverse) * (new_guide - log_guide)
            accept = torch.rand_like(change) < change.exp()
            latents[name] = torch.where(densities.broadcast(accept, name), proposal[name], latents[name])
            log_joint = torch.where(accept, new_joint, log_joint)
            log_guide = torch.where(accept, new_guide, log_guide)
    return latents, log_joint, log_guide


def _cells(densities: TemperedDensities, name: str) -> Iterator[Bool[Tensor, "..."]]:
    """Masks that select one bit of the site for every chain and video, bit after bit."""
    value = densities.sites[name]["value"]
    ones = torch.ones(densities.traces.num_particles, densities.traces.num_sequences, device=value.device)
    shared = densities.broadcast(ones, name).shape  # what is not 1 here belongs to chains and videos
    shape = [1 if wide != 1 else size for wide, size in zip(shared, value.shape, strict=True)]
    for index in range(torch.Size(shape).numel()):
        cell = torch.zeros(shape, dtype=torch.bool, device=value.device)
        cell.view(-1)[index] = True
        yield cell
