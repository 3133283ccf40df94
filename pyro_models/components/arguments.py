"""The gate for videos: what is checked, and said, before anything reads a frame."""

from typing import Any

import torch
from jaxtyping import Bool, Float
from pyro.infer.util import is_validation_enabled
from torch import Tensor, nn
from torch.utils._python_dispatch import _get_current_dispatch_mode

LAYOUT = "(sequences, time, channels, height, width)"
BYTES = 255


def check_video(
    frames: Tensor,
    observed: Tensor | None,
    controls: Tensor | None,
    frame_shape: tuple[int, int, int],
    control_dim: int,
    module: nn.Module | None = None,
) -> tuple[Float[Tensor, "sequences time channels height width"], Bool[Tensor, "sequences time"]]:
    """Check the arguments of a model or guide and set missing frames to zero, so that their contents are never read.

    Without Pyro's validation, and while a call is traced, no value is looked at, so that calls can be compiled and
    captured. Otherwise seen frames that are not finite are refused, as Pyro refuses parameters.

    Args:
        frames: (sequences, time, channels, height, width), at least one sequence and one frame.
        observed: bool (sequences, time), or None when every frame is seen.
        controls: (sequences, time, control), or None for a model without controls.
        frame_shape: (channels, height, width) that the model was built for.
        control_dim: size of a control that the model was built for, 0 = none.
        module: the model or guide, whose parameters' dtype and device frames and controls must have; None = any.

    Returns:
        The frames, zero where missing, and the mask of seen frames, all True for `observed=None`.

    Raises:
        TypeError: if an argument is no tensor.
        ValueError: if a shape, dtype or device is not as above, or (under validation) a seen frame is not finite.
    """
    check_batch(frames, observed, controls, frame_shape)
    steps = tuple(frames.shape[:2])
    if control_dim == 0:
        if controls is not None:
            raise ValueError(
                "controls: expected None, since the model was built with control_dim=0, got a tensor; leave them out"
            )
    elif controls is None or tuple(controls.shape) != (*steps, control_dim):
        got = "None" if controls is None else tuple(controls.shape)
        raise ValueError(
            f"controls: expected (sequences, time, control) = {(*steps, control_dim)}, got {got}; give one control to "
            "each frame"
        )
    if module is not None:
        check_dtype(module, frames=frames, controls=controls)
        _check_device(module, frames=frames, controls=controls)
    if is_validation_enabled() and _get_current_dispatch_mode() is None:
        check_values(frames, observed)
    if observed is None:
        return frames, torch.ones_like(frames[:, :, 0, 0, 0], dtype=torch.bool)
    return torch.where(observed[:, :, None, None, None], frames, frames.new_zeros(())), observed


def _check_frame_shape(frames: Tensor, frame_shape: tuple[int, int, int]) -> None:
    if frames.dim() != 5 or tuple(frames.shape[2:]) != tuple(frame_shape):
        channels, height, width = frame_shape
        raise ValueError(
            f"frames: expected {LAYOUT} = (..., ..., {channels}, {height}, {width}), got {tuple(frames.shape)}; "
            + (_dims_remedy(frames) if frames.dim() != 5 else "resize them, or build the model with their frame_shape")
        )


def check_batch(
    frames: Tensor,
    observed: Tensor | None = None,
    controls: Tensor | None = None,
    frame_shape: tuple[int, int, int] | None = None,
) -> int:
    """Check what the arguments of every model have in common, whatever its frames are.

    Args:
        frames: floating point (sequences, time, ...), neither of them 0; models of single numbers may have no time.
        observed: bool (sequences, time), or None.
        controls: floating point (sequences, time, control), or None.
        frame_shape: (channels, height, width) that the model was built for; None = any.

    Returns:
        The number of sequences.

    Raises:
        TypeError: if an argument is no tensor.
        ValueError: if a shape or dtype is not as above, or devices differ.
    """
    _check_tensor("frames", frames, LAYOUT)
    if frames.dim() < 1:
        raise ValueError(f"frames: expected {LAYOUT}, got {tuple(frames.shape)}; {_dims_remedy(frames)}")
    if not frames.is_floating_point():
        raise ValueError(f"frames: expected floating point values in [0, 1], got {frames.dtype}; {_convert(frames)}")
    steps = tuple(frames.shape[:2])
    for size, word in zip(steps, ("sequence", "frame in each sequence"), strict=False):
        if size == 0:
            raise ValueError(f"frames: expected at least one {word}, got none in {tuple(frames.shape)}; give some")
    if frame_shape is not None:
        _check_frame_shape(frames, frame_shape)
    if observed is not None:
        _check_tensor("observed", observed, "bool (sequences, time)")
        if observed.dtype != torch.bool or tuple(observed.shape) != steps:
            remedy = (
                "give one entry to each frame" if observed.dtype == torch.bool else "convert it, observed.bool() say"
            )
            raise ValueError(
                f"observed: expected bool (sequences, time) = {steps}, got {observed.dtype} "
                f"{tuple(observed.shape)}; {remedy}"
            )
    if controls is not None:
        _check_tensor("controls", controls, "(sequences, time, control)")
        if not controls.is_floating_point():
            raise ValueError(f"controls: expected floating point values, got {controls.dtype}; use controls.float()")
        if controls.dim() != 3 or tuple(controls.shape[:2]) != steps:
            raise ValueError(
                f"controls: expected (sequences, time, control) = ({', '.join(map(str, steps))}, ...), got "
                f"{tuple(controls.shape)}; give one control to each frame"
            )
    for name, value in (("observed", observed), ("controls", controls)):
        if value is not None and value.device != frames.device:
            raise ValueError(
                f"{name}: expected a tensor on {frames.device}, where the frames are, got one on {value.device}; move "
                f"it, {name}.to(frames.device) say"
            )
    return steps[0]


@torch.no_grad()
def check_values(frames: Tensor, observed: Tensor | None, low: float = -torch.inf, high: float = torch.inf) -> None:
    """Refuse frames with values that are not finite, or outside a range; reads every value of the seen frames.

    Args:
        frames: (sequences, time, ...).
        observed: bool (sequences, time): missing frames may hold anything; None = all seen.
        low: smallest value allowed.
        high: largest value allowed.

    Raises:
        ValueError: says what was found, and where.
    """
    least, most = (float(value) for value in extremes(frames, observed))
    if (fault := value_fault(least, most, low, high)) is not None:
        where = "" if abs(least) + abs(most) < torch.inf else _place(frames, observed)
        raise ValueError(f"frames: {fault}{where}")


def value_fault(least: float, most: float, low: float, high: float) -> str | None:
    """What is wrong with frames whose values lie between these extremes, in words; None if nothing is.

    Args:
        least: smallest value of the seen frames, NaN if one is.
        most: largest value of them.
        low: smallest value allowed.
        high: largest value allowed.
    """
    if not abs(least) + abs(most) < torch.inf:
        got = "NaN" if least != least else f"values from {least:g} to {most:g}"
        return (
            f"expected finite values in observed frames, got {got}; replace them, or mark their frames as missing in "
            "observed"
        )
    if low <= least and most <= high:
        return None
    remedy = "map them to light, such as with (frames - low) / (high - low)"
    if least >= 0:
        remedy = "these look like bytes: divide by 255" if most <= BYTES else f"divide by {most:g}, or by their white"
    noise = "" if (low, high) == (0, 1) else f" (with the noise of the model's own pixels, {low:.3g} to {high:.3g})"
    return f"expected values from 0 (black) to 1 (white){noise}, got {least:g} to {most:g}; {remedy}"


def extremes(frames: Tensor, observed: Tensor | None) -> tuple[Tensor, Tensor]:
    """The smallest and the largest value of the seen frames, on their device; NaN if one is, 0 if none is seen."""
    if observed is None:
        return torch.aminmax(frames)
    dim = observed.dim()
    frames = frames.flatten(dim) if frames.dim() > dim else frames[..., None]
    ends = frames.amin(dim), frames.amax(dim)  # copies no frame, and takes a tenth of the time of aminmax over a dim
    least, most = (torch.where(observed, end, end.new_zeros(())) for end in ends)
    return least.min(), most.max()


def _check_tensor(name: str, value: Any, layout: str) -> None:
    if isinstance(value, Tensor):
        return
    if hasattr(value, "frames") and hasattr(value, "arguments"):
        raise TypeError(
            f"{name}: expected a torch.Tensor {layout}, got a {type(value).__name__}; pass its frames, mask and "
            "controls: *videos.arguments"
        )
    raise TypeError(
        f"{name}: expected a torch.Tensor {layout}, got {type(value).__name__}; convert arrays with torch.as_tensor"
    )


def check_dtype(module: nn.Module, **tensors: Tensor | None) -> None:
    """Refuse tensors of another dtype than the parameters of a model or guide, if it has any.

    Raises:
        ValueError: names the argument and both dtypes.
    """
    parameter = next(module.parameters(), None)
    for name, value in tensors.items():
        if value is not None and parameter is not None and value.dtype != parameter.dtype:
            raise ValueError(
                f"{name}: expected {parameter.dtype}, the dtype of the parameters of {type(module).__name__}, got "
                f"{value.dtype}; convert with .to({parameter.dtype}), or the module with .to({value.dtype})"
            )


def _check_device(module: nn.Module, **tensors: Tensor | None) -> None:
    parameter = next(module.parameters(), None)
    for name, value in tensors.items():
        if value is not None and parameter is not None and value.device != parameter.device:
            raise ValueError(
                f"{name}: expected a tensor on {parameter.device}, where the parameters of {type(module).__name__} "
                f"are, got one on {value.device}; move one of them with .to(...)"
            )


def _dims_remedy(frames: Tensor) -> str:
    if frames.dim() == 4:
        return "a single video needs a dim of sequences, frames[None]; grey videos need channels, frames[:, :, None]"
    return "VideoBatch.from_array arranges other layouts"


def _convert(frames: Tensor) -> str:
    return "bytes become frames with .float() / 255" if frames.dtype == torch.uint8 else "convert with .float()"


def _place(frames: Tensor, observed: Tensor | None) -> str:
    """How many seen frames are not finite, and the first of them."""
    wrong = ~frames.flatten(2).isfinite().all(2) if frames.dim() > 2 else ~frames.isfinite()
    if observed is not None:
        wrong = wrong & observed
    place = ", ".join(map(str, wrong.nonzero()[0].tolist()))
    return f" (found in {int(wrong.sum())} of them, the first at {place} of {tuple(wrong.shape)}, from 0)"
