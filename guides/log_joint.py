"""A model's log density at given latents: what a guide that differentiates its model climbs."""

from collections.abc import Callable, Mapping
from typing import Any

from jaxtyping import Float
from pyro import poutine
from pyro.distributions.util import scale_and_mask
from pyro.poutine.messenger import Messenger
from torch import Tensor

from guides.program import sample_sites

SEQUENCES = "sequences"


def log_joint(
    model: Callable[..., Any], values: Mapping[str, Tensor], *args: Any, **kwargs: Any
) -> Float[Tensor, "*samples sequences"]:
    """Log p(x, z) of each sequence, in nats, at given values z of every latent site.

    The model is run apart from all effect handlers around the call. Its sites are not the caller's: no trace sees
    them, no plate of particles multiplies them, and site weights do not scale them, so that a guide infers under the
    model as it is, whatever the loss of its training. Scales and masks inside the model count. Nothing is drawn.

    Call it before any plate is entered, in a guide's `forward` or in a loss. It runs under `torch.no_grad()` or not, as
    the caller is; for gradients inside a guide see `inner_gradients`. The model runs in the mode (training or
    evaluation) that it is in.

    Args:
        model: called with the arguments; its sample sites are inside the plate `sequences`.
        values: by latent site, laid out as the model draws them, (*samples, *plates, *event). Sample dims are those to
            the left of all the model's plates; they broadcast.
        args: positional arguments of the model, frames first.
        kwargs: its keyword arguments.

    Returns:
        (*samples, sequences), with gradients for the values and for the model's parameters.

    Raises:
        ValueError: if a latent has no value, if a value names no latent site, if a plate is subsampled, if a site is
            outside the plate `sequences`, if the call is made inside a plate that the model needs, or if validation is
            on and a value is outside its support; names the site.

    Example:
        >>> import pyro, torch, pyro.distributions as dist
        >>> def model(frames):
        ...     with pyro.plate("sequences", len(frames), dim=-1):
        ...         z = pyro.sample("z", dist.Normal(0.0, 1.0))
        ...         pyro.sample("frames", dist.Normal(z, 1.0), obs=frames)
        >>> log_joint(model, {"z": torch.zeros(3)}, torch.zeros(3))
        tensor([-1.8379, -1.8379, -1.8379])
    """
    with poutine.block(), _Given(values) as given:
        try:
            trace = poutine.trace(model).get_trace(*args, **kwargs)
        except ValueError as error:
            if not any(said in str(error) for said in ("duplicate plate", "collide at dim")):
                raise
            raise ValueError(
                f"log_joint: expected a call outside of plates, got one inside a plate that the model needs "
                f"({str(error).splitlines()[0]}); "
                "call it before the guide's own `with pyro.plate(...)`"
            ) from error
    given.check()
    nodes = sample_sites(trace)
    if not nodes:
        raise ValueError(
            "log_joint: expected a model with sample sites, it has none; give it an observed site 'frames'"
        )
    return log_density(nodes)


def log_density(
    nodes: Mapping[str, Mapping[str, Any]], nesting: int | None = None
) -> Float[Tensor, "*samples sequences"]:
    """The sum of the log densities of some sites of a trace, for each sequence, in nats; scales and masks count.

    Args:
        nodes: records of the sites, by name; at least one.
        nesting: number of plate dims, left of which sample dims begin; None = that of these sites.

    Raises:
        ValueError: if a plate is subsampled, a site is outside the plate `sequences`, or a value outside its support.
    """
    layouts = {name: _layout(name, node) for name, node in nodes.items()}
    if nesting is None:
        nesting = max(-dim for plates in layouts.values() for dim in plates.values())
    densities = [
        _per_sequence(_log_prob(name, node), layouts[name][SEQUENCES], nesting) for name, node in nodes.items()
    ]
    return sum(densities[1:], start=densities[0])


class _Given(Messenger):
    """Latent sites take the values given; what does not fit is noted."""

    def __init__(self, values: Mapping[str, Tensor]) -> None:
        super().__init__()
        self._values = values
        self._latent: list[str] = []
        self._observed: list[str] = []

    def _pyro_sample(self, msg: Any) -> None:
        if type(msg["fn"]).__name__ == "_Subsample" or msg["infer"].get("_deterministic"):
            return
        if msg["is_observed"]:
            self._observed.append(msg["name"])
            return
        self._latent.append(msg["name"])
        if msg["name"] in self._values:
            msg["value"], msg["is_observed"] = self._values[msg["name"]], True

    def check(self) -> None:
        latents = ", ".join(map(repr, self._latent)) or "none"
        if missing := [name for name in self._latent if name not in self._values]:
            raise ValueError(
                f"values: expected one for every latent site of the model ({latents}), got none for "
                f"{', '.join(map(repr, missing))}; describe_sites(model, frames) lists them"
            )
        if unknown := [name for name in self._values if name not in self._latent]:
            what = "which the model observes" if unknown[0] in self._observed else "which the model does not have"
            raise ValueError(
                f"values: expected latent sites of the model ({latents}), got {unknown[0]!r}, {what}; leave it out"
            )


def _layout(name: str, node: Mapping[str, Any]) -> dict[str, int]:
    """The dims of the plates around a site, by name."""
    plates = [frame for frame in node["cond_indep_stack"] if frame.vectorized]
    for frame in plates:
        if frame.full_size not in (None, frame.size):
            raise ValueError(
                f"site {name!r}: expected plates that are not subsampled, got {frame.name!r} with {frame.size} of "
                f"{frame.full_size}, which another run would choose differently; give the model a batch instead"
            )
    dims = {frame.name: int(frame.dim) for frame in plates}
    if SEQUENCES not in dims:
        raise ValueError(
            f"site {name!r}: expected inside a vectorised plate called {SEQUENCES!r}, found in "
            f"{', '.join(map(repr, dims)) or 'no plate'}; put every sample site there"
        )
    return dims


def _log_prob(name: str, node: Mapping[str, Any]) -> Tensor:
    try:
        density = node["fn"].log_prob(node["value"], *node["args"], **node["kwargs"])
    except ValueError as error:
        raise ValueError(f"log_joint: site {name!r} refuses its value: {error}") from error
    return scale_and_mask(density, node["scale"], node["mask"])


def _per_sequence(density: Tensor, sequences: int, nesting: int) -> Tensor:
    """Sum over all plates but that of sequences; dims to the left of plates stay."""
    samples = max(density.dim() - nesting, 0)
    others = [dim for dim in range(samples, density.dim()) if dim != density.dim() + sequences]
    return density.sum(others) if others else density
