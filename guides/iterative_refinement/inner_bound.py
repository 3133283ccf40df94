"""The bound of each sequence at inner draws, which a refinement climbs."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from pyro import poutine
from pyro.poutine.messenger import Messenger
from torch import Tensor

from guides.iterative_refinement.noise import InnerNoise
from guides.iterative_refinement.site_parameters import RefinedSites, Shifts, gaussian_of, shifted
from guides.iterative_refinement.starts import Read, Start
from guides.log_joint import log_density, log_joint
from guides.program import Program, sample_sites


class Inner(NamedTuple):
    """What every evaluation of the bound needs.

    Attributes:
        model: the model.
        start: draws the latents.
        sites: which are refined.
        noise: of the draws.
        draws: number of draws that a bound is averaged over.
        nesting: number of plate dims of the model.
    """

    model: Program
    start: Start
    sites: RefinedSites
    noise: InnerNoise
    draws: int
    nesting: int


class Evaluation(NamedTuple):
    """A bound, and where it was evaluated.

    Attributes:
        bound: nats, averaged over draws.
        nodes: by site, the records of the latents in a trace of the start; draws to the left.
    """

    bound: Float[Tensor, " sequences"]
    nodes: dict[str, dict[str, Any]]


def look(inner: Inner, read: Read) -> dict[str, dict[str, Any]]:
    """One run of the start without shifts, which tells what is drawn; discrete draws of it are kept for all steps.

    Returns:
        By site, the records of the latents in the trace.
    """
    return _draw(inner, read, {}, {}, draws=1)


def inner_bound(inner: Inner, read: Read, shifts: Shifts, held: Mapping[str, Tensor]) -> Evaluation:
    """The bound of each sequence at draws from the start with shifted Gaussians::

        L = log p(x, z) - sum_s log q(z_s | z_before s, x; lambda),    z_s = loc_s + scale_s e_s,  e_s ~ N(0, I)

    The sum is over sites that are not held; -log q of a Gaussian is its entropy plus what has no gradient. With d the
    values that are held, L estimates a bound on log p(x, d). Draws of other continuous distributions are constants.

    Args:
        inner: what is run, and how.
        read: the batch.
        shifts: parameters of the refined sites.
        held: values of discrete sites.
    """
    nodes = _draw(inner, read, shifts, held, inner.draws)
    scored = {name: node for name, node in nodes.items() if name not in held}
    bound = log_joint(inner.model, latent_values(nodes), *read.arguments) - log_density(scored, inner.nesting)
    return Evaluation(bound.mean(0) if bound.dim() > 1 else bound, nodes)


def latent_values(nodes: Mapping[str, Mapping[str, Any]]) -> dict[str, Tensor]:
    """The draws of all latents."""
    return {name: node["value"] for name, node in nodes.items() if not node["is_observed"]}


def held_values(nodes: Mapping[str, Mapping[str, Any]]) -> dict[str, Tensor]:
    """The draws of discrete latents."""
    return {name: value for name, value in latent_values(nodes).items() if nodes[name]["fn"].support.is_discrete}


def _draw(
    inner: Inner, read: Read, shifts: Shifts, held: Mapping[str, Tensor], draws: int
) -> dict[str, dict[str, Any]]:
    """The sites of a run of the start apart from all handlers but the one that records what is drawn aside."""
    with poutine.block(expose_types=["aside"]), _InnerDraws(inner, shifts, held, draws):
        return sample_sites(poutine.trace(inner.start).get_trace(read))


class _InnerDraws(Messenger):
    """Latents are drawn aside: refined Gaussians from given noise, others as constants."""

    def __init__(self, inner: Inner, shifts: Shifts, held: Mapping[str, Tensor], draws: int) -> None:
        super().__init__()
        self._inner, self._shifts, self._held = inner, shifts, held
        self._left = (draws,) + (1,) * inner.nesting if draws > 1 else ()

    def _pyro_sample(self, msg: Any) -> None:
        name, noise = msg["name"], self._inner.noise
        if msg["is_observed"] or type(msg["fn"]).__name__ == "_Subsample":
            return
        if name in self._held:
            msg["value"] = self._held[name]
            return
        gaussian = gaussian_of(msg["fn"]) if name in self._inner.sites else None
        if gaussian is None:
            msg["value"] = noise.value(msg["fn"])
            return
        if name in self._shifts:
            msg["fn"], gaussian = shifted(msg["fn"], self._shifts[name]), shifted(gaussian, self._shifts[name])
        (sequences,) = (frame.dim for frame in msg["cond_indep_stack"] if frame.name == "sequences")
        events = msg["fn"].event_dim
        shape = torch.broadcast_shapes(gaussian.loc.shape, (*self._left, *[1] * (events if self._left else 0)))
        standard = noise.normal(gaussian.loc.detach().expand(shape), sequences - events)
        msg["value"] = gaussian.loc + gaussian.scale * standard
