"""The order of particles, sequences and time in a tensor: the one place that moves them.

Plates follow one convention: `sequences` is dim -1 and, in models without objects, `time` is dim -2. A latent that is a
whole sequence is drawn outside the time plate, so under a particle plate its batch shape is (particles, 1, sequences):
the singleton stands for the time plate. Networks take the value without it.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

TIME_OF_OBJECTS = -3  # dim of the plate of time in models with objects, left of objects and sequences


def merge_particles(value: Tensor, event_dims: int) -> Tensor:
    """Drop the time plate's singleton: (*particles, 1, sequences, *event) -> (*particles, sequences, *event).

    Values drawn without particles, (sequences, *event), are returned unchanged.

    Args:
        value: a site's value, drawn inside the `sequences` plate and outside the `time` plate.
        event_dims: number of event dimensions of the site.

    Raises:
        ValueError: if the place of the time plate is not a singleton.
    """
    plates = value.dim() - event_dims
    if plates < 2:
        return value
    place = plates - 2
    if value.shape[place] != 1:
        raise ValueError(
            f"value: expected (*particles, 1, sequences, *event) with {event_dims} event dims, got {tuple(value.shape)}"
        )
    return value.squeeze(place)


def to_time_plate(value: Tensor, event_dims: int) -> Tensor:
    """Put time into its plate: (*particles, sequences, time, *event) -> (*particles, time, sequences, *event)."""
    return torch.transpose(value, -event_dims - 1, -event_dims - 2)


def concatenate(*values: Tensor) -> Tensor:
    """Concatenate vectors (*batch, feature); batch dims broadcast."""
    batch = torch.broadcast_shapes(*(value.shape[:-1] for value in values))
    return torch.cat([value.expand(*batch, value.shape[-1]) for value in values], -1)


def join_frames(values: Sequence[Tensor], event_dims: int) -> Tensor:
    """Values of single frames along the dim of the plate `time`, (*particles, time, objects, sequences, *event).

    Under a plate of particles, values have a dim of size 1 there already: stacked, particles would be multiplied by
    one another.

    Args:
        values: of each frame, (*particles, 1, objects, sequences, *event) or (objects, sequences, *event); the dim of
            objects may have size 1, and is missing from (sequences, *event).
        event_dims: number of event dims.
    """
    place = TIME_OF_OBJECTS - event_dims
    shape = torch.broadcast_shapes(*(value.shape for value in values))
    shape = (1,) * (-place - len(shape)) + tuple(shape)
    return torch.cat([value.expand(shape) for value in values], place)
