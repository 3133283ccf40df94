"""Lower and upper bounds of the log evidence of videos near real ones, by plain and conditional particle filters."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, TypedDict, Unpack

import pyro
import torch
from jaxtyping import Float
from pyro import poutine
from torch import Tensor

from guides.incomplete_models import check_draws_videos
from inference.estimators.corrected_draws import CorrectedDraws
from inference.estimators.fivo import FIVO
from inference.estimators.multi_sample import log_mean_exp
from inference.estimators.particle_filter import FilterResult, FilterStep, ParticleFilter, check_stepwise
from inference.estimators.retained_paths import Path, PathRecorder, RetainedDraws
from inference.evidence.pilot import Pilot
from inference.programs.given_videos import check_given
from inference.programs.masked_latents import MaskedAnew
from inference.programs.trace_checks import SEQUENCES
from inference.programs.traces import evaluation_mode, find_particle_dim, local_parameters, sample_sites
from inference.runtime.generators import seeded
from inference.runtime.keywords import settings_of
from inference.runtime.numbers import check_count
from videos.typed import check_kind

FRAMES = "frames"

MOST = 1_000_000


@dataclass(frozen=True, eq=False)
class Bracket:
    """Stochastic lower and upper bounds, in nats, of the log evidence of videos simulated near given ones.

    Attributes:
        lower: (sequences,), log of the mean of filters' estimates: at most the log evidence in expectation.
        upper: (sequences,), minus log of the mean of conditional filters' inverse estimates: at least that.
        frames: the videos.
        repeats: filters on each side.
        num_particles: particles per filter.
    """

    lower: Float[Tensor, " sequences"]
    upper: Float[Tensor, " sequences"]
    frames: Tensor
    repeats: int
    num_particles: int

    @property
    def width(self) -> Float[Tensor, " sequences"]:
        """Upper minus lower; noise can make it negative."""
        return self.upper - self.lower

    def __str__(self) -> str:
        count = len(self.width)
        error = self.width.std() / count**0.5 if count > 1 else torch.tensor(torch.nan)
        return (
            f"{count} videos near the given ones, {self.repeats} filters of {self.num_particles} particles each way, "
            f"nats per sequence: lower {self.lower.mean():.2f}, upper {self.upper.mean():.2f}, "
            f"width {self.width.mean():.3f} ± {error:.3f}, largest {self.width.max():.2f}"
        )


class BracketSettings(TypedDict, total=False):
    """Keyword settings of `bracket`, which says what they are and their defaults."""

    repeats: int
    sweeps: int
    seed: int


@dataclass(frozen=True)
class _Gibbs:
    """`BracketSettings` with their defaults, checked."""

    repeats: int = 4
    sweeps: int = 10
    seed: int = 0

    def __post_init__(self) -> None:
        for name, number, least in (("repeats", self.repeats, 1), ("sweeps", self.sweeps, 0)):
            check_count(name, number, least)
            if number > MOST:
                raise ValueError(f"{name}: expected at most {MOST:,}, which take days, got {number:,}")


def bracket(
    model: Any,
    guide: Any,
    frames: Tensor,
    observed: Tensor | None = None,
    controls: Tensor | None = None,
    *,
    filtering: FIVO | None = None,
    pilot: Pilot | None = None,
    **settings: Unpack[BracketSettings],
) -> Bracket:
    """Bracket the log evidence of simulated videos near given ones, by filters (after Grosse et al. 2015).

    Videos drawn from the prior are often unlike real ones, so a bracket on them says little about real ones. So a
    filter draws a path of latents from the (approximate) posterior of each video, and the model a new video x' given
    that path. If the given videos were draws of the model, path and new video would be an exact draw of the joint.
    Since they are not, `sweeps` of particle Gibbs (Andrieu et al. 2010) then move the path towards the posterior given
    x'. With such a path z as one of its particles a conditional filter has E[1 / p_hat(x')] = 1 / p(x'), hence

        E[log mean p_hat]  <=  log p(x')  <=  E[- log mean (1 / p_hat_z)]

    Another sweep moves the path between consecutive conditional filters. The upper bound is only as good as the
    sweeps: if they do not mix, it covers only the part of the posterior that they explore.

    Args:
        model: a `StepwiseModel`.
        guide: a `StepwiseGuide`.
        frames: (sequences, time, ...) in [0, 1], on the device of the parameters.
        observed: bool (sequences, time), or None; new videos have the same mask.
        controls: (sequences, time, control), or None.
        filtering: number of particles and resampling; None = `FIVO(256)`.
        pilot: how to fit the guide to each video; None = `Pilot(256, 20)`, since new videos may be noisier than the
            guide's training videos.
        settings: see below.

    Keyword Args:
        repeats: filters on each side (default 4).
        sweeps: particle Gibbs sweeps before the first conditional filter (default 10).
        seed: seed of all draws (default 0).

    Raises:
        TypeError: for an unknown setting, or an argument of another kind.
        ValueError: if model or guide has no steps, a number is not positive, there is no site `frames`, or the model
            cannot draw videos without its guide.
    """
    how = settings_of(bracket, _Gibbs, settings)
    check_kind("filtering", filtering, FIVO | None)
    check_kind("pilot", pilot, Pilot | None)
    filtering = FIVO(256) if filtering is None else filtering
    pilot = Pilot(256, 20) if pilot is None else pilot
    if filtering.num_particles < 2:
        raise ValueError(
            f"filtering: expected at least 2 particles, since one is the given path, got {filtering.num_particles}; "
            "give more, as FIVO(256)"
        )
    check_stepwise(model, guide)
    check_draws_videos(model)
    check_given(model, frames, observed, controls)
    with torch.no_grad(), evaluation_mode(model, guide), local_parameters(model, guide), seeded("bracket", how.seed):
        dim = find_particle_dim(model, guide, (frames, observed, controls))
        given = _Filters(model, guide, (frames, observed, controls), filtering, pilot, dim)
        path = given.path()
        videos = _video_given(model, path, frames, observed, controls)
        drawn = _Filters(model, guide, (videos, observed, controls), filtering, pilot, dim)
        for _ in range(how.sweeps):
            path, _ = drawn.sweep(path)
        below = torch.stack([drawn.run(drawn.plain).log_evidence for _ in range(how.repeats)])
        above = []
        for _ in range(how.repeats):
            path, estimate = drawn.sweep(path)
            above.append(-estimate)
    lower, upper = log_mean_exp(below.double()), -log_mean_exp(torch.stack(above).double())
    return Bracket(lower.cpu(), upper.cpu(), videos, how.repeats, filtering.num_particles)


class _Filters:
    """Filters for one batch of videos, with the guide adapted to each video."""

    def __init__(
        self,
        model: Any,
        guide: Any,
        args: tuple[Tensor | None, ...],
        filtering: FIVO,
        pilot: Pilot,
        dim: int,
    ) -> None:
        self.pair, self.args, self.dim = (model, guide), args, dim
        self.corrections, twist = pilot.adapt(model, guide, args, filtering.resampling)
        self.plain = ParticleFilter(filtering.num_particles, filtering.resampling, twist, particle_dim=dim)
        self.conditional = replace(self.plain, conditional=True)

    def run(self, particles: ParticleFilter, watch: Callable[[FilterStep], None] | None = None) -> FilterResult:
        """Run the plain filter or the conditional one, with corrected draws."""
        with CorrectedDraws(self.corrections):
            return particles.run(*self.pair, self.args, watch=watch)

    def path(self) -> Path:
        """Sample a path by the final weights of one filter."""
        recorder = PathRecorder()
        return recorder.draw(self.run(self.plain, recorder.watch))

    def sweep(self, path: Path) -> tuple[Path, Tensor]:
        """One conditional filter: a new path, and the log estimate conditional on the given one."""
        recorder, retained = PathRecorder(), RetainedDraws(path, self.dim)

        def watch(step: FilterStep) -> None:
            recorder.watch(step)
            retained.advance(step)

        with retained:
            result = self.run(self.conditional, watch)
        return recorder.draw(result), result.log_evidence


def _video_given(model: Any, path: Path, frames: Tensor, observed: Tensor | None, controls: Tensor | None) -> Tensor:
    """Draw a video for a path, frame by frame, since the model may condition on earlier frames."""
    video, state = torch.zeros_like(frames), None
    for index, values in enumerate(path):
        context = model.prepare(video, observed, controls)
        drawn: dict[str, Any] = {}

        def step(index: int = index, state: Any = state, context: Any = context, drawn: dict[str, Any] = drawn) -> None:
            with model._pyro_context, pyro.plate(SEQUENCES, frames.shape[0], dim=-1):
                drawn["state"] = model.step(index, state, context)
                model.emit([drawn["state"]], context, index)

        with MaskedAnew(values):
            trace = poutine.trace(poutine.uncondition(step)).get_trace()
        sites = sample_sites(trace)
        if FRAMES not in sites:
            raise ValueError(f"model: expected a site {FRAMES!r} in emit, got {', '.join(map(repr, sites))}")
        value = sites[FRAMES]["value"]
        video[:, index] = value.reshape(frames.shape[0], *frames.shape[2:])
        state = drawn["state"]
    return video
