"""Arrays as frames: which axis is which, and which value is white."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Shaped
from torch import Tensor

AXES = ("sequences", "time", "channels", "height", "width")
CHANNELS = (1, 3)  # grey, and red-green-blue
WHITE = 255  # in bytes


def arranged(
    frames: Any, layout: str | None = None, name: str = "frames"
) -> Shaped[Tensor, "sequences time channels height width"]:
    """An array with all five axes of a video, in their order; a view where possible, values as they are.

    Args:
        frames: a numpy array or a torch.Tensor, uint8, bool or floating point, 3 to 5 dims.
        layout: names of its axes in their order, such as "time height width"; None = see `default_layout`. Axes that
            are not named are added with size 1.
        name: of the array, for messages.

    Raises:
        TypeError: if it is no array.
        ValueError: if its dtype, its number of dims, or a size is not as above, or the layout does not fit or would be
            a guess.
    """
    if isinstance(frames, Tensor):
        kind = str(frames.dtype).removeprefix("torch.")
    elif isinstance(frames, np.ndarray):
        kind = frames.dtype.name
    else:
        raise TypeError(
            f"{name}: expected a numpy array or a torch.Tensor, got {type(frames).__name__}; convert it with np.asarray"
        )
    if kind not in ("bool", "uint8", "bfloat16") and not kind.startswith("float"):
        raise ValueError(
            f"{name}: expected uint8 from 0 to {WHITE}, bool, or floating point from 0 to 1, got {kind}; values from 0 "
            f"to {WHITE} become frames with .astype('uint8')"
        )
    shape = tuple(frames.shape)
    words = _words(default_layout(shape, name) if layout is None else layout, shape, name)
    tensor = frames if isinstance(frames, Tensor) else torch.from_numpy(np.ascontiguousarray(frames))
    present = [axis for axis in AXES if axis in words]
    tensor = tensor.permute([words.index(axis) for axis in present])
    for place, axis in enumerate(AXES):
        if axis not in words:
            tensor = tensor.unsqueeze(place)
    if tensor.shape[2] not in CHANNELS:
        raise ValueError(
            f"{name}: expected 1 channel (grey) or 3 (red, green, blue), got {tensor.shape[2]} in {shape}, layout "
            f"{' '.join(words)!r}; leave out transparency, frames[..., :3] say, or name another layout"
        )
    if 0 in tensor.shape:
        raise ValueError(f"{name}: expected at least one frame and one pixel, got {shape}, which is empty")
    return tensor


def default_layout(shape: Sequence[int], name: str = "frames") -> str:
    """The layout of an array of that shape, if there is only one that is sensible.

    Five dims are (sequences, time, ...) with channels, 1 or 3, as third or as last axis. Four are (sequences, time,
    height, width), or (time, height, width, channels) where the last is 1 or 3. Three are (time, height, width).

    Raises:
        ValueError: if several layouts are sensible, or none is; names them.
    """
    given, last = tuple(shape), shape[-1] in CHANNELS if shape else False
    candidates: list[str] = []
    if len(given) == 5:
        candidates += ["sequences time channels height width"] if given[2] in CHANNELS else []
        candidates += ["sequences time height width channels"] if last else []
    elif len(given) == 4:
        candidates += ["time channels height width"] if given[1] in CHANNELS else []
        candidates += ["time height width channels"] if last else ["sequences time height width"]
    elif len(given) == 3:
        candidates += ["height width channels", "time height width"] if last else ["time height width"]
    if len(candidates) == 1:
        return candidates[0]
    if candidates:
        listed = " or ".join(map(repr, candidates))
        raise ValueError(f"layout: expected the order of the axes of {name} {given}, which may be {listed}; name it")
    if len(given) == 5:
        raise ValueError(
            f"{name}: expected 1 or 3 channels as the third or the last of five axes, got {given}; name its axes in "
            "layout, 'sequences time channels height width' say"
        )
    raise ValueError(
        f"{name}: expected 3 dims (time, height, width), 4 (sequences, time, height, width), (time, height, width, "
        f"channels), or 5 with sequences and channels, got {len(given)} in {given}"
    )


def white_of(frames: Tensor, name: str = "frames") -> float:
    """The value that is white: 255 in bytes, 1 in bool, floating point, and bytes that are all 0 or 1.

    Raises:
        ValueError: if a value is not finite or not in this range; says what to do.
    """
    if frames.dtype == torch.bool or frames.numel() == 0:
        return 1.0
    low, high = (float(value) for value in frames.aminmax())
    if frames.dtype == torch.uint8:
        return 1.0 if high <= 1 else float(WHITE)
    if not (np.isfinite(low) and np.isfinite(high)):
        bad = int((~frames.isfinite()).sum())
        kind = "NaN" if bool(frames.isnan().any()) else "infinite values"
        raise ValueError(
            f"{name}: expected finite values from 0 to 1, got {kind} ({bad} of {frames.numel()} are not finite); "
            "replace them, or leave their frames out: VideoBatch(frames, observed=...) marks frames as missing"
        )
    if low < 0:
        raise ValueError(
            f"{name}: expected values from 0 (black) to 1 (white), got {low:g} to {high:g}; map them "
            "to light, such as with (frames - low) / (high - low)"
        )
    if high > 1:
        remedy = "these look like bytes: divide by 255" if high <= WHITE else f"divide by {high:g}, or by their white"
        raise ValueError(f"{name}: expected values from 0 (black) to 1 (white), got {low:g} to {high:g}; {remedy}")
    return 1.0


def as_light(frames: Tensor, white: float) -> Tensor:
    """Frames in float32, 0 = black, 1 = white."""
    return frames.float() if white == 1 else frames.float() / white


def _words(layout: str, shape: tuple[int, ...], name: str) -> list[str]:
    words = layout.replace(",", " ").split()
    unknown = [word for word in words if word not in AXES]
    if unknown or len(set(words)) < len(words) or not {"height", "width"} <= set(words):
        raise ValueError(
            f"layout: expected different words of {', '.join(AXES)}, height and width among them, got {layout!r}"
        )
    if len(words) != len(shape):
        raise ValueError(
            f"layout: expected one word for each of the {len(shape)} axes of {name} {shape}, got {layout!r}"
        )
    return words
