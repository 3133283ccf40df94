"""Log weights per particle and sequence from a model and a guide: the basis of every multi-sample estimator.

One run draws all particles in parallel: guide and model are called inside an extra plate, left of all their own (Pyro's
`vectorize_particles`). Nothing is assumed about plate dims: the plate of sequences is found by name in each site's
stack of plates, and the particle dim is chosen left of all plates found.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pyro
import torch
from jaxtyping import Float, Shaped
from pyro import poutine
from pyro.infer.enum import get_importance_trace
from pyro.infer.util import is_validation_enabled, validation_enabled
from pyro.poutine import Trace
from pyro.util import check_model_guide_match
from torch import Tensor, nn

from guides.aside import AsideNoise
from guides.incomplete_models import need_of_guide
from guides.program import Program, sample_sites
from inference.programs.trace_checks import (
    PARTICLES,
    check_latents,
    check_layout,
    check_point_masses,
    sequences_frame,
)
from inference.runtime.generators import preserved_generators
from inference.runtime.numbers import check_count
from videos.memory import check_room


def modules_of(*programs: Program) -> Iterator[nn.Module]:
    """All modules of models and guides, including those wrapped in effect handlers."""
    for program in programs:
        program = poutine.unwrap(program)
        if isinstance(program, nn.Module):
            yield from program.modules()


@contextmanager
def local_parameters(*programs: Program) -> Iterator[None]:
    """Inside, the parameters of Pyro modules live in the modules, not in Pyro's global store."""
    for module in modules_of(*programs):
        context = module.__dict__.get("_pyro_context")
        if context is not None and not hasattr(context, "param_state"):
            context.param_state = {"params": {}, "constraints": {}}  # the module was built while the setting was off
    with pyro.settings.context(module_local_params=True):
        yield


@contextmanager
def evaluation_mode(*programs: Program) -> Iterator[None]:
    """Inside, all modules are in evaluation mode (no dropout, no new batch statistics)."""
    training = [module for module in modules_of(*programs) if module.training]
    for module in training:
        module.training = False
    try:
        yield
    finally:
        for module in training:
            module.training = True


def find_particle_dim(
    model: Program, guide: Program, args: Sequence[Any], kwargs: Mapping[str, Any] | None = None
) -> int:
    """The plate dim for particles: one to the left of all plates of model and guide, found by running both once.

    Then both are run with a few particles, a number that differs from the size of every plate, which exposes programs
    that confuse particles with another dim.

    The runs have no side effects: random streams, batch statistics and parameter stores are as before.

    Raises:
        ValueError: if a site is outside the plate `sequences`, or model or guide do not run with particles; also what
            `inference.programs.trace_checks` raises.
    """
    kwargs = kwargs or {}
    with preserved_generators(), evaluation_mode(model, guide), local_parameters(model, guide), poutine.block():
        with torch.no_grad():
            guide_trace = poutine.trace(guide).get_trace(*args, **kwargs)
            model_trace = poutine.trace(poutine.replay(model, trace=guide_trace)).get_trace(*args, **kwargs)
            sites = [site for trace in (guide_trace, model_trace) for site in sample_sites(trace).values()]
            frames = [frame for site in sites for frame in site["cond_indep_stack"] if frame.vectorized]
            for site in sites:
                sequences_frame(site)
            particle_dim = min([frame.dim for frame in frames], default=0) - 1
            sizes = {frame.size for frame in frames}
            few = next(number for number in range(2, len(sizes) + 3) if number not in sizes)
            try:
                traces = run_traces(model, guide, args, few, kwargs, particle_dim)
            except (RuntimeError, IndexError) as error:
                raise ValueError(
                    f"model, guide: expected programs that run in a plate of particles at dim {particle_dim}, left of "
                    f"their own plates, got {type(error).__name__} with {few} particles: {error}. Values drawn there "
                    "have shape (particles, *plates, *event); check_guide looks at each site"
                ) from error
            check_point_masses(traces.model, traces.guide, taken=need_of_guide(model) is not None)
    return particle_dim


@dataclass(frozen=True, eq=False)
class ImportanceTraces:
    """A guide's draws and the model run against them, for all particles.

    Attributes:
        model: the model's trace, log probabilities computed, without subsampling sites.
        guide: the guide's trace, log probabilities and score parts computed, without subsampling sites.
        num_particles: size of the particle plate.
        particle_dim: its dim, negative; None for a single particle drawn without that plate.
        num_sequences: number of sequences in the batch.
        subsampling: full size of the plate over its batch size; 1 without subsampling.
        aside: random numbers that are no site, in the order in which they were drawn.
    """

    model: Trace
    guide: Trace
    num_particles: int
    particle_dim: int | None
    num_sequences: int
    subsampling: float
    aside: tuple[Tensor, ...] = ()

    def per_sequence(
        self, site: Mapping[str, Any], log_prob: Tensor, *, scaled: bool = True
    ) -> Float[Tensor, "particles sequences"]:
        """Sum a term of a site over all dims except particles and sequences, without the subsampling scale.

        Args:
            site: the site's record in one of the traces.
            log_prob: a term with the site's batch shape, such as its log probability in nats.
            scaled: whether the term includes that scale, as a log probability does and a score function does not.

        Raises:
            ValueError: if the site has no dim for sequences; names the site.
        """
        frame = sequences_frame(site)
        places = [log_prob.dim() + int(frame.dim)]
        if places[0] < 0 or log_prob.shape[places[0]] != self.num_sequences:
            raise ValueError(
                f"site {site['name']!r}: expected a log probability with {self.num_sequences} sequences at dim "
                f"{frame.dim}, got shape {tuple(log_prob.shape)}"
            )
        if self.particle_dim is not None and log_prob.dim() >= -self.particle_dim:
            places.append(log_prob.dim() + self.particle_dim)
        others = [place for place in range(log_prob.dim()) if place not in places]
        total = log_prob.sum(others) if others else log_prob
        if scaled and self.subsampling != 1.0:
            total = total / self.subsampling
        return total.expand(self.num_particles, self.num_sequences)

    def to_site(self, numbers: Shaped[Tensor, "particles sequences"], site: Mapping[str, Any]) -> Shaped[Tensor, "..."]:
        """A number for each particle and sequence, shaped to broadcast with the values of a site.

        Args:
            numbers: one for each particle and sequence.
            site: the site's record in one of the traces.
        """
        event_dims = len(site["fn"].event_shape)
        shape = [1] * site["value"].dim()
        shape[int(sequences_frame(site).dim) - event_dims] = self.num_sequences
        if self.particle_dim is not None:
            shape[self.particle_dim - event_dims] = self.num_particles
        return numbers.reshape(shape)

    def log_weights(self) -> Float[Tensor, "particles sequences"]:
        """Log p(x, z) - log q(z | x) of each particle and sequence, in nats, with gradients."""
        return self.log_joint() - self.log_guide()

    def log_joint(self) -> Float[Tensor, "particles sequences"]:
        """Log p(x, z), in nats, with gradients."""
        scored = [self.per_sequence(site, site["log_prob"]) for site in sample_sites(self.model).values()]
        return torch.stack(scored).sum(0)

    def log_guide(self) -> Float[Tensor, "particles sequences"]:
        """Log q(z | x), in nats, with gradients."""
        drawn = [self.per_sequence(site, site["log_prob"]) for site in sample_sites(self.guide).values()]
        return torch.stack(drawn).sum(0) if drawn else torch.zeros_like(self.log_joint())

    def score_sites(self) -> list[str]:
        """Names of the guide's latent sites whose draws have no gradient, such as discrete ones."""
        return [site["name"] for site in sample_sites(self.guide).values() if not is_reparameterised(site)]

    def log_scores(self) -> Float[Tensor, "particles sequences"]:
        """Log q of the sites without reparameterised draws, in nats, masked but not scaled.

        Its gradient in the guide's parameters is the score function, along every path: if the distribution of a
        presence depends on an earlier reparameterised position, the gradient flows into that position.
        """
        terms = [
            self.per_sequence(site, site["score_parts"].score_function, scaled=False)
            for site in sample_sites(self.guide).values()
            if not is_reparameterised(site)
        ]
        return torch.stack(terms).sum(0) if terms else torch.zeros_like(self.log_guide())


def is_reparameterised(site: Mapping[str, Any]) -> bool:
    """Whether gradients pass through a site's draw; True for observed sites."""
    return bool(site["is_observed"] or site["fn"].has_rsample)


def importance_traces(
    model: Program,
    guide: Program,
    args: Sequence[Any],
    num_particles: int,
    *,
    kwargs: Mapping[str, Any] | None = None,
    particle_dim: int | None = None,
) -> ImportanceTraces:
    """Draw all latents from the guide, in a plate of particles, and run the model against them.

    A single particle is drawn without a plate, so programs that cannot broadcast over particles still run.

    Args:
        model: a callable with Pyro sites.
        guide: a callable that draws the model's latent sites.
        args: positional arguments of both.
        num_particles: number of particles, at least 1.
        kwargs: keyword arguments of both.
        particle_dim: result of `find_particle_dim` for this pair; None = found by extra runs.

    Raises:
        ValueError: if `num_particles` is not positive, the guide does not draw a latent site, a site is outside the
            plate `sequences`, or there is no site at all.
    """
    kwargs = kwargs or {}
    check_count("num_particles", num_particles)
    check_particles_fit(num_particles, args[0])
    if num_particles == 1:
        particle_dim = None
    else:
        particle_dim = find_particle_dim(model, guide, args, kwargs) if particle_dim is None else particle_dim
    return run_traces(model, guide, args, num_particles, kwargs, particle_dim)


def check_particles_fit(num_particles: int, frames: Any) -> None:
    """Refuse particles of which each decodes at least one frame of each sequence, if memory has no room for these.

    Raises:
        ValueError: with the gigabytes that they would take.
    """
    if isinstance(frames, Tensor) and frames.dim() > 2:
        each = frames.element_size() * frames[:, 0].numel()
        check_room("num_particles", num_particles, each, f"decoded frames of {len(frames)} sequences")


def run_traces(
    model: Program,
    guide: Program,
    args: Sequence[Any],
    num_particles: int,
    kwargs: Mapping[str, Any],
    particle_dim: int | None,
    fixed: Trace | None = None,
    aside: Sequence[Tensor] | None = None,
) -> ImportanceTraces:
    """`importance_traces` with a known particle dim (None: no plate), at the values in `fixed`, `aside`, if given."""
    if particle_dim is not None:
        model, guide = (pyro.plate(PARTICLES, num_particles, dim=particle_dim)(run) for run in (model, guide))
    if fixed is not None:
        guide = poutine.replay(guide, trace=fixed)  # around the plate, which passes over sites that have a value
    nesting = float("inf") if particle_dim is None else -particle_dim
    validates = is_validation_enabled()
    # without validation, which would advise to mark a site that only the guide has as auxiliary
    with AsideNoise(aside) as noise, validation_enabled(False):
        model_trace, guide_trace = get_importance_trace("flat", nesting, model, guide, args, dict(kwargs))
    check_latents(model_trace, guide_trace)
    if validates:
        check_model_guide_match(model_trace, guide_trace, nesting)
    for trace in (guide_trace, model_trace):
        check_layout(trace)
    frames = [sequences_frame(site) for trace in (guide_trace, model_trace) for site in sample_sites(trace).values()]
    if not frames:
        raise ValueError("model: expected sample sites, it has none")
    size, full_size = frames[0].size, frames[0].full_size
    return ImportanceTraces(
        model=model_trace,
        guide=guide_trace,
        num_particles=num_particles,
        particle_dim=particle_dim,
        num_sequences=int(size),
        subsampling=(full_size or size) / size,
        aside=tuple(noise.drawn),
    )


def log_weights(
    model: Program,
    guide: Program,
    args: Sequence[Any],
    num_particles: int,
    *,
    kwargs: Mapping[str, Any] | None = None,
    particle_dim: int | None = None,
) -> Float[Tensor, "particles sequences"]:
    """Log importance weights log p(x, z) - log q(z | x), z drawn from the guide, in nats; gradients are kept.

    Scales and masks of sites and plates are honoured, with one exception: when the plate `sequences` is subsampled, the
    weights are those of the sequences in the batch, not multiplied by full size / batch size.

    Args:
        model: a callable with Pyro sites.
        guide: a callable that draws the model's latent sites.
        args: positional arguments of both.
        num_particles: number of particles, at least 1.
        kwargs: keyword arguments of both.
        particle_dim: see `importance_traces`.

    Raises:
        ValueError: see `importance_traces`.
    """
    with local_parameters(model, guide):
        traces = importance_traces(model, guide, args, num_particles, kwargs=kwargs, particle_dim=particle_dim)
    return traces.log_weights()
