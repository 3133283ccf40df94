"""Paths of latents through a particle filter: read off its ancestors, and kept as one of its particles."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from pyro.poutine.messenger import Messenger
from torch import Tensor

from inference.estimators.particle_filter import FilterResult, FilterStep
from inference.programs.traces import ImportanceTraces, sample_sites

Path = Sequence[Mapping[str, Tensor]]
"""For each step the value of every latent site, in the layout of its draws with size 1 for particles."""


class RetainedDraws(Messenger):
    """Inside, the first particle has the latents of a given path; the others are drawn.

    A `ParticleFilter(..., conditional=True)` that is run inside is the conditional filter of Andrieu, Doucet and
    Holenstein (2010). If the path is a draw of the posterior, the inverse of its estimate is unbiased for 1 / p(x). It
    must be entered before `CorrectedDraws`, so that the others are drawn from corrected distributions.

    Args:
        path: the path.
        particle_dim: dim of the particle plate.
    """

    def __init__(self, path: Path, particle_dim: int) -> None:
        super().__init__()
        self.path, self.particle_dim, self.index = path, particle_dim, 0

    def advance(self, step: FilterStep) -> None:
        """Go on to the next step; what the filter is to call after each (`watch`)."""
        self.index += 1

    def _pyro_sample(self, msg: Any) -> None:
        kept = self.path[self.index].get(msg["name"]) if self.index < len(self.path) else None
        if kept is None or msg["is_observed"] or msg["value"] is not None:
            return
        drawn = msg["fn"].sample()
        dim = self.particle_dim - len(msg["fn"].event_shape)
        msg["value"] = torch.cat([kept.to(drawn), drawn.narrow(dim, 1, drawn.shape[dim] - 1)], dim)
        msg["done"] = True


class PathRecorder:
    """Keeps the draws of a filter, so that one path of each sequence can be drawn from them."""

    def __init__(self) -> None:
        self.steps: list[ImportanceTraces] = []
        self.log_shares: Float[Tensor, "particles sequences"] | None = None

    def watch(self, step: FilterStep) -> None:
        """What the filter is to call after each step."""
        self.steps.append(step.traces)
        self.log_shares = step.log_shares

    def draw(self, result: FilterResult) -> Path:
        """One path of each sequence, with the probabilities of the final weights.

        Args:
            result: of the filter that was watched.
        """
        assert self.log_shares is not None
        particle = torch.multinomial(self.log_shares.exp().T, 1).T  # (1, sequences)
        path = []
        for index in reversed(range(len(self.steps))):
            path.append(_values_of(self.steps[index], particle))
            if index > 0:
                particle = result.ancestors[index - 1].gather(0, particle)
        return path[::-1]


def _values_of(traces: ImportanceTraces, particle: Int[Tensor, "1 sequences"]) -> dict[str, Tensor]:
    assert traces.particle_dim is not None
    values = {}
    for site in sample_sites(traces.guide).values():
        if site["is_observed"]:
            continue
        value = site["value"]
        dim = traces.particle_dim - len(site["fn"].event_shape)
        index = traces.to_site(particle.expand(traces.num_particles, -1), site).narrow(dim, 0, 1)
        values[site["name"]] = value.gather(dim, index.expand(_with_size(value.shape, dim, 1)))
    return values


def _with_size(shape: torch.Size, dim: int, size: int) -> torch.Size:
    sizes = list(shape)
    sizes[dim] = size
    return torch.Size(sizes)
