"""Which sites are refined, and their variational parameters: shifts of the Gaussians at the start."""

import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any, NamedTuple

import pyro.distributions as dist
import torch
from jaxtyping import Bool, Float
from pyro.poutine.messenger import Messenger
from torch import Tensor

from guides.site_table import Site, SiteTable

NUMBERS = re.compile(r"(?:_\d+)+$")
FIRST_NUMBER = re.compile(r"_(\d+)(?:_\d+)*$")


class Shift(NamedTuple):
    """Variational parameters of a site, relative to the Gaussian N(m, diag s^2) that it has at the start::

        loc = m + s * shift.loc;    log scale = log s + shift.log_scale

    They have no unit, are zero at first, and their steps fit sites of any scale. m and s may depend on earlier draws: a
    refined guide keeps the structure of the one that it starts from.

    Attributes:
        loc: in standard deviations of the start, (*plates, *event).
        log_scale: logarithm of the ratio of standard deviations.
    """

    loc: Float[Tensor, "*shape"]
    log_scale: Float[Tensor, "*shape"]


Shifts = Mapping[str, Shift]
"""By the name of the site; sites without one are as at the start."""


class RefinedSites:
    """The sites that a guide refines, in families that share a network.

    A family is what is left of a site's name without the numbers at its end: `z_1`, ..., `z_T` are the family `z`.
    Members differ in their frame or object, as entries of plates do.

    Args:
        start: the sites of the program that the refinement starts from.
        model: the sites of the model.
        chosen: families to refine; None = all that are Gaussian at the start.

    Attributes:
        sizes: number of entries along the last event dim, by family; 1 for a site without event dims.

    Raises:
        ValueError: if there is nothing to refine, a chosen family is discrete, not Gaussian or unknown, or a site has
            other event dims or plates than the model's.
    """

    def __init__(self, start: SiteTable, model: SiteTable, chosen: Collection[str] | None) -> None:
        gaussian = {site.name: site for site in start if is_gaussian_site(site) and site.name in model}
        if chosen is not None:
            _check_chosen(chosen, start.latent, gaussian)
            gaussian = {name: site for name, site in gaussian.items() if family_of(name) in chosen}
        if not gaussian:
            kinds = ", ".join(f"{site.name!r} ({site.distribution})" for site in start.latent)
            raise ValueError(
                f"model: expected a latent site with a diagonal Gaussian (dist.Normal) at the start, got "
                f"{kinds or 'no latents'}; give a base guide that draws one from a Gaussian, or start='learned'"
            )
        self.sizes: dict[str, int] = {}
        for name, site in gaussian.items():
            _check_shape(site, model[name])
            size, family = site.event_shape[-1] if site.event_shape else 1, family_of(name)
            if self.sizes.setdefault(family, size) != size:
                raise ValueError(
                    f"site {name!r}: expected {self.sizes[family]} entries, as other sites of the family {family!r} "
                    f"have, got {size}; name it differently, so that it gets a network of its own"
                )
        numbers = [found for name in gaussian if (found := FIRST_NUMBER.search(name))]
        self._first_step = min((int(found[1]) for found in numbers), default=0)

    def __contains__(self, name: str) -> bool:
        return family_of(name) in self.sizes

    def check_size(self, name: str, event_shape: tuple[int, ...]) -> None:
        """Refuse a site whose last event dim has another size than its network.

        Raises:
            ValueError: names the site.
        """
        size, expected = event_shape[-1] if event_shape else 1, self.sizes[family_of(name)]
        if size != expected:
            raise ValueError(
                f"site {name!r}: expected {expected} entries along its last event dim, as in the blank video, got "
                f"{size}, which depends on the number of frames; give that of your videos as example_frames, or leave "
                "the site out of `sites`"
            )

    def seen(
        self, name: str, node: Mapping[str, Any], observed: Bool[Tensor, "sequences time"] | None
    ) -> Bool[Tensor, "..."] | None:
        """Where the frame that a site belongs to is seen; broadcasts to the parameters of the site. None = everywhere.

        A latent of a missing frame is not refined: it stays as the start has it, given refined ones of other frames.
        A site's frame is given by the plate `time`, by the first of the numbers at the end of its name, or, for a site
        that is a whole path, by its first event dim. A site with none of these belongs to all frames.

        Args:
            name: of the site.
            node: its record in a trace.
            observed: False = missing; None = all seen.
        """
        if observed is None:
            return None
        dims = {frame.name: frame.dim for frame in node["cond_indep_stack"] if frame.vectorized}
        sequences, event = dims["sequences"], node["fn"].event_shape
        shape = [1] * (max(-dim for dim in dims.values()) + len(event))
        shape[sequences - len(event)] = len(observed)
        number = FIRST_NUMBER.search(name)
        if "time" in dims:
            shape[dims["time"] - len(event)] = observed.shape[1]
            return (observed if sequences < dims["time"] else observed.T).reshape(shape)
        if number is not None and 0 <= int(number[1]) - self._first_step < observed.shape[1]:
            return observed[:, int(number[1]) - self._first_step].reshape(shape)
        if len(event) > 1 and event[0] == observed.shape[1]:
            shape[-len(event)] = event[0]
            return observed.reshape(shape)
        return None


class ShiftedSites(Messenger):
    """Inside, sites with a shift have the shifted Gaussian; all else is as it was."""

    def __init__(self, shifts: Shifts) -> None:
        super().__init__()
        self._shifts = shifts

    def _pyro_sample(self, msg: Any) -> None:
        shift = self._shifts.get(msg["name"])
        if shift is not None:
            msg["fn"] = shifted(msg["fn"], shift)


def family_of(name: str) -> str:
    """A site's name without the numbers at its end."""
    return NUMBERS.sub("", name)


def is_gaussian_site(site: Site) -> bool:
    """Whether a latent site is drawn from `Normal`, in event dims and masks of any number."""
    return not site.observed and site.distribution.split(".")[0] == "Normal"


def gaussian_of(distribution: Any) -> Any:
    """The `Normal` inside event dims and masks, whose batch shape is that of the values; None if there is none."""
    while type(distribution).__name__ in ("Independent", "MaskedDistribution"):
        distribution = distribution.base_dist
    return distribution if type(distribution).__name__ == "Normal" else None


def shifted(distribution: Any, shift: Shift) -> Any:
    """A diagonal Gaussian with other parameters, the same event dims and the same masks."""
    kind = type(distribution).__name__
    if kind == "Independent":
        return shifted(distribution.base_dist, shift).to_event(distribution.reinterpreted_batch_ndims)
    if kind == "MaskedDistribution":
        return shifted(distribution.base_dist, shift).mask(distribution._mask)
    scale = distribution.scale
    return dist.Normal(distribution.loc + scale * shift.loc, scale * shift.log_scale.exp())


def no_shift(like: Tensor) -> Shift:
    """The parameters before the first step."""
    return Shift(torch.zeros_like(like), torch.zeros_like(like))


def _check_chosen(chosen: Collection[str], latent: Iterable[Site], gaussian: Mapping[str, Site]) -> None:
    """Refuse families that cannot be refined."""
    families = sorted({family_of(name) for name in gaussian})
    for family in chosen:
        members = [site for site in latent if family_of(site.name) == family]
        expected = f"sites: expected families of sites with a Gaussian ({', '.join(map(repr, families)) or 'none'})"
        if not members:
            hint = (
                f"; leave the numbers out: {family_of(family)!r}" if family_of(family) != family else "; leave it out"
            )
            raise ValueError(f"{expected}, got {family!r}, which no latent site belongs to{hint}")
        if members[0].discrete:
            raise ValueError(
                f"{expected}, got {family!r}, which is discrete ({members[0].distribution}) and has no gradient; leave "
                "it out: the start draws it"
            )
        if members[0].name not in gaussian:
            raise ValueError(
                f"{expected}, got {family!r}, which is {members[0].distribution}; leave it out, or start from a guide "
                "that draws it from dist.Normal"
            )


def _check_shape(site: Site, wanted: Site) -> None:
    """Refuse a site that the model has in another shape."""
    for what, found, expected in (
        ("event shape", site.event_shape, wanted.event_shape),
        ("plates", sorted(map(str, site.plates)), sorted(map(str, wanted.plates))),
    ):
        if found != expected:
            raise ValueError(
                f"base: expected a guide whose site {site.name!r} has the model's {what} {expected}, got {found}; "
                "check_guide(model, base, frames) says what else differs"
            )
