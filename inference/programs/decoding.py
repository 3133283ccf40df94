"""Decode values of a model's latents to expected frames: condition the model and read its sites."""

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

import pyro
from pyro import poutine
from pyro.poutine import Trace
from torch import Tensor

from guides.program import Arguments, Program, deterministic_sites, sample_sites
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


class Decoded(NamedTuple):
    """What a model makes of values of its latents.

    Attributes:
        frames: expected frames, (*draws, sequences, time, channels, height, width).
        deterministic: value of each `pyro.deterministic` site, laid out as in the model, draws first.
    """

    frames: Tensor
    deterministic: dict[str, Tensor]


def decode_latents(
    model: Program,
    arguments: Arguments,
    latents: Mapping[str, Tensor],
    nesting: int,
    draws: int | None = None,
) -> Decoded:
    """Expected frames of a model at these latents, and what else it computes from them.

    Args:
        model: called with `arguments`.
        arguments: frames, observed, controls.
        latents: a value for each latent site; with `draws`, draws come first, then the plates, then the event.
        nesting: number of plate dims of the model.
        draws: number of draws, None for single values.
    """
    trace = _trace_at(model, arguments, latents, nesting, draws)
    return Decoded(expected_frames(sample_sites(trace)[FRAMES]), deterministic_values(trace))


def draw_frames(
    model: Program,
    arguments: Arguments,
    latents: Mapping[str, Tensor],
    nesting: int,
    draws: int | None = None,
) -> Tensor:
    """Frames drawn at these latents, with pixel noise; arguments and frames as in `decode_latents`."""
    node = sample_sites(_trace_at(model, arguments, latents, nesting, draws))[FRAMES]
    return _in_order(node, node["fn"].sample())


def expected_frames(node: dict[str, Any]) -> Tensor:
    """Mean of a traced `frames` site, (*draws, sequences, time, channels, height, width), for any plate dims."""
    return _in_order(node, node["fn"].mean)


def deterministic_values(trace: Trace) -> dict[str, Tensor]:
    """Values of the `pyro.deterministic` sites in the plate `sequences`, at the full size of their plates.

    Others belong to no sequence and are left out.
    """
    return {
        name: node["value"].expand(node["fn"].shape())
        for name, node in deterministic_sites(trace).items()
        if any(frame.name == SEQUENCES for frame in node["cond_indep_stack"])
    }


def _trace_at(
    model: Program, arguments: Arguments, latents: Mapping[str, Tensor], nesting: int, draws: int | None
) -> Trace:
    """The trace of a model that is conditioned on its latents."""
    with plate_of_draws(draws, nesting):
        return poutine.trace(poutine.condition(model, dict(latents))).get_trace(*arguments)


def _in_order(node: dict[str, Any], values: Tensor) -> Tensor:
    """Values of a `frames` site, with its plates in one order: draws, if there are any, sequences, time."""
    dims = {frame.name: values.dim() - 3 + frame.dim for frame in node["cond_indep_stack"] if frame.vectorized}
    leading = [dims[name] for name in (DRAWS, SEQUENCES, TIME) if name in dims]
    event = list(range(values.dim() - 3, values.dim()))
    others = [dim for dim in range(values.dim() - 3) if dim not in leading]
    return values.permute(*leading, *others, *event).reshape(*(values.shape[dim] for dim in leading + event))
