"""Re-run guide and model at given draws."""

from collections.abc import Mapping, Sequence
from typing import Any

import pyro.distributions as dist
from torch import Tensor

from inference.programs.traces import ImportanceTraces, Program, is_reparameterised, run_traces, sample_sites


def traces_at(
    values: Mapping[str, Tensor],
    traces: ImportanceTraces,
    model: Program,
    guide: Program,
    args: Sequence[Any],
    *,
    kwargs: Mapping[str, Any] | None = None,
) -> ImportanceTraces:
    """Run guide and model at these values of the guide's latent sites.

    Args:
        values: by site, with the shape of the site in `traces`.
        traces: from `importance_traces`, with the same programs and arguments.
        model: the model.
        guide: the guide, which is called again with its sites replayed.
        args: positional arguments of both.
        kwargs: keyword arguments of both.

    Raises:
        ValueError: if a plate is subsampled, since another run would choose a different subsample.
    """
    if traces.subsampling != 1.0:
        raise ValueError("model: expected a plate 'sequences' that is not subsampled, since the guide runs again")
    fixed = traces.guide.copy()
    nodes: Any = fixed.nodes
    for name, value in values.items():
        nodes[name] = {**nodes[name], "value": value}
    count, dim = traces.num_particles, traces.particle_dim
    return run_traces(model, guide, args, count, kwargs or {}, dim, fixed, traces.aside)


def traces_at_leaves(
    traces: ImportanceTraces,
    model: Program,
    guide: Program,
    args: Sequence[Any],
    *,
    kwargs: Mapping[str, Any] | None = None,
) -> tuple[ImportanceTraces, dict[str, Tensor]]:
    """Re-run guide and model at the same draws, detached from the parameters that produced them.

    In the new traces a log probability depends on parameters only through distributions; its dependence on the draws is
    given by gradients of the leaves. This separates the two paths by which a guide parameter affects a weight.

    Args:
        traces: as in `traces_at`.
        model: as in `traces_at`.
        guide: as in `traces_at`.
        args: as in `traces_at`.
        kwargs: as in `traces_at`.

    Returns:
        The new traces, and by site name a leaf with the draw's value, requiring a gradient if it is reparameterised.

    Raises:
        ValueError: if a site of the guide is a point mass with its own density, which does not depend on its value;
            also what `traces_at` raises.
    """
    leaves = {}
    for site in sample_sites(traces.guide).values():
        if site["is_observed"]:
            continue
        base = site["fn"]
        while hasattr(base, "base_dist"):
            base = base.base_dist
        if isinstance(base, dist.Delta) and getattr(base.log_density, "requires_grad", False):
            raise ValueError(
                f"site {site['name']!r}: expected a distribution whose density is known at every value, got "
                "a point mass with a log density of its own"
            )
        leaves[site["name"]] = site["value"].detach().requires_grad_(is_reparameterised(site))
    return traces_at(leaves, traces, model, guide, args, kwargs=kwargs), leaves
