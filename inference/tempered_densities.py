"""Log p and log q of a fixed batch of videos as functions of the latents: what annealing goes between."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float, Shaped
from torch import Tensor
from torch.distributions import biject_to, constraints

from inference.estimators.replays import traces_at
from inference.estimators.traces import ImportanceTraces, Program, run_traces, sample_sites
from inference.masked_latents import MaskedAnew, is_masked, unmasked


class TemperedDensities:
    """Log p(x, z) and log q(z | x) as functions of latents, for a fixed batch of videos.

    Continuous latents are given in unbounded coordinates, bits (such as presence) as 0 and 1.

    A latent that is masked, such as the place of an object that does not exist, has no density in either program. Here
    both have the guide's law of it, unmasked: it cancels in p / q, and the space of latents is always the same one,
    with a proper law on all of it, so that a bit may flip and find a place at hand (Carlin and Chib 1995).

    Args:
        traces: draws of the guide that the functions start from; their particles are the chains.
        model: the model.
        guide: the guide.
        args: their positional arguments.

    Raises:
        ValueError: if a latent site is discrete and not made of bits; names it.
    """

    def __init__(self, traces: ImportanceTraces, model: Program, guide: Program, args: Sequence[Any]) -> None:
        self.traces, self.model, self.guide, self.args = traces, model, guide, args
        self.sites = {site["name"]: site for site in sample_sites(traces.guide) if not site["is_observed"]}
        self.bits = [name for name, site in self.sites.items() if _is_boolean(site["fn"].support)]
        discrete = [
            name for name, site in self.sites.items() if site["fn"].support.is_discrete and name not in self.bits
        ]
        if discrete:
            raise ValueError(
                f"guide: expected latents that are continuous or bits, {', '.join(map(repr, discrete))} is neither; "
                "annealing moves along gradients and flips bits"
            )

    def start(self) -> dict[str, Tensor]:
        """The draws of the traces."""
        return self.unconstrained({name: site["value"].detach() for name, site in self.sites.items()})

    def unconstrained(self, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Continuous latents in unbounded coordinates, bits as they are."""
        return {
            name: values[name] if name in self.bits else biject_to(site["fn"].support).inv(values[name])
            for name, site in self.sites.items()
        }

    def exact(self, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The latents behind simulated videos, as an exact draw: what is masked there is drawn from the guide's law.

        Args:
            values: by site, for one particle or for all.
        """
        with MaskedAnew({name: values[name].expand(site["value"].shape) for name, site in self.sites.items()}):
            drawn = run_traces(
                self.model, self.guide, self.args, self.traces.num_particles, {}, self.traces.particle_dim
            )
        return self.unconstrained({site["name"]: site["value"] for site in sample_sites(drawn.guide)})

    def __call__(
        self, latents: Mapping[str, Tensor]
    ) -> tuple[Float[Tensor, "particles sequences"], Float[Tensor, "particles sequences"]]:
        """Log p and log q per chain and video, both with the volume of the change of coordinates."""
        values, shared = {}, torch.zeros((), dtype=torch.float64)
        for name, site in self.sites.items():
            if name in self.bits:
                values[name] = latents[name]
                continue
            transform = biject_to(site["fn"].support)
            values[name] = transform(latents[name])
            change = transform.log_abs_det_jacobian(latents[name], values[name])
            batch_dims = values[name].dim() - len(site["fn"].event_shape)
            change = change.sum(list(range(batch_dims, change.dim()))) if change.dim() > batch_dims else change
            shared = shared + self.traces.per_sequence(site, change, scaled=False)
        traces = traces_at(values, self.traces, self.model, self.guide, self.args)
        for site in sample_sites(traces.guide):
            if site["name"] in self.sites and is_masked(site):
                hidden = site["scale"] * unmasked(site["fn"]).log_prob(site["value"]) - site["log_prob"]
                shared = shared + traces.per_sequence(site, hidden, scaled=False)
        return traces.log_joint() + shared, traces.log_guide() + shared

    def broadcast(self, numbers: Shaped[Tensor, "particles sequences"], name: str) -> Tensor:
        """A number for each chain and video, shaped to meet the value of a site."""
        return self.traces.to_site(numbers, self.sites[name])


def _is_boolean(support: Any) -> bool:
    while isinstance(support, constraints.independent):
        support = support.base_constraint
    return support is constraints.boolean
