"""Values outside a distribution's support, and parameters outside their constraints, in words."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.distributions import constraints

from guides.site_table import name_distribution, name_support

# Advice for data outside the support of a likelihood.
OTHER_LIKELIHOODS = (
    "observe it under a distribution whose support holds these values (for shades of grey dist.Normal, say)"
)


class Violation(NamedTuple):
    """Something outside its range: the range, what came, and whether all of it is finite."""

    expected: str
    got: str
    finite: bool


def entry_mask(node: Mapping[str, Any]) -> Tensor:
    """Entries of a site's value that its masks keep.

    Args:
        node: the site's record in a trace. Masks of its distribution count, at any depth of wrappers, and masks of the
            program around it.

    Returns:
        bool, of the value's shape (batch, event). Entries that a distribution leaves out internally count as scored.
    """
    law, value = node["fn"], node["value"]
    kept = _inner_mask(law, value.device)
    if node["mask"] is not None:
        kept = kept & _as_mask(node["mask"], law.event_dim, value.device)
    return kept.expand(torch.broadcast_shapes(kept.shape, value.shape))


def _inner_mask(law: Any, device: torch.device) -> Tensor:
    kept = torch.ones((), dtype=torch.bool, device=device)
    while hasattr(law, "base_dist") and type(law).__name__ in (
        "Independent",
        "MaskedDistribution",
        "ExpandedDistribution",
    ):
        if type(law).__name__ == "MaskedDistribution":
            kept = kept & _as_mask(law._mask, law.event_dim, device)
        law = law.base_dist
    return kept


def _as_mask(mask: Any, event_dim: int, device: torch.device) -> Tensor:
    """A mask over batch dims as one over entries."""
    mask = torch.as_tensor(mask, dtype=torch.bool, device=device)
    return mask.reshape((*mask.shape, *[1] * event_dim))


def value_violation(node: Mapping[str, Any], *, masked: bool = False) -> Violation | None:
    """Whether a site's value lies in the support of its distribution, where the site is not masked.

    Args:
        node: the site's record in a trace, or the message of its sample statement.
        masked: look at masked entries as well, as torch does when it validates.

    Returns:
        None if it does, or if the distribution does not define its support.
    """
    law, value = node["fn"], node["value"]
    try:
        support = law.support
    except NotImplementedError:
        return None
    if not isinstance(value, Tensor) or value.numel() == 0:
        return None
    while hasattr(support, "base_constraint"):
        support = support.base_constraint
    kept = torch.ones_like(value, dtype=torch.bool) if masked else _somewhere(entry_mask(node), value.shape)
    events = support.event_dim  # such vectors are inside or outside as a whole
    for _ in range(events):
        kept = kept.any(-1)
    outside = _somewhere(~support.check(value), kept.shape) & kept
    if not bool(outside.any()):
        return None
    failing = outside.reshape((*outside.shape, *[1] * events)).expand(value.shape)
    got = f"{int(outside.sum())} of {int(kept.sum())} outside: {describe_values(value[failing])}"
    expected = f"values in the support of {name_distribution(law)}: {name_support(support)}"
    return Violation(expected, got, bool(value[failing].isfinite().all()))


def _somewhere(found: Tensor, shape: torch.Size) -> Tensor:
    """Reduce by `any` over the entries, such as particles, that share one entry of a smaller shape."""
    return found.to(torch.float32).expand(torch.broadcast_shapes(found.shape, shape)).sum_to_size(shape) > 0


def parameter_violations(law: Any) -> Iterator[Violation]:
    """Parameters of a distribution, inside any wrappers, that violate their constraints."""
    while hasattr(law, "base_dist"):
        law = law.base_dist
    for name, constraint in getattr(law, "arg_constraints", {}).items():
        # a parameter that is not stored in the instance is computed from one that is
        if name not in vars(law) or constraints.is_dependent(constraint):
            continue
        value = getattr(law, name)
        if isinstance(value, Tensor) and not bool(constraint.check(value).all()):
            expected = f"the parameter {name!r} of {type(law).__name__} to be {name_support(constraint)}"
            yield Violation(expected, describe_values(value), bool(value.isfinite().all()))


def describe_values(values: Tensor) -> str:
    """The range of some values, and how many are not finite."""
    finite = values[values.isfinite()] if values.is_floating_point() else values
    parts = []
    if finite.numel():
        low, high = finite.min().item(), finite.max().item()
        parts.append(f"{low:.4g}" if low == high else f"{low:.4g} to {high:.4g}")
    if finite.numel() < values.numel():
        parts.append(f"{values.numel() - finite.numel()} of {values.numel()} not finite")
    return " and ".join(parts)
