"""Log p and log q of a fixed batch of videos as functions of the latents: the two ends of annealing."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pyro
import torch
from jaxtyping import Float, Shaped
from torch import Tensor
from torch.distributions import biject_to

from guides.incomplete_models import check_latents_move
from inference.programs.latent_coordinates import (
    LatentCoordinates,
    check_supports_stay,
    is_boolean,
    is_computed,
    may_depend,
    sum_rightmost,
)
from inference.programs.masked_latents import MaskedAnew, is_masked, unmasked
from inference.programs.replays import traces_at
from inference.programs.trace_checks import UNCONSTRAINED, check_point_masses, sequences_frame
from inference.programs.traces import ImportanceTraces, Program, importance_traces, run_traces, sample_sites
from inference.runtime.generators import preserved_generators


class TemperedDensities:
    """Log p(x, z) and log q(z | x) as functions of latents, for a fixed batch of videos.

    Continuous latents are given in unbounded coordinates, bits (such as presence) as 0 and 1.

    A masked latent, such as the position of an absent object, has no density in either program. Here both use the
    guide's unmasked distribution of it, which cancels in p / q: the space of latents is then fixed, with a proper
    distribution on all of it, and a bit can flip to a presence that already has a position (Carlin and Chib 1995).

    Args:
        traces: initial draws of the guide; their particles are the chains.
        model: the model.
        guide: the guide.
        args: their positional arguments.

    Raises:
        ValueError: if a latent site is discrete but not binary, is a point mass, or has a support without unbounded
            coordinates, that differs between model and guide, or that depends on other latents; names it. Also if the
            model needs its guide.
    """

    def __init__(self, traces: ImportanceTraces, model: Program, guide: Program, args: Sequence[Any]) -> None:
        self.model, self.guide, self.args = model, guide, args
        check_latents_move(model)
        check_point_masses(traces.model, traces.guide)
        drawn = _latents(traces)
        self.computed = [name for name, site in drawn.items() if is_computed(site, drawn)]
        self.sites = {name: site for name, site in drawn.items() if name not in self.computed}
        self.bits = [name for name, site in self.sites.items() if is_boolean(site["fn"].support)]
        discrete = [
            name for name, site in self.sites.items() if site["fn"].support.is_discrete and name not in self.bits
        ]
        if discrete:
            raise ValueError(
                f"guide: expected latents that are continuous or bits, {', '.join(map(repr, discrete))} is neither; "
                "annealing moves along gradients and flips bits"
            )
        self.latents = {site["name"]: site for site in sample_sites(traces.model).values() if not site["is_observed"]}
        self.coordinates = {
            name: LatentCoordinates(site, self.latents.get(name))
            for name, site in self.sites.items()
            if name not in self.bits
        }
        if any(may_depend(self.sites[name]["fn"].support) for name in self.coordinates):
            with preserved_generators():
                others = importance_traces(model, guide, args, traces.num_particles, particle_dim=traces.particle_dim)
            check_supports_stay(self.sites, _latents(others))
        replayed = traces.guide.copy()
        for name in self.computed:
            replayed.remove_node(name)  # so the replay recomputes it
        self.traces = replace(traces, guide=replayed)

    def start(self) -> dict[str, Tensor]:
        """The draws of the traces."""
        return self.unconstrained({name: site["value"].detach() for name, site in self.sites.items()})

    def unconstrained(self, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Continuous latents in unbounded coordinates, bits as they are."""
        return {
            name: values[name] if name in self.bits else self.coordinates[name].of(values[name]) for name in self.sites
        }

    def exact(self, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """An exact draw: the true latents of simulated videos, with masked ones drawn from the guide.

        Args:
            values: by latent site of the model, for one particle or for all.
        """
        known = {}
        for name, site in self.sites.items():
            value = values[name] if name in values else self._source(name.removesuffix(UNCONSTRAINED), values)
            known[name] = value.expand(site["value"].shape)
        with MaskedAnew(known):
            drawn = run_traces(
                self.model, self.guide, self.args, self.traces.num_particles, {}, self.traces.particle_dim
            )
        return self.unconstrained({site["name"]: site["value"] for site in sample_sites(drawn.guide).values()})

    def _source(self, name: str, values: Mapping[str, Tensor]) -> Tensor:
        """The site that a computed site is a function of; `check_point_masses` has checked it."""
        return biject_to(self.latents[name]["fn"].support).inv(values[name])

    def __call__(
        self, latents: Mapping[str, Tensor]
    ) -> tuple[Float[Tensor, "particles sequences"], Float[Tensor, "particles sequences"]]:
        """Log p and log q per chain and video, both with the volume of the change of coordinates."""
        values, shared = {name: latents[name] for name in self.bits}, torch.zeros((), dtype=torch.float64)
        for name, coordinates in self.coordinates.items():
            values[name], volume = coordinates.value(latents[name])
            shared = shared + self.traces.per_sequence(self.sites[name], volume, scaled=False)
        # The start was validated; a divergent trajectory must be rejected, not raise an error.
        with pyro.validation_enabled(False):
            traces = traces_at(values, self.traces, self.model, self.guide, self.args)
        for site in sample_sites(traces.guide).values():
            if site["name"] in self.computed:
                volume = -site["log_prob"]  # the log density of this point mass is the change of volume
                shared = shared + traces.per_sequence(site, volume)
            elif site["name"] in self.sites and is_masked(site):
                hidden = site["scale"] * unmasked(site["fn"]).log_prob(site["value"]) - site["log_prob"]
                shared = shared + traces.per_sequence(site, hidden, scaled=False)
        return traces.log_joint() + shared, traces.log_guide() + shared

    def event_dims(self, name: str) -> int:
        """Number of event dims of a site's coordinates (of its value, for bits)."""
        return len(self.sites[name]["fn"].event_shape) if name in self.bits else self.coordinates[name].event_dims

    def chain_dim(self, name: str) -> int | None:
        """The chain dim of a site's coordinates, negative; None for a single chain."""
        particle_dim = self.traces.particle_dim
        return None if particle_dim is None else particle_dim - self.event_dims(name)

    def broadcast(self, numbers: Shaped[Tensor, "particles sequences"], name: str) -> Tensor:
        """A number for each chain and video, shaped to broadcast with the coordinates of a site."""
        site, event_dims = self.sites[name], self.event_dims(name)
        shape = [1] * (site["value"].dim() - len(site["fn"].event_shape) + event_dims)
        shape[int(sequences_frame(site).dim) - event_dims] = self.traces.num_sequences
        if (chain_dim := self.chain_dim(name)) is not None:
            shape[chain_dim] = numbers.shape[0]
        return numbers.reshape(shape)

    def per_sequence(self, name: str, terms: Tensor) -> Float[Tensor, "particles sequences"]:
        """Terms of a site's coordinates, summed over all dims except chains and videos."""
        return self.traces.per_sequence(self.sites[name], sum_rightmost(terms, self.event_dims(name)), scaled=False)


def _latents(traces: ImportanceTraces) -> dict[str, Mapping[str, Any]]:
    return {site["name"]: site for site in sample_sites(traces.guide).values() if not site["is_observed"]}
