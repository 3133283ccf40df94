"""Videos and particles in chunks, each with its own random stream."""

from collections.abc import Iterator
from hashlib import sha256
from typing import Any

import torch
from torch import Tensor

from inference.evidence.settings import DrawSettings
from inference.programs.traces import (
    ImportanceTraces,
    Program,
    evaluation_mode,
    find_particle_dim,
    importance_traces,
    local_parameters,
    modules_of,
)
from inference.runtime.generators import seeded
from pyro_models.components.arguments import check_batch


def digests(args: tuple[Tensor | None, ...]) -> tuple[str, str]:
    """Short digests of the observed data, and of the mask of observed frames."""
    frames, observed, controls = args
    assert frames is not None
    mask = torch.ones(frames.shape[:2], dtype=torch.bool) if observed is None else observed.cpu()
    shape = (*mask.shape, *[1] * (frames.dim() - 2))
    seen = torch.where(mask.reshape(shape), frames.detach().cpu(), 0.0)
    videos = sha256(seen.double().numpy().tobytes())
    if controls is not None:
        videos.update(controls.detach().cpu().double().numpy().tobytes())
    return videos.hexdigest()[:16], sha256(mask.numpy().tobytes()).hexdigest()[:16]


def particle_chunks(
    model: Program, guide: Program, args: tuple[Tensor | None, ...], num_particles: int, settings: DrawSettings
) -> Iterator[tuple[slice, slice, ImportanceTraces]]:
    """Run guide and model chunk by chunk, each chunk with its own random stream.

    Yields:
        Slice of particles, slice of sequences, and the traces of their draws, on the device of the parameters.
    """
    device = device_of(model, guide)
    particle_dim = None
    for particles, sequences, row, column in cells(check_arguments(args), num_particles, settings):
        batch = chunk_of(args, sequences, device)
        count = particles.stop - particles.start
        with torch.no_grad(), evaluation_mode(model, guide), local_parameters(model, guide):
            if particle_dim is None and count > 1:
                particle_dim = find_particle_dim(model, guide, batch)
            with seeded("particles", settings.seed, column, row):
                traces = importance_traces(model, guide, batch, count, particle_dim=particle_dim)
        yield particles, sequences, traces


def cells(num_sequences: int, num_particles: int, settings: DrawSettings) -> Iterator[tuple[slice, slice, int, int]]:
    """Slices of particles and sequences of each of this process's chunks, and the chunk's row and column."""
    particles_at_once, sequences_at_once = settings.particles_per_chunk, settings.sequences_per_chunk
    assert particles_at_once is not None  # `with_room` chose both
    assert sequences_at_once is not None
    number = 0
    for row, start in enumerate(range(0, num_sequences, sequences_at_once)):
        sequences = slice(start, min(start + sequences_at_once, num_sequences))
        for column, first in enumerate(range(0, num_particles, particles_at_once)):
            if number % settings.processes.size == settings.processes.rank:
                yield slice(first, min(first + particles_at_once, num_particles)), sequences, row, column
            number += 1


def chunk_of(args: tuple[Tensor | None, ...], sequences: slice, device: torch.device | None) -> tuple[Any, ...]:
    """Some sequences of a model's arguments, on a device."""
    return tuple(None if value is None else value[sequences].to(device) for value in args)


def device_of(*programs: Program) -> torch.device | None:
    """Device of the programs' parameters; None if they have none."""
    parameters = (parameter for module in modules_of(*programs) for parameter in module.parameters(recurse=False))
    return next((parameter.device for parameter in parameters), None)


def check_arguments(args: tuple[Tensor | None, ...]) -> int:
    """Number of sequences of frames, mask and controls; see `check_batch` for what is refused."""
    frames, observed, controls = args
    assert frames is not None
    return check_batch(frames, observed, controls)
