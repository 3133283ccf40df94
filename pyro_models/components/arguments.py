"""The check of arguments that every model and guide makes before it reads a frame."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor


def check_video(
    frames: Tensor,
    observed: Tensor | None,
    controls: Tensor | None,
    frame_shape: tuple[int, int, int],
    control_dim: int,
) -> tuple[Float[Tensor, "sequences time channels height width"], Bool[Tensor, "sequences time"]]:
    """Check the arguments of a model or guide and set missing frames to zero, so that their contents are never read.

    Args:
        frames: (sequences, time, channels, height, width).
        observed: bool (sequences, time), or None when every frame is seen.
        controls: (sequences, time, control), or None for a model without controls.
        frame_shape: (channels, height, width) that the model was built for.
        control_dim: size of a control that the model was built for, 0 = none.

    Returns:
        The frames, zero where missing, and the mask of seen frames, all True for `observed=None`.

    Raises:
        ValueError: if a shape or dtype is not as above.
    """
    if frames.dim() != 5 or tuple(frames.shape[2:]) != tuple(frame_shape):
        channels, height, width = frame_shape
        raise ValueError(
            f"frames: expected (sequences, time, channels, height, width) = (..., ..., {channels}, {height}, {width}), "
            f"got {tuple(frames.shape)}"
        )
    if not frames.is_floating_point():
        raise ValueError(f"frames: expected floating point values in [0, 1], got {frames.dtype}; convert with .float()")
    steps = tuple(frames.shape[:2])
    if control_dim == 0:
        if controls is not None:
            raise ValueError("controls: expected None, since the model was built with control_dim=0, got a tensor")
    elif controls is None or tuple(controls.shape) != (*steps, control_dim):
        got = "None" if controls is None else tuple(controls.shape)
        raise ValueError(f"controls: expected (sequences, time, control) = {(*steps, control_dim)}, got {got}")
    if observed is None:
        return frames, torch.ones_like(frames[:, :, 0, 0, 0], dtype=torch.bool)
    if observed.dtype != torch.bool or tuple(observed.shape) != steps:
        raise ValueError(
            f"observed: expected bool (sequences, time) = {steps}, got {observed.dtype} {tuple(observed.shape)}"
        )
    return torch.where(observed[:, :, None, None, None], frames, frames.new_zeros(())), observed
