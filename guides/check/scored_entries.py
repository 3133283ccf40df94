"""Which entries of a draw a density depends on: those not masked, whether by a mask or inside a distribution."""

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
    """Entries of a site's value on which its own density depends, given the draws before it.

    Args:
        node: the site's record in a trace.

    Returns:
        bool, of the value's shape; None for a point mass, which has no density.
    """
    if name_distribution(node["fn"]).startswith("Delta"):
        return None
    kept = entry_mask(node)
    if not _on_the_reals(node):
        return kept
    found = torch.zeros_like(kept)
    value = node["value"].detach()
    # A draw may equal its mean to the last bit, where every density is flat; no density is flat at a second point too.
    for place in (value, value + 0.1 * (1 + value.abs())):
        with torch.enable_grad():
            leaf = place.clone().requires_grad_()
            score = masked_score({**node, "value": leaf}).sum()
            if score.requires_grad:
                found = found | (torch.autograd.grad(score, leaf)[0] != 0)
    return kept & found


def scored_by_model(model: Program, arguments: Arguments, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Entries of the latents on which a model's joint density depends.

    No density on the reals is flat at its own draws: a zero gradient there means that the entry is not scored. On other
    supports densities may be flat, and discrete values have no gradient: for those the masks of the site decide.

    Args:
        model: called with the arguments.
        arguments: frames, observed, controls.
        values: values of latents; latents without one are drawn.

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
