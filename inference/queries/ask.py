"""Queries of a trained model: reconstruct frames, impute missing ones, forecast, and generate new videos.

One mechanism serves every model and guide: the guide gives values for all latents (by its `complete`, which also infers
steps without a frame, or by draws), the model is conditioned on them, and the expected frames are read off the
distribution at its `frames` site.
"""

import math
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from guides.describe import describe_sites
from inference.programs.decoding import FRAMES, check_frames_site, deterministic_values, expected_frames
from inference.programs.given_videos import check_shapes
from inference.programs.simulation import unconditioned_trace
from inference.programs.traces import Program, sample_sites
from inference.queries.imputation import Imputation, Latents, Parts, Query, QuerySettings, chunks, mask_of, quietly
from inference.runtime.keywords import split_settings
from inference.runtime.numbers import check_count
from inference.runtime.shown import Lines, as_html, as_text, shape_of, shortened
from videos.memory import check_room
from videos.typed import check_kind, device_of


@dataclass(frozen=True)
class Generation:
    """Videos from the prior.

    Attributes:
        frames: expected frames given the drawn latents and, if the model conditions on them, the earlier drawn frames.
        latents: the draw of each latent, laid out as in the model.
        deterministic: each `pyro.deterministic` site in the plate `sequences`, laid out as in the model.
    """

    frames: Float[Tensor, "sequences time channels height width"]
    latents: Latents
    deterministic: Latents = field(default_factory=dict)

    def __repr__(self) -> str:
        return as_text(*self._shown())

    def _repr_html_(self) -> str:
        return as_html(*self._shown())

    def _shown(self) -> tuple[str, Lines]:
        """Shapes of what is there; no value is read."""
        latents = {**self.latents, **self.deterministic}
        lines = [("frames", shape_of(self.frames)), *((name, shape_of(value)) for name, value in latents.items())]
        return f"Generation of {len(self.frames)} videos from the prior", shortened(lines)

    @property
    def values(self) -> Latents:
        """Latents and deterministic values together: what a model's `scene` takes."""
        return {**self.latents, **self.deterministic}


def reconstruct(
    model: Program,
    guide: Program,
    frames: Tensor,
    observed: Tensor | None = None,
    controls: Tensor | None = None,
    *,
    method: str | None = None,
    num_samples: int | None = None,
    **settings: Any,
) -> Imputation:
    """Reconstruct the given frames: infer the latents, decode them.

    Args:
        model: has an observed site `frames` in the plates `sequences` and `time`.
        guide: a guide for it. Latents come from its `complete` if it has one, else from its draws; with missing frames,
            draws are accepted only if guide and model score them there.
        frames: (sequences, time, channels, height, width) in [0, 1]; missing ones are never read.
        observed: bool (sequences, time), False = missing; None = all seen.
        controls: (sequences, time, control) or None.
        method: one of `guide.completion_methods`; None = its first.
        num_samples: number of draws of the latents to return beside the point estimate; None = none.
        settings: see below; others are passed on to `guide.complete`.

    Keyword Args:
        coverage: probability of the central interval from `lower` to `upper` (default 0.9).
        seed: seed of the draws (default 0); the caller's random state is untouched.
        frames_per_chunk: maximum number of frames decoded at once (default 2048); bounds the memory beyond that of the
            result.

    Raises:
        ValueError: if a shape is wrong, the guide lacks the method, a number is out of range, `complete` omits a
            latent, the guide has no `complete` and its draws at missing frames are meaningless, or the model has no
            site `frames` in plates `sequences` and `time`.
        TypeError: for a setting that neither the query has nor the guide's `complete`.
    """
    chosen, options = split_settings(QuerySettings, settings)
    return Query(model, guide, method, num_samples, chosen, options).answer(frames, observed, controls)


def impute(
    model: Program,
    guide: Program,
    frames: Tensor,
    observed: Tensor | None = None,
    controls: Tensor | None = None,
    *,
    method: str | None = None,
    num_samples: int | None = None,
    **settings: Any,
) -> Imputation:
    """Impute missing frames: expected frames given earlier and (if the method looks ahead) later ones.

    `imputation.fill(frames)` puts the expected frames into the gaps.

    Args:
        model: as for `reconstruct`.
        guide: as for `reconstruct`.
        frames: (sequences, time, channels, height, width) in [0, 1]; missing ones are never read.
        observed: bool (sequences, time), False = missing; required.
        controls: (sequences, time, control) or None.
        method: one of `guide.completion_methods`; None = its first.
        num_samples: number of draws of the latents to return beside the point estimate; None = none.
        settings: see below; others are passed on to `guide.complete`.

    Keyword Args:
        coverage: as for `reconstruct` (default 0.9).
        seed: as for `reconstruct` (default 0).
        frames_per_chunk: as for `reconstruct` (default 2048).

    Raises:
        ValueError: as for `reconstruct`, or if `observed` is None.
        TypeError: as for `reconstruct`.
    """
    if observed is None:
        raise ValueError("observed: expected bool (sequences, time), False = missing, got None; or use reconstruct")
    return reconstruct(model, guide, frames, observed, controls, method=method, num_samples=num_samples, **settings)


def forecast(
    model: Program,
    guide: Program,
    frames: Tensor,
    observed: Tensor | None = None,
    controls: Tensor | None = None,
    *,
    num_frames: int,
    method: str | None = None,
    **settings: Any,
) -> Imputation:
    """Forecast: the given frames, followed by `num_frames` imputed ones.

    The result has all steps; the forecast is `.frames[:, -num_frames:]`.

    Args:
        model: as for `reconstruct`.
        guide: as for `reconstruct`.
        frames: (sequences, time, channels, height, width) in [0, 1].
        observed: bool (sequences, time) for the given frames; None = all seen.
        controls: (sequences, time + num_frames, control), including future steps; None if the model takes none.
        num_frames: number of frames to forecast.
        method: one of `guide.completion_methods`; None = its first.
        settings: see below; others are passed on to `guide.complete`.

    Keyword Args:
        num_samples: number of draws of the latents to return beside the point estimate (default None: none).
        coverage: as for `reconstruct` (default 0.9).
        seed: as for `reconstruct` (default 0).
        frames_per_chunk: as for `reconstruct` (default 2048).

    Raises:
        ValueError: as for `reconstruct`, or if `num_frames` is below 1 or the controls end too early.
        TypeError: as for `reconstruct`.
    """
    check_count("num_frames", num_frames)
    check_shapes(model, frames, observed, None)
    check_room("num_frames", num_frames, frames.element_size() * frames[:, 0].numel(), "frames")
    seen = mask_of(frames, observed)
    steps = (frames.shape[0], frames.shape[1] + num_frames)
    check_kind("controls", controls, Tensor | None)
    if controls is not None and controls.shape[:2] != steps:
        raise ValueError(
            f"controls: expected (sequences, time + num_frames, control) = ({steps[0]}, {steps[1]}, ...), got "
            f"{tuple(controls.shape)}; a forecast needs the controls of future steps as well"
        )
    frames = torch.cat([frames, frames.new_zeros(steps[0], num_frames, *frames.shape[2:])], 1)
    seen = torch.cat([seen, seen.new_zeros(steps[0], num_frames)], 1)
    return reconstruct(model, guide, frames, seen, controls, method=method, **settings)


def generate(
    model: Program,
    num_sequences: int,
    num_frames: int,
    *,
    frame_shape: tuple[int, int, int] | None = None,
    controls: Tensor | None = None,
    seed: int = 0,
    frames_per_chunk: int = 2048,
    device: torch.device | str | None = None,
) -> Generation:
    """Generate videos: draw all latents from the prior and decode them.

    If the model conditions on earlier frames, those are drawn as well.

    Args:
        model: has an observed site `frames` in the plates `sequences` and `time`.
        num_sequences: number of videos.
        num_frames: frames per video.
        frame_shape: (channels, height, width); None = `model.frame_shape`.
        controls: (sequences, time, control), if the model takes controls.
        seed: seed of the draws; the caller's random state is untouched.
        frames_per_chunk: maximum number of frames decoded at once.
        device: device to draw on; None = that of the model's parameters.

    Raises:
        ValueError: if neither the argument nor the model gives a frame shape, a number is below 1, the model has no
            site `frames` in plates `sequences` and `time`, or cannot draw videos without its guide.
    """
    shape = frame_shape or getattr(model, "frame_shape", None)
    if shape is None:
        raise ValueError("frame_shape: expected (channels, height, width), got None, and the model has no frame_shape")
    for name, number in (
        ("num_sequences", num_sequences),
        ("num_frames", num_frames),
        ("frames_per_chunk", frames_per_chunk),
    ):
        check_count(name, number)
    parameter = next(iter(getattr(model, "parameters", list)()), torch.zeros(()))
    check_room("num_sequences", num_sequences, parameter.element_size() * num_frames * math.prod(shape), "frames")
    place = parameter.device if device is None else device_of(device)
    parts = Parts(num_sequences)
    with quietly(model, seed=seed):
        for rows in chunks(num_sequences, max(1, frames_per_chunk // num_frames)):
            blank = torch.zeros(rows.stop - rows.start, num_frames, *shape, dtype=parameter.dtype, device=place)
            arguments = (blank, None, None if controls is None else controls[rows])
            table = describe_sites(model, *arguments)
            check_frames_site(table)
            trace = unconditioned_trace(model, *arguments)
            sites = sample_sites(trace)
            latents = {site.name: sites[site.name]["value"] for site in table.latent}
            parts.add(expected_frames(sites[FRAMES]), latents, deterministic_values(trace))
    return Generation(parts.frames, parts.join_latents(table), parts.join_deterministic(table))
