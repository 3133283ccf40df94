"""Values of sites with plates in a fixed order, independent of the order in the model."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from inference.programs.trace_checks import PARTICLES, SEQUENCES


def sequences_first(site: Mapping[str, Any], particle_dim: int | None) -> tuple[Tensor, list[str]]:
    """A site's value as (particles, sequences, *other plates, *event) and the names of its dims after particles.

    Args:
        site: the site's record in a trace.
        particle_dim: dim of the particle plate, None if there is none: one particle.
    """
    event_dims = len(site["fn"].event_shape)
    value = site["value"]
    batch = torch.broadcast_shapes(site["fn"].batch_shape, value.shape[: value.dim() - event_dims])
    value = value.expand(batch + value.shape[value.dim() - event_dims :])
    plates = {frame.dim: frame.name for frame in site["cond_indep_stack"] if frame.vectorized}
    if particle_dim is None:
        value = value.unsqueeze(0)
        plates[-len(batch) - 1] = PARTICLES
    kept = sorted(plates, key=lambda dim: (plates[dim] != PARTICLES, plates[dim] != SEQUENCES, dim))
    singletons = [dim for dim in range(-value.dim() + event_dims, 0) if dim not in plates]
    order = [dim - event_dims for dim in (*kept, *singletons)]
    value = value.permute(*order, *range(-event_dims, 0))
    value = value.reshape(value.shape[: len(kept)] + value.shape[len(kept) + len(singletons) :])
    own = [f"{site['name']}_dim_{index}" for index in range(event_dims)]
    return value, [*(plates[dim] for dim in kept[1:]), *own]
