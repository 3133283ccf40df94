"""Which entries of a draw a density depends on: those that are not masked, by a mask or inside a distribution."""

from collections.abc import Mapping
from typing import Any

import torch
from pyro import poutine
from torch import Tensor

from guides.check.mismatches import masked_score
from guides.check.support import entry_mask
from guides.program import Arguments, Program, sample_sites
from guides.site_table import name_distribution, name_support

Node = Mapping[str, Any]


def depended_on(node: Node) -> Tensor | None:
    """Which entries of its value a site's own density depends on, given what was drawn before.

    Args:
        node: the site's record in a trace.

    Returns:
        bool, of the value's shape; None for a point mass, which is no density.
    """
    if name_distribution(node["fn"]).startswith("Delta"):
        return None
    kept = entry_mask(node)
    if not _on_the_reals(node):
        return kept
    found = torch.zeros_like(kept)
    value = node["value"].detach()
    # A draw may be its mean to the last bit, where every density is flat; nothing is flat at the second place as well.
    for place in (value, value + 0.1 * (1 + value.abs())):
        with torch.enable_grad():
            leaf = place.clone().requires_grad_()
            score = masked_score({**node, "value": leaf}).sum()
            if score.requires_grad:
                found = found | (torch.autograd.grad(score, leaf)[0] != 0)
    return kept & found


def scored_by_model(model: Program, arguments: Arguments, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Which entries of its latents a model's joint density depends on.

    No density on the reals is flat where it is drawn from: there a gradient of zero means that an entry is not scored.
    Some densities are flat on other supports, and discrete values have no gradient: there the masks of the site count.

    Args:
        model: called with the arguments.
        arguments: frames, observed, controls.
        values: of latents; those of the others are drawn.

    Returns:
        bool, of the values' shapes.
    """
    with torch.enable_grad():
        leaves = {
            name: value.detach().clone().requires_grad_() for name, value in values.items() if value.is_floating_point()
        }
        trace = poutine.trace(poutine.condition(model, {**values, **leaves})).get_trace(*arguments)
        nodes = sample_sites(trace)
        total = torch.stack([masked_score(node).sum() for node in nodes.values()]).sum()
    scored = {name: torch.zeros_like(value, dtype=torch.bool) for name, value in values.items()}
    if leaves and total.requires_grad:
        gradients = torch.autograd.grad(total, list(leaves.values()), allow_unused=True, materialize_grads=True)
        scored |= {name: gradient != 0 for name, gradient in zip(leaves, gradients, strict=True)}
    for name in values:
        if nodes[name]["fn"].support.is_discrete:
            scored[name] = entry_mask(nodes[name])
        elif not _on_the_reals(nodes[name]):
            scored[name] = scored[name] | entry_mask(nodes[name])
    return scored


def _on_the_reals(node: Node) -> bool:
    return name_support(node["fn"].support) == "real"
