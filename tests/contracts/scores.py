"""Log densities of models and guides at given latents, sequence by sequence."""

from collections.abc import Callable, Mapping
from typing import Any

import pyro
import torch
from pyro import poutine
from pyro.distributions.util import scale_and_mask
from torch import Tensor

from guides.program import sample_sites

Arguments = tuple[Tensor, Tensor | None, Tensor | None]


def draw(program: Callable[..., Any], arguments: Arguments, particles: int = 0, nesting: int = 0) -> dict[str, Tensor]:
    """Values of the latents, drawn by a model from its prior or by a guide; particles come to the left."""
    with torch.no_grad():
        if particles:
            with pyro.plate("_particles", particles, dim=-nesting - 1):
                trace = poutine.trace(program).get_trace(*arguments)
        else:
            trace = poutine.trace(program).get_trace(*arguments)
    return {name: node["value"] for name, node in sample_sites(trace).items() if not node["is_observed"]}


def score(
    program: Callable[..., Any],
    arguments: Arguments,
    latents: Mapping[str, Tensor],
    particles: int = 0,
    nesting: int = 0,
) -> Tensor:
    """Log density of the latents (and of the frames, under a model), summed over sites: (*particles, sequences)."""
    conditioned = poutine.condition(program, dict(latents))
    if particles:
        with pyro.plate("_particles", particles, dim=-nesting - 1):
            trace = poutine.trace(conditioned).get_trace(*arguments)
    else:
        trace = poutine.trace(conditioned).get_trace(*arguments)
    total = arguments[0].new_zeros(*[particles] * bool(particles), len(arguments[0]))
    for node in sample_sites(trace).values():
        density = scale_and_mask(node["fn"].log_prob(node["value"]), 1.0, node["mask"])
        dims = {frame.name: frame.dim for frame in node["cond_indep_stack"] if frame.vectorized}
        kept = [dims[name] + density.dim() for name in ("_particles", "sequences") if name in dims]
        others = [dim for dim in range(density.dim()) if dim not in kept]
        total = total + (density.sum(others) if others else density)
    return total


def single(latents: Mapping[str, Tensor], particle: int, alone: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """One particle's latents, laid out as when they are drawn without particles."""
    return {name: value[particle].reshape(alone[name].shape) for name, value in latents.items()}
