"""Which particles survive: ancestors drawn by weight, for each sequence on its own."""

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

Ancestors = Int[Tensor, "particles sequences"]


def multinomial(weights: Float[Tensor, "particles sequences"]) -> Ancestors:
    """Independent draws (Gordon, Salmond and Smith 1993).

    Args:
        weights: normalised over particles.
    """
    num_particles = weights.shape[0]
    return torch.multinomial(weights.T, num_particles, replacement=True).T


def systematic(weights: Float[Tensor, "particles sequences"]) -> Ancestors:
    """One uniform draw a sequence, the rest on a grid (Carpenter, Clifford and Fearnhead 1999): the least noise.

    Each particle has K w_k children, rounded up or down.

    Args:
        weights: normalised over particles.
    """
    num_particles, num_sequences = weights.shape
    offsets = torch.rand(num_sequences, 1, dtype=weights.dtype, device=weights.device)
    grid = (torch.arange(num_particles, dtype=weights.dtype, device=weights.device) + offsets) / num_particles
    ancestors = torch.searchsorted(weights.T.cumsum(-1).contiguous(), grid)
    return ancestors.clamp(max=num_particles - 1).T  # the last sum may fall short of 1


RESAMPLING: dict[str, Callable[[Tensor], Ancestors]] = {"systematic": systematic, "multinomial": multinomial}


def select_particles(state: Any, ancestors: Ancestors, batch_dims: int) -> Any:
    """The states of the ancestors: tensors (particles, ..., sequences, ...), alone or in (named) tuples and dicts.

    Args:
        state: what a step handed on; None stays None.
        ancestors: index of a particle, for each particle and sequence.
        batch_dims: number of plate dims in front, particles first and sequences last among them.

    Raises:
        ValueError: if a tensor has not these dims.
    """
    if state is None:
        return None
    if isinstance(state, dict):
        return {name: select_particles(value, ancestors, batch_dims) for name, value in state.items()}
    if isinstance(state, (tuple, list)):
        parts = (select_particles(value, ancestors, batch_dims) for value in state)
        return type(state)(*parts) if hasattr(state, "_fields") else tuple(parts)
    num_particles, num_sequences = ancestors.shape
    shape = tuple(state.shape)
    if len(shape) < batch_dims or shape[0] not in (1, num_particles) or shape[batch_dims - 1] != num_sequences:
        raise ValueError(
            f"state: expected tensors of {batch_dims} plate dims and more, ({num_particles}, ..., {num_sequences}, ...)"
            f", particles first and sequences last of the plates, got {shape}"
        )
    index = ancestors.reshape(num_particles, *[1] * (batch_dims - 2), num_sequences, *[1] * (len(shape) - batch_dims))
    return state.expand(num_particles, *shape[1:]).gather(0, index.expand(num_particles, *shape[1:]))
