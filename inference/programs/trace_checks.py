"""Checks that refuse programs whose weights would be silently wrong, by the name of the site."""

from collections.abc import Mapping
from typing import Any

import pyro.distributions as dist
import torch
from pyro.poutine import Trace
from torch.distributions import biject_to

from guides.program import sample_sites

SEQUENCES = "sequences"
PARTICLES = "num_particles_vectorized"  # the name of this plate in Pyro's own estimators
UNCONSTRAINED = "_unconstrained"  # suffix of the sites that pyro.infer.autoguide.AutoNormal draws


def sequences_frame(site: Mapping[str, Any]) -> Any:
    """The plate of sequences that a site is in.

    Raises:
        ValueError: if it is in no such plate; names the site.
    """
    for frame in site["cond_indep_stack"]:
        if frame.name == SEQUENCES and frame.vectorized:
            return frame
    plates = ", ".join(repr(frame.name) for frame in site["cond_indep_stack"] if frame.name != PARTICLES) or "no plate"
    raise ValueError(
        f"site {site['name']!r}: expected inside a vectorised plate called {SEQUENCES!r}, found in {plates}; weights "
        f"per sequence need every sample site there (a Monte Carlo ELBO such as pyro.infer.Trace_ELBO does not)"
    )


def check_latents(model: Trace, guide: Trace) -> None:
    """Refuse guides that do not draw exactly the latents of the model.

    Pyro's `AutoNormal` draws `z_unconstrained` and then `z` as a function of it: that is one latent, see
    `check_point_masses`.

    Args:
        model: the model's trace, run against the guide's draws.
        guide: the guide's trace.

    Raises:
        ValueError: if the guide omits a latent site, or draws one that the model lacks; names the sites.
    """
    latents = {site["name"] for site in sample_sites(model).values() if not site["is_observed"]}
    drawn = {site["name"]: site for site in sample_sites(guide).values() if not site["is_observed"]}
    undrawn = [name for name in latents if name not in guide]
    if undrawn:
        raise ValueError(f"guide: expected it to draw every latent site of the model, it leaves out {_list(undrawn)}")
    foreign = [name for name in drawn if name not in latents and not _makes_another(name, drawn)]
    if foreign:
        raise ValueError(
            f"guide: expected the latent sites of the model and no others, it also draws {_list(foreign)}; the log "
            "density of a site that only the guide has would be subtracted from the log weights with no counterpart in "
            "the model, which biases bound and evidence. Remove it, or give the model the same site (then both are "
            "scored)"
        )


def check_point_masses(model: Trace, guide: Trace, *, taken: bool = False) -> None:
    """Refuse guides whose draws have no density; reads values, so do not call it in a training step.

    Allowed are point masses that the model has too, those with their own log density (as in flows), and a known
    function of another site, z = t(z_unconstrained) with t the transform to the support of z, whose value and density
    are checked.

    Args:
        model: the model's trace, run against the guide's draws.
        guide: the guide's trace.
        taken: allow point masses at sites without a density in the model (`mask(False)`), which it takes from its
            guide; see `guides.incomplete_models`.

    Raises:
        ValueError: if a latent site is drawn as a point mass without density, or as a function of another site without
            its change of volume; names the site.
    """
    latents = {site["name"]: site for site in sample_sites(model).values() if not site["is_observed"]}
    drawn = {site["name"]: site for site in sample_sites(guide).values() if not site["is_observed"]}
    points = []
    for name, site in drawn.items():
        if name not in latents or not _is_point_mass(site["fn"]) or _is_point_mass(latents[name]["fn"]):
            continue
        if taken and _has_no_density(latents[name]["fn"]):
            continue
        source = drawn.get(name + UNCONSTRAINED)
        if source is not None:
            _check_change_of_variables(latents[name], site, source)
        elif not bool((_base(site["fn"]).log_density != 0).any()):
            points.append(name)
    if points:
        raise ValueError(
            f"guide: expected a density for every latent site, {_list(points)} is a point mass (Delta), where weights "
            "p(x, z) / q(z | x) are not defined: such a guide has no multi-sample bound and no evidence. Draw from a "
            "distribution with a density, such as Normal; point estimates are trained by pyro.infer.Trace_ELBO"
        )


def _check_change_of_variables(latent: Mapping[str, Any], site: Mapping[str, Any], source: Mapping[str, Any]) -> None:
    transform = biject_to(latent["fn"].support)
    value = transform(source["value"])
    volume = transform.inv.log_abs_det_jacobian(value, source["value"])
    event_dim = latent["fn"].event_dim
    extra = volume.dim() - (value.dim() - event_dim)
    volume = volume.sum(list(range(-extra, 0))) if extra > 0 else volume
    density = _base(site["fn"]).log_density
    same = value.shape == site["value"].shape and torch.allclose(value, site["value"], rtol=1e-4, atol=1e-5)
    if not (same and torch.allclose(volume, density.expand(volume.shape), rtol=1e-4, atol=1e-4)):
        raise ValueError(
            f"site {site['name']!r}: expected {type(transform).__name__}({source['name']!r}) with log_density = "
            f"inv.log_abs_det_jacobian of it, as pyro.infer.autoguide.AutoNormal draws it, got another value or density"
        )


def check_layout(trace: Trace) -> None:
    """Refuse log densities with dims that no plate of their site accounts for.

    A value with the wrong layout for several particles broadcasts against the plates, and its density is summed over
    far too many terms: the result is finite, and wrong.

    Args:
        trace: a trace with log probabilities computed.

    Raises:
        ValueError: names the first such site, the shape of its log density and the one that its plates require.
    """
    for site in sample_sites(trace).values():
        shape = tuple(getattr(site["log_prob"], "shape", ()))
        frames = {frame.dim: frame for frame in site["cond_indep_stack"] if frame.vectorized}
        nesting = max([len(shape), *(-dim for dim in frames)])
        for dim in range(-nesting, 0):
            got = shape[dim] if -dim <= len(shape) else 1
            frame = frames.get(dim)
            if got == (1 if frame is None else frame.size):
                continue
            if got == 1 and frame is not None and frame.name == PARTICLES:
                continue  # the same for all particles
            raise ValueError(
                f"site {site['name']!r}: expected a log density of shape {_expected(frames, nesting)}, by its plates, "
                f"got {shape}. A value drawn outside a plate has size 1 in that plate's dim, particles leftmost: "
                "(particles, 1, sequences, *event). Count dims from the right, and move them by "
                "pyro_models.components.layout (merge_particles, to_time_plate)"
            )


def _expected(frames: Mapping[int, Any], nesting: int) -> str:
    names = {PARTICLES: "particles"}
    sizes = [
        f"{names.get(frames[dim].name, frames[dim].name)} {frames[dim].size}" if dim in frames else "1"
        for dim in range(-nesting, 0)
    ]
    return f"({', '.join(sizes)})"


def _list(names: list[str]) -> str:
    return ", ".join(map(repr, names))


def _makes_another(name: str, drawn: Mapping[str, Mapping[str, Any]]) -> bool:
    """Whether another site of the guide is a function of this one."""
    made = drawn.get(name.removesuffix(UNCONSTRAINED)) if name.endswith(UNCONSTRAINED) else None
    return made is not None and _is_point_mass(made["fn"])


def _base(distribution: Any) -> Any:
    while hasattr(distribution, "base_dist"):
        distribution = distribution.base_dist
    return distribution


def _has_no_density(distribution: Any) -> bool:
    while hasattr(distribution, "base_dist"):
        if getattr(distribution, "_mask", None) is False:
            return True
        distribution = distribution.base_dist
    return False


def _is_point_mass(distribution: Any) -> bool:
    return isinstance(_base(distribution), dist.Delta)
