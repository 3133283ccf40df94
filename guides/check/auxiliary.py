"""Sites that only the guide has: without a counterpart in the model, the bound holds only for a change of variables."""

from collections.abc import Iterator
from typing import Any

import torch
from pyro import poutine
from pyro.poutine.trace_struct import Trace
from torch import Tensor
from torch.distributions import biject_to

from guides.check.mismatches import Mismatch, masked_score
from guides.program import Arguments, Program, sample_sites
from guides.site_table import SiteTable, name_distribution

EXTRA_SITE = (
    "remove it, or let the model draw a site of this name too, given its other latents: scored by the guide "
    "alone, auxiliary or not, it lifts the bound by its entropy"
)
LARGEST_JACOBIAN = 4096


def compare_auxiliary(
    guide: Program, arguments: Arguments, wanted: SiteTable, prior: Trace, posterior: Trace
) -> Iterator[Mismatch]:
    """Sites marked as auxiliary that the model lacks, unless they are a change of variables.

    A guide may draw u ~ q(u) and set all its latents z = f(u), one to one, by point masses that carry the correction
    (dist.Delta(z, log_density)); then q(u) and the corrections multiply to the density of z::

        log q(z) = log q(u) - log |det dz/du|

    The density of any other auxiliary site stays in the bound: E[log p(x, z) - log q(z | u, x) - log q(u | x)] belongs
    to a model that scores u by 1, which is not a density; it needs some r(u | z, x) (Agakov and Barber 2004).
    """
    nodes = sample_sites(posterior)
    auxiliary = [  # Pyro also marks factors as auxiliary, but those are observed
        name
        for name, node in nodes.items()
        if node["infer"].get("is_auxiliary") and not node["is_observed"] and name not in wanted
    ]
    if not auxiliary:
        return
    problem = _not_a_change_of_variables(guide, arguments, auxiliary, sample_sites(prior), nodes)
    if problem is None:
        return
    for name in auxiliary:
        got = f"{name_distribution(nodes[name]['fn'])} marked as auxiliary ({problem})"
        yield Mismatch(name, "no such site", got, EXTRA_SITE)


def _not_a_change_of_variables(
    guide: Program, arguments: Arguments, auxiliary: list[str], prior: dict[str, Any], nodes: dict[str, Any]
) -> str | None:
    """Why the auxiliary sites and point masses do not amount to a density of the latents; None if they do."""
    points = [
        name for name, node in nodes.items() if name in prior and name_distribution(node["fn"]).startswith("Delta")
    ]
    sources = {name: nodes[name]["value"].detach().clone() for name in auxiliary}
    if any(nodes[name]["fn"].support.is_discrete for name in auxiliary):
        return "its values are discrete"
    leaves = {name: source.requires_grad_() for name, source in sources.items()}
    # conditioned, so that the latents are functions of the leaves
    trace = poutine.trace(poutine.condition(guide, leaves)).get_trace(*arguments)
    drawn = {name: node for name, node in sample_sites(trace).items() if name in points}
    numbers, corrections = [], torch.zeros(())
    for name, node in drawn.items():
        if not node["value"].requires_grad:
            continue
        number, correction = _unconstrained(node["value"], prior[name]["fn"])
        numbers.append(number.reshape(-1))
        corrections = corrections + masked_score(node).sum() + correction
    target, size = sum(map(Tensor.numel, numbers)), sum(map(Tensor.numel, leaves.values()))
    if target != size:
        return f"its {size} numbers do not determine the latents drawn by Delta one to one, which have {target}"
    volume = _log_volume(torch.cat(numbers), list(leaves.values()))
    if volume is None:
        return f"{size} numbers are too many to check that it is a change of variables; check fewer sequences"
    difference = float((corrections + volume).detach())
    if not abs(difference) <= 0.01 + 1e-4 * size:
        return f"the log densities of the Delta sites miss the change of variables by {difference:.3g} nats"
    return None


def _unconstrained(value: Tensor, law: Any) -> tuple[Tensor, Tensor]:
    """A value as a function of unconstrained coordinates, and log |d value / d coordinates|."""
    try:
        transform = biject_to(law.support)
    except NotImplementedError:
        return value, value.new_zeros(())
    number = transform.inv(value)
    return number, transform.log_abs_det_jacobian(number, value).sum()


def _log_volume(numbers: Tensor, leaves: list[Tensor]) -> Tensor | None:
    """Logarithm of |det d numbers / d leaves|; None if the matrix is too large."""

    def backwards(weights: Tensor) -> Tensor:
        gradients = torch.autograd.grad(
            numbers, leaves, weights, retain_graph=True, allow_unused=True, materialize_grads=True
        )
        return torch.cat([gradient.reshape(-1) for gradient in gradients])

    weights = torch.rand_like(numbers) + 0.5
    slopes = backwards(torch.ones_like(numbers))
    if torch.allclose(backwards(weights), slopes * weights, rtol=1e-4):  # elementwise, the usual case
        return slopes.abs().log().sum()
    if numbers.numel() > LARGEST_JACOBIAN:
        return None
    return torch.linalg.slogdet(torch.stack([backwards(row) for row in torch.eye(len(numbers)).to(numbers)]))[1]
