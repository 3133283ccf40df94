"""Are all densities finite, draws and data in their supports, and does every parameter receive a gradient?"""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from pyro import poutine
from pyro.poutine.trace_struct import Trace
from torch import Tensor, nn

from guides.check.mismatches import Mismatch, masked_score, share, trace_until_error
from guides.check.support import OTHER_LIKELIHOODS, describe_values, value_violation
from guides.program import Arguments, Program, sample_sites
from guides.site_table import SiteTable


def compare_values(wanted: SiteTable, offered: SiteTable, prior: Trace, posterior: Trace) -> Iterator[Mismatch]:
    """The guide's own draws: inside the model's support, with a finite density under the guide."""
    laws, nodes = sample_sites(prior), sample_sites(posterior)
    for site in offered:
        node = nodes[site.name]
        if site.name in wanted and wanted[site.name].event_shape == site.event_shape:
            inside = laws[site.name]["fn"].support.check(node["value"])
            if not bool(inside.all()):
                got = f"{share(~inside)} of its draws outside"
                yield Mismatch(
                    site.name,
                    f"values in the support {wanted[site.name].support}",
                    got,
                    "restrict the guide's distribution to it",
                )
        with torch.no_grad():
            density = node["fn"].log_prob(node["value"])
        if not bool(density.isfinite().all()):
            got = f"{share(~density.isfinite())} of them not finite"
            mend = "look for a scale of zero or a NaN in the networks that make its distribution"
            yield Mismatch(site.name, "finite log densities under the guide", got, mend)


def compare_data(arguments: Arguments, prior: Trace) -> Iterator[Mismatch]:
    """Frames lie in [0, 1], and every value that the model observes lies in the support of its distribution."""
    frames, observed, _ = arguments
    seen = frames if observed is None else frames[observed]
    outside = ~((seen >= 0) & (seen <= 1))  # written so that NaN counts as outside
    if bool(outside.any()):
        got = f"{share(outside)} outside: {describe_values(seen[outside])}"
        yield Mismatch("frames", "values in [0, 1]", got, "rescale them (bytes: frames / 255)")
    for name, node in sample_sites(prior).items():
        violation = value_violation(node) if node["is_observed"] else None
        if violation is not None:
            yield Mismatch(name, violation.expected, violation.got, OTHER_LIKELIHOODS)


def compare_scores(model: Program, guide: Program, arguments: Arguments, posterior: Trace) -> Iterator[Mismatch]:
    """The model at the guide's draws: finite log densities, and a gradient for every parameter of the guide."""
    scored, stopped = trace_until_error(poutine.replay(model, trace=posterior), arguments)
    if stopped:
        mend = "compare the shapes of the draws with describe_sites(model, ...)"
        yield Mismatch("model", "a model that runs on the guide's draws", stopped, mend)
        return
    total = torch.zeros((), device=arguments[0].device)
    for name, node in sample_sites(scored).items():
        density = masked_score(node)
        if not bool(density.isfinite().all()):
            got = f"{share(~density.isfinite())} of them not finite"
            expected = "finite log densities under the model at the guide's draws"
            yield Mismatch(name, expected, got, "bring the guide's draws nearer to the model's")
        total = total + density.sum()
    for node in sample_sites(posterior).values():
        total = total - masked_score(node).sum()
    parameters = dict(_parameters(guide, posterior))
    gradients: Sequence[Tensor | None] = [None] * len(parameters)
    if parameters and total.requires_grad:
        gradients = torch.autograd.grad(total, list(parameters.values()), allow_unused=True)
    idle = [name for name, gradient in zip(parameters, gradients, strict=True) if gradient is None]
    if len(idle) > 1 and arguments[0].shape[1] == 1:
        expected = f"at least two frames, to reach {len(idle)} parameters of the guide ({idle[0]} and others)"
        yield Mismatch("frames", expected, "one, whose bound has no gradient for them", "pass longer videos")
        return
    for name in idle:
        mend = "use it (detach() cuts the path), freeze it by requires_grad_(False), or pass what brings it in"
        yield Mismatch(name, "a gradient of the bound", "none", mend)


def _parameters(guide: Program, posterior: Trace) -> Iterator[tuple[str, Tensor]]:
    """Trainable leaves of the guide, each once: parameters of its modules and of `pyro.param`."""
    seen = set()
    if isinstance(guide, nn.Module):
        for name, parameter in guide.named_parameters():
            if parameter.requires_grad:
                seen.add(id(parameter))
                yield name, parameter
    nodes: dict[str, Any] = dict(posterior.nodes)
    for name, node in nodes.items():
        if node["type"] == "param":
            value = node["value"]
            leaf = value.unconstrained() if hasattr(value, "unconstrained") else value
            if leaf.requires_grad and id(leaf) not in seen:
                yield name, leaf
