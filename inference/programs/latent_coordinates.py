"""Unbounded coordinates of latents, and which latents have none."""

from collections.abc import Mapping
from typing import Any

import torch
from pyro.distributions import Delta
from torch import Tensor
from torch.distributions import Transform, biject_to, constraints

from guides.site_table import name_distribution, name_support
from inference.programs.trace_checks import UNCONSTRAINED

ADVICE = "or do not anneal: draws of the guide (log_evidence with num_particles alone) need no coordinates"


class LatentCoordinates:
    """The unbounded coordinates of a continuous latent site: y with value = t(y), t the transform to its support.

    The coordinates may have another number of dims than the value: a correlation matrix (n, n) has a vector of
    n (n - 1) / 2 coordinates.

    Args:
        site: the guide's record of the site.
        latent: the model's record of it; None if only the guide has it (see `is_computed`).

    Raises:
        ValueError: if the support has no such transform, or differs in the model; names the site.
    """

    def __init__(self, site: Mapping[str, Any], latent: Mapping[str, Any] | None) -> None:
        name, distribution = site["name"], site["fn"]
        support = distribution.support
        if latent is not None and name_support(support) != (wanted := name_support(latent["fn"].support)):
            raise ValueError(
                f"site {name!r}: expected the guide to draw from the model's support, {wanted} "
                f"({name_distribution(latent['fn'])}), got {name_support(support)} "
                f"({name_distribution(distribution)}). Use a distribution with this support, or transform one "
                "(dist.TransformedDistribution)"
            )
        try:
            self.transform: Transform = biject_to(_inner(support))
        except NotImplementedError as error:
            raise ValueError(
                f"site {name!r}: expected a support with unbounded coordinates (torch.distributions.biject_to), since "
                f"annealing moves along gradients, got {name_support(support)} ({name_distribution(distribution)}). "
                f"Write the latent as a function of one with such a support, {ADVICE}"
            ) from error
        self.value_dims = len(distribution.event_shape)
        domain, codomain = self.transform.domain, self.transform.codomain
        self.event_dims = self.value_dims - codomain.event_dim + domain.event_dim

    def of(self, value: Tensor) -> Tensor:
        """The coordinates of a value."""
        inverse: Any = self.transform.inv
        return inverse(value)

    def value(self, coordinates: Tensor) -> tuple[Tensor, Tensor]:
        """The value, and log |dt / dy| with the site's batch shape."""
        transform: Any = self.transform
        value = transform(coordinates)
        volume = transform.log_abs_det_jacobian(coordinates, value)
        return value, sum_rightmost(volume, volume.dim() - (value.dim() - self.value_dims))


def sum_rightmost(values: Tensor, dims: int) -> Tensor:
    """Sum over some last dims; over none if `dims` is 0."""
    return values.sum(list(range(-dims, 0))) if dims > 0 else values


def is_computed(site: Mapping[str, Any], sites: Mapping[str, Mapping[str, Any]]) -> bool:
    """Whether a site of the guide is a point mass that is a function of other sites.

    `pyro.infer.autoguide.AutoNormal` draws this way: first `z_unconstrained`, then z = t(z_unconstrained).

    Args:
        site: the guide's record.
        sites: all latent sites of the guide.

    Raises:
        ValueError: if it is a point mass with its own density, as from a normalizing flow; names the site.
    """
    distribution = site["fn"]
    while hasattr(distribution, "base_dist"):
        distribution = distribution.base_dist
    if not isinstance(distribution, Delta):
        return False
    if site["name"] + UNCONSTRAINED not in sites and bool(torch.as_tensor(distribution.log_density != 0).any()):
        raise ValueError(
            f"site {site['name']!r}: expected a distribution whose density is known at every value, got a point mass "
            "(Delta) with a log density of its own, that of one draw. Give the flow as a distribution "
            f"(dist.TransformedDistribution), {ADVICE}"
        )
    return True


def is_boolean(support: Any) -> bool:
    """Whether a support is boolean."""
    return _inner(support, events=False) is constraints.boolean


def may_depend(support: Any) -> bool:
    """Whether a support has tensor bounds, which may depend on other latents."""
    support = _inner(support, events=False)
    return any(isinstance(getattr(support, name, None), Tensor) for name in ("lower_bound", "upper_bound"))


def check_supports_stay(one: Mapping[str, Mapping[str, Any]], other: Mapping[str, Mapping[str, Any]]) -> None:
    """Refuse supports that depend on other latents: joint moves of all latents would leave them.

    Args:
        one: latent sites of one run of the guide.
        other: latent sites of a run with other draws.

    Raises:
        ValueError: names the sites whose supports differ.
    """
    moving = [
        name
        for name, site in one.items()
        if name in other and not _same_bounds(site["fn"].support, other[name]["fn"].support)
    ]
    if moving:
        raise ValueError(
            f"guide: expected supports that depend on no other latent, those of {', '.join(map(repr, moving))} do; "
            "annealing moves all latents at once. Draw each in a fixed support, such as Uniform(0, 1), and scale it in "
            f"the model, {ADVICE}"
        )


def _same_bounds(one: Any, other: Any) -> bool:
    one, other = _inner(one, events=False), _inner(other, events=False)
    bounds = (
        [getattr(support, name) for name in ("lower_bound", "upper_bound") if hasattr(support, name)]
        for support in (one, other)
    )
    return all(
        torch.equal(torch.as_tensor(first), torch.as_tensor(second)) for first, second in zip(*bounds, strict=True)
    )


def _inner(support: Any, *, events: bool = True) -> Any:
    """The support without wrappers for mixtures, and for event dims unless `events`."""
    mixed = getattr(constraints, "MixtureSameFamilyConstraint", ())  # older versions of torch have none
    while isinstance(support, mixed) or (not events and isinstance(support, constraints.independent)):
        support = support.base_constraint
    return support
