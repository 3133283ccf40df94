"""The record of an imputation, and its computation, chunk by chunk."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from difflib import get_close_matches
from inspect import Parameter, signature
from typing import Any

import torch
from jaxtyping import Bool, Float
from pyro import poutine
from torch import Tensor

from guides.describe import describe_sites
from guides.site_table import SiteTable
from inference.programs.decoding import SEQUENCES, Arguments, check_frames_site, decode_latents, plate_of_draws
from inference.programs.given_videos import check_given
from inference.programs.traces import Program, evaluation_mode, local_parameters, sample_sites
from inference.queries.missing_draws import check_draws_at_missing
from inference.runtime.generators import seeded
from inference.runtime.keywords import suggestion
from inference.runtime.numbers import check_count
from inference.runtime.shown import Lines, as_html, as_text, shape_of, shortened
from videos.memory import check_room
from videos.typed import typed_fields

Latents = Mapping[str, Tensor]

DRAWS_TO_AVERAGE = 16  # for a guide without a point estimate


@dataclass(frozen=True)
class Imputation:
    """Expected frames of every time step, seen or not, and the latents that they were decoded from.

    Attributes:
        frames: expected frames, decoded from the guide's point estimate of the latents if it has `complete`, else
            averaged over its draws.
        observed: mask of observed frames.
        latents: each latent site's point estimate, laid out as in the model; averages for a guide that only draws.
        samples: expected frames for each draw of the latents, None unless draws were requested. They reflect
            uncertainty in the latents, without pixel noise.
        lower: lower end of the central interval of `samples`, per pixel.
        upper: its upper end.
        latent_samples: the draws of each latent; dims are draws, plates, event.
        method: completion method, None if the guide only draws.
        deterministic: each `pyro.deterministic` site in the plate `sequences`, computed by the model at the point
            estimate, laid out as in the model; averages for a guide that only draws.
    """

    frames: Float[Tensor, "sequences time channels height width"]
    observed: Bool[Tensor, "sequences time"]
    latents: Latents
    samples: Float[Tensor, "samples sequences time channels height width"] | None = None
    lower: Float[Tensor, "sequences time channels height width"] | None = None
    upper: Float[Tensor, "sequences time channels height width"] | None = None
    latent_samples: Latents | None = None
    method: str | None = None
    deterministic: Latents = field(default_factory=dict)

    def __repr__(self) -> str:
        return as_text(*self._shown())

    def _repr_html_(self) -> str:
        return as_html(*self._shown())

    def _shown(self) -> tuple[str, Lines]:
        """Shapes of what is there; no value is read from another device."""
        lines = [("frames", shape_of(self.frames))]
        if self.observed.device.type == "cpu":
            lines.append(("missing", f"{int((~self.observed).sum())} of {self.observed.numel()} frames"))
        lines += [(f"latent {name}", shape_of(value)) for name, value in self.latents.items()]
        lines += [(f"deterministic {name}", shape_of(value)) for name, value in self.deterministic.items()]
        lines += [] if self.samples is None else [("samples", shape_of(self.samples))]
        method = "averaged over draws of the guide" if self.method is None else f"by {self.method}"
        return f"Imputation of {len(self.frames)} videos, {method}", shortened(lines)

    @property
    def values(self) -> Latents:
        """Latents and deterministic values together: what a model's `scene` takes."""
        return {**self.latents, **self.deterministic}

    def fill(self, frames: Float[Tensor, "sequences given channels height width"]) -> Tensor:
        """The given frames where observed, the expected ones elsewhere, including forecast steps."""
        steps = frames.shape[1]
        seen = self.observed[:, :steps, None, None, None]
        return torch.cat([torch.where(seen, frames, self.frames[:, :steps]), self.frames[:, steps:]], 1)


@dataclass
class Parts:
    """Frames, latents and deterministic values collected over chunks of sequences.

    Frames are by far the largest: each chunk is put into its place, so that none is held twice.

    Attributes:
        num_sequences: sequences of all chunks together.
        frames: of all chunks, (*draws, sequences, time, channels, height, width).
    """

    num_sequences: int
    latents: list[Latents] = field(default_factory=list)
    deterministic: list[Latents] = field(default_factory=list)
    frames: Tensor = field(init=False)
    _filled: int = field(default=0, init=False)

    def add(self, frames: Tensor, latents: Latents, deterministic: Latents) -> None:
        """Add the next chunk."""
        draws, number, frame = frames.shape[:-5], frames.shape[-5], frames.shape[-4:]
        if self._filled == 0:
            self.frames = frames.new_empty(*draws, self.num_sequences, *frame)
        self.frames.narrow(-5, self._filled, number).copy_(frames)
        self._filled += number
        self.latents.append(latents)
        self.deterministic.append(deterministic)

    def join_latents(self, table: SiteTable) -> Latents:
        """The latents of all chunks, concatenated along the dim of their plate `sequences`."""
        return _join(self.latents, table)

    def join_deterministic(self, table: SiteTable) -> Latents:
        """The same for deterministic values."""
        return _join(self.deterministic, table)


def _join(parts: list[Latents], table: SiteTable) -> Latents:
    joined = {}
    for name in parts[0]:
        (plate,) = (plate for plate in table[name].plates if plate.name == SEQUENCES)
        joined[name] = torch.cat([part[name] for part in parts], plate.dim - len(table[name].event_shape))
    return joined


@dataclass(frozen=True)
@typed_fields
class QuerySettings:
    """Keyword settings of `reconstruct`, `impute` and `forecast`, checked.

    Attributes:
        coverage: probability of the central interval from `lower` to `upper`.
        seed: seed of the draws.
        frames_per_chunk: maximum number of frames decoded at once.
    """

    coverage: float = 0.9
    seed: int = 0
    frames_per_chunk: int = 2048

    def __post_init__(self) -> None:
        if not 0 < self.coverage < 1:
            raise ValueError(f"coverage: expected a probability between 0 and 1, got {self.coverage}")
        check_count("frames_per_chunk", self.frames_per_chunk)


@dataclass(frozen=True)
class Query:
    """A query of a model and its guide, without the frames.

    Attributes:
        model: the model.
        guide: its guide.
        method: one of `guide.completion_methods`; None = its first.
        num_samples: number of draws to return; None = none.
        settings: further settings of the query.
        options: further keyword arguments of `guide.complete`.
    """

    model: Program
    guide: Program
    method: str | None
    num_samples: int | None
    settings: QuerySettings
    options: Mapping[str, Any]

    def __post_init__(self) -> None:
        if self.num_samples is not None:
            check_count("num_samples", self.num_samples)
        kind = type(self.guide).__name__
        if not self.completes:
            given = ["method"] * (self.method is not None) + list(self.options)
            if given:
                raise ValueError(f"{', '.join(given)}: expected none, since {kind} has no complete(), only draws")
        elif self.method is not None and self.method not in self.methods:
            near = get_close_matches(self.method, self.methods, 1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            known = ", ".join(map(repr, self.methods))
            raise ValueError(f"method: expected one of {known} for {kind}, got {self.method!r}{hint}")
        else:
            self._check_options()

    def _check_options(self) -> None:
        """Refuse options that the guide's `complete` does not take."""
        parameters = signature(self.guide.complete).parameters  # pyright: ignore[reportFunctionMemberAccess]
        if any(parameter.kind is Parameter.VAR_KEYWORD for parameter in parameters.values()):
            return
        if unknown := [name for name in self.options if name not in parameters]:
            settings = [field.name for field in fields(QuerySettings)]
            own = [name for name in list(parameters)[3:] if name not in ("method", "num_samples")]
            taken = f"options of {type(self.guide).__name__}.complete ({', '.join(own) or 'none'})"
            raise TypeError(
                f"{', '.join(unknown)}: expected settings of the query ({', '.join(settings)}) or {taken}, got what "
                f"neither has; {suggestion(unknown, ['method', 'num_samples', *settings, *own])}"
            )

    @property
    def completes(self) -> bool:
        """Whether the guide has `complete`, which infers all latents."""
        return hasattr(self.guide, "complete")

    @property
    def methods(self) -> tuple[str, ...]:
        """The guide's completion methods."""
        return tuple(getattr(self.guide, "completion_methods", ()))

    def answer(self, frames: Tensor, observed: Tensor | None, controls: Tensor | None) -> Imputation:
        """Infer and decode chunk by chunk: over sequences, and over draws within them."""
        check_given(self.model, frames, observed, controls)
        seen = mask_of(frames, observed)
        if self.num_samples is not None:
            check_room("num_samples", self.num_samples, frames.element_size() * frames.numel(), "frames")
        seed, frames_at_once = self.settings.seed, self.settings.frames_per_chunk
        draws = self.num_samples or (0 if self.completes else DRAWS_TO_AVERAGE)
        draws_at_once = max(1, min(draws, frames_at_once // frames.shape[1]))
        sequences_at_once = max(1, frames_at_once // (frames.shape[1] * draws_at_once))
        points, drawn = Parts(len(frames)), Parts(len(frames))
        with quietly(self.model, self.guide, seed=seed):
            first = _rows(slice(1), frames, observed, controls)
            table = describe_sites(self.model, *first)
            check_frames_site(table)
            nesting = table.plate_nesting
            if not self.completes:
                nesting = max(nesting, describe_sites(self.guide, *first).plate_nesting)
                everything = (frames, observed, controls)
                check_draws_at_missing(
                    self.model, self.guide, everything, table, nesting, seed=seed, most_frames=frames_at_once
                )
            for rows in chunks(frames.shape[0], sequences_at_once):
                arguments = _rows(rows, frames, observed, controls)
                if draws:
                    many, *values = self._draw(arguments, table, nesting, draws, draws_at_once)
                    if self.num_samples is not None:
                        drawn.add(many, *values)
                    if not self.completes:
                        points.add(many.mean(0), *(_average(one, table) for one in values))
                if self.completes:
                    points.add(*self._infer(arguments, table, nesting, None))
        method = self.method or next(iter(self.methods), None)
        expected = Imputation(
            frames=points.frames,
            observed=seen,
            latents=points.join_latents(table),
            method=method,
            deterministic=points.join_deterministic(table),
        )
        if self.num_samples is None:
            return expected
        spread = drawn.frames
        lower, upper = _interval(spread, self.settings.coverage)
        return replace(expected, samples=spread, lower=lower, upper=upper, latent_samples=drawn.join_latents(table))

    def _draw(
        self, arguments: Arguments, table: SiteTable, nesting: int, draws: int, at_once: int
    ) -> tuple[Tensor, dict[str, Tensor], dict[str, Tensor]]:
        """Expected frames, latents and deterministic values of all draws, in chunks of draws."""
        parts = [self._infer(arguments, table, nesting, len(range(draws)[part])) for part in chunks(draws, at_once)]
        frames, *values = zip(*parts, strict=True)
        latents, deterministic = ({name: torch.cat([one[name] for one in each]) for name in each[0]} for each in values)
        return torch.cat(frames), latents, deterministic

    def _infer(
        self, arguments: Arguments, table: SiteTable, nesting: int, draws: int | None
    ) -> tuple[Tensor, dict[str, Tensor], dict[str, Tensor]]:
        """Expected frames, the latents that they were decoded from, and what else the model computes from these."""
        latents = self._latents(arguments, table, nesting, draws)
        decoded = decode_latents(self.model, arguments, latents, nesting, draws)
        return decoded.frames, latents, decoded.deterministic

    def _latents(self, arguments: Arguments, table: SiteTable, nesting: int, draws: int | None) -> dict[str, Tensor]:
        """Values of all latents of the model, by completion or by draws."""
        if self.completes:
            method = {} if self.method is None else {"method": self.method}
            values = self.guide.complete(*arguments, num_samples=draws, **method, **self.options)  # pyright: ignore[reportFunctionMemberAccess]
        else:
            with plate_of_draws(draws, nesting):
                trace = poutine.trace(self.guide).get_trace(*arguments)
            values = {name: node["value"] for name, node in sample_sites(trace).items()}
        missing = [site.name for site in table.latent if site.name not in values]
        if missing:
            source = f"{type(self.guide).__name__}.complete" if self.completes else "guide"
            raise ValueError(
                f"{source}: expected values for all latents of the model, got none for {', '.join(missing)}"
            )
        return {site.name: values[site.name] for site in table.latent}


def mask_of(frames: Tensor, observed: Tensor | None) -> Tensor:
    """The mask of seen frames, all True for None."""
    return torch.ones(frames.shape[:2], dtype=torch.bool, device=frames.device) if observed is None else observed


def _average(draws: Latents, table: SiteTable) -> dict[str, Tensor]:
    """Averages over draws, laid out as in the model without draws."""
    averages = {}
    for name, value in draws.items():
        shape = table[name].batch_shape
        average = value.to(torch.get_default_dtype() if not value.is_floating_point() else value.dtype).mean(0)
        averages[name] = average.flatten(0, average.dim() - len(shape) - len(table[name].event_shape))
    return averages


def _interval(samples: Tensor, coverage: float) -> tuple[Tensor, Tensor]:
    """Central interval over the first dimension; torch.quantile refuses tensors of this size."""
    ordered = samples.sort(0).values
    ends = []
    for level in ((1 - coverage) / 2, (1 + coverage) / 2):
        place = level * (samples.shape[0] - 1)
        below = int(place)
        above = min(below + 1, samples.shape[0] - 1)
        ends.append(torch.lerp(ordered[below], ordered[above], place - below))
    return ends[0], ends[1]


def _rows(rows: slice, frames: Tensor, observed: Tensor | None, controls: Tensor | None) -> Arguments:
    return frames[rows], None if observed is None else observed[rows], None if controls is None else controls[rows]


def chunks(total: int, size: int) -> Iterator[slice]:
    """Slices of at most `size` that cover `total`."""
    for start in range(0, total, size):
        yield slice(start, min(start + size, total))


@contextmanager
def quietly(*programs: Program, seed: int) -> Iterator[None]:
    """Run without gradients, in evaluation mode, with a separate random state."""
    with torch.no_grad(), evaluation_mode(*programs), local_parameters(*programs), seeded("queries", seed):
        yield
