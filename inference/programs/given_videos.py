"""The gate of queries, evidence and training: arguments and values of videos, checked once per call."""

import torch
from pyro import poutine
from torch import Tensor, nn

from guides.describe import undisturbed
from guides.site_table import name_support
from inference.programs.traces import Program, evaluation_mode, local_parameters, modules_of, sample_sites
from pyro_models.components.arguments import check_batch, check_dtype, check_values, extremes

NOISE = 8.0  # standard deviations: beyond any draw of a pixel


def check_given(model: Program, frames: Tensor, observed: Tensor | None, controls: Tensor | None) -> int:
    """Check videos before a model reads them: shapes, dtypes, and every value of the seen frames.

    Frames of a model with a `frame_shape` are light, from 0 to 1. Where its pixels are real-valued, simulated videos
    carry their noise, so eight standard deviations beyond are allowed. Other models may observe any finite numbers.

    Args:
        model: called `(frames, observed, controls)`.
        frames: (sequences, time, ...).
        observed: bool (sequences, time): missing frames may hold anything; None = all seen.
        controls: (sequences, time, control), or None.

    Returns:
        The number of sequences.

    Raises:
        TypeError: if an argument is no tensor.
        ValueError: names the argument, what was expected, what came, and what to do.
    """
    number = check_shapes(model, frames, observed, controls)
    check_light(model, frames, observed, controls)
    return number


def check_light(model: Program, frames: Tensor, observed: Tensor | None, controls: Tensor | None) -> None:
    """The part of `check_given` that reads every value of the seen frames.

    Raises:
        ValueError: says which values came, and what to do.
    """
    least, most = (float(value) for value in extremes(frames, observed))
    if least >= 0 and most <= 1:
        return
    check_values(frames, observed)
    if getattr(poutine.unwrap(model), "frame_shape", None) is not None:
        check_values(frames, observed, *_limits(model, frames, observed, controls))


def check_shapes(model: Program, frames: Tensor, observed: Tensor | None, controls: Tensor | None) -> int:
    """The part of `check_given` that looks at no value, for functions that read none.

    Raises:
        TypeError: if an argument is no tensor.
        ValueError: names the argument, what was expected, what came, and what to do.
    """
    program: object = poutine.unwrap(model)
    shape = getattr(program, "frame_shape", None)
    number = check_batch(frames, observed, controls, shape)
    if frames.is_meta:
        raise ValueError("frames: expected a tensor with values, got one on the device meta, which has none; load them")
    if shape is not None and isinstance(program, nn.Module):
        check_dtype(program, frames=frames, controls=controls)
    return number


@torch.no_grad()
def _limits(model: Program, frames: Tensor, observed: Tensor | None, controls: Tensor | None) -> tuple[float, float]:
    """Between which values the pixels of a model lie, by one video drawn from it: light, and noise around it.

    A model whose expectations are no light, such as a linear one, gets as much more room.
    """
    device = next((parameter.device for module in modules_of(model) for parameter in module.parameters()), None)
    device = frames.device if device is None else device
    seen, given = (None if value is None else value[:1].to(device) for value in (observed, controls))
    blank = torch.zeros_like(frames[:1], device=device)
    with undisturbed(model, device=device), evaluation_mode(model), local_parameters(model), poutine.block():
        site = sample_sites(poutine.trace(model).get_trace(blank, seen, given)).get("frames")
    if site is None or name_support(site["fn"].support) != "real":
        return 0.0, 1.0
    pixels = site["fn"]
    dark, bright = (float(mean) for mean in torch.aminmax(pixels.mean))
    reach = NOISE * (float(pixels.variance.max().sqrt()) + max(0.0, -dark, bright - 1))
    return -reach, 1 + reach
