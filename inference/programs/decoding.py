"""Decode values of a model's latents to expected frames: condition the model and read its `frames` site."""

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import pyro
from pyro import poutine
from torch import Tensor

from guides.program import Arguments, Program, sample_sites
from guides.site_table import SiteTable

FRAMES, SEQUENCES, TIME, DRAWS = "frames", "sequences", "time", "_draws"


def check_frames_site(table: SiteTable) -> None:
    """Check that a model has the required site `frames`, in the plates `sequences` and `time`.

    Raises:
        ValueError: if it does not.
    """
    if FRAMES not in table:
        raise ValueError(f"model: expected an observed site 'frames', got sites {', '.join(table.names)}")
    plates = [plate.name for plate in table[FRAMES].plates]
    if not {SEQUENCES, TIME} <= set(plates) or len(table[FRAMES].event_shape) != 3:
        raise ValueError(
            "model: expected site 'frames' in plates 'sequences' and 'time' with event (channels, height, width), "
            f"got plates {plates} and event {table[FRAMES].event_shape}"
        )


def plate_of_draws(draws: int | None, nesting: int) -> AbstractContextManager[Any]:
    """A plate left of `nesting` others, in which a program runs for all draws in parallel; None = no plate."""
    return nullcontext() if draws is None else pyro.plate(DRAWS, draws, dim=-nesting - 1)


def decode_latents(
    model: Program,
    arguments: Arguments,
    latents: Mapping[str, Tensor],
    nesting: int,
    draws: int | None = None,
) -> Tensor:
    """Expected frames of a model at these latents.

    Args:
        model: called with `arguments`.
        arguments: frames, observed, controls.
        latents: a value for each latent site; with `draws`, draws come first, then the plates, then the event.
        nesting: number of plate dims of the model.
        draws: number of draws, None for single values.

    Returns:
        (sequences, time, channels, height, width), with the draws in front if there are any.
    """
    return expected_frames(_frames_at(model, arguments, latents, nesting, draws))


def draw_frames(
    model: Program,
    arguments: Arguments,
    latents: Mapping[str, Tensor],
    nesting: int,
    draws: int | None = None,
) -> Tensor:
    """Frames drawn at these latents, with pixel noise; arguments and result as in `decode_latents`."""
    node = _frames_at(model, arguments, latents, nesting, draws)
    return _in_order(node, node["fn"].sample())


def expected_frames(node: dict[str, Any]) -> Tensor:
    """Mean of a traced `frames` site, (*draws, sequences, time, channels, height, width), for any plate dims."""
    return _in_order(node, node["fn"].mean)


def _frames_at(
    model: Program, arguments: Arguments, latents: Mapping[str, Tensor], nesting: int, draws: int | None
) -> dict[str, Any]:
    """The `frames` site of a model that is conditioned on its latents."""
    with plate_of_draws(draws, nesting):
        trace = poutine.trace(poutine.condition(model, dict(latents))).get_trace(*arguments)
    return sample_sites(trace)[FRAMES]


def _in_order(node: dict[str, Any], values: Tensor) -> Tensor:
    """Values of a `frames` site, with its plates in one order: draws, if there are any, sequences, time."""
    dims = {frame.name: values.dim() - 3 + frame.dim for frame in node["cond_indep_stack"] if frame.vectorized}
    leading = [dims[name] for name in (DRAWS, SEQUENCES, TIME) if name in dims]
    event = list(range(values.dim() - 3, values.dim()))
    others = [dim for dim in range(values.dim() - 3) if dim not in leading]
    return values.permute(*leading, *others, *event).reshape(*(values.shape[dim] for dim in leading + event))
