"""One batch of videos, with its masks, controls and ground truth."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor

from videos.arrays import arranged, as_light, white_of

# The shape of each field in words; equal words are equal sizes. `frames` comes first and fixes sequences and time.
_LAYOUT: dict[str, tuple[str | int, ...]] = {
    "frames": ("sequences", "time", "channels", "height", "width"),
    "observed": ("sequences", "time"),
    "controls": ("sequences", "time", "control"),
    "positions": ("sequences", "time", "objects", 2),
    "velocities": ("sequences", "time", "objects", 2),
    "state": ("sequences", "time", "state"),
    "hits": ("sequences", "time"),
    "presence": ("sequences", "time", "objects"),
    "box_sizes": ("sequences", "time", "objects", 2),
    "labels": ("sequences", "time", "objects"),
    "masks": ("sequences", "time", "objects", "height", "width"),
}
_BOOLEAN = ("observed", "hits", "presence", "masks")
_WHOLE = ("labels",)
_REMEDIES = {
    "frames": "grey videos have channels = 1",
    "masks": "give one mask per object, of the size of a frame and without channels",
}


@dataclass(frozen=True)
class VideoBatch:
    """Videos of equal length with missing frames, controls and ground truth, every field aligned with the frames.

    Args:
        frames: (sequences, time, channels, height, width), floating point in [0, 1].
        observed: bool (sequences, time), False = the frame is missing and is never read. None = all are seen.
        controls: (sequences, time, control); `controls[:, t]` is the input that acted between frame t - 1 and frame t,
            so `controls[:, 0]` acted before the video and is never used.
        positions: (sequences, time, objects, 2), pixels, (x to the right, y down), origin at the centre of the
            top-left pixel.
        velocities: (sequences, time, objects, 2), pixels per frame, axes as in `positions`.
        state: (sequences, time, state), the simulator's own state in its own units; its docstring names them.
        hits: bool (sequences, time), True = an object bounced between the previous frame and this one.
        presence: bool (sequences, time, objects), False = the object does not exist; its other fields are zero.
        box_sizes: (sequences, time, objects, 2), width and height of an object's box, pixels.
        labels: int64 (sequences, time, objects), class of an object.
        masks: bool (sequences, time, objects, height, width), visible pixels of each object. Where objects hide one
            another, a pixel belongs to the one in front, so the masks of a frame never overlap. Pixels in no mask are
            background.

    Raises:
        TypeError: if a field is not a tensor.
        ValueError: if a shape or dtype is not as above.
    """

    frames: Tensor
    observed: Tensor | None = None
    controls: Tensor | None = None
    positions: Tensor | None = None
    velocities: Tensor | None = None
    state: Tensor | None = None
    hits: Tensor | None = None
    presence: Tensor | None = None
    box_sizes: Tensor | None = None
    labels: Tensor | None = None
    masks: Tensor | None = None

    def __post_init__(self) -> None:
        sizes: dict[str, int] = {}
        for name, layout in _LAYOUT.items():
            value = getattr(self, name)
            if value is None and name != "frames":
                continue
            _check_field(name, value, layout, sizes)

    def __repr__(self) -> str:
        rows = [f"  {name:10}  {words}" for name, words in self._described()]
        return "\n".join([self._heading(), *rows])

    def _repr_html_(self) -> str:
        rows = "".join(f"<tr><th>{name}</th><td>{words}</td></tr>" for name, words in self._described())
        return f"<p>{self._heading()}</p><table>{rows}</table>"

    def _heading(self) -> str:
        size = " x ".join(str(number) for number in self.frames.shape[2:])
        return f"VideoBatch of {self.num_sequences} videos, {self.num_frames} frames of {size}, on {self.frames.device}"

    def _described(self) -> list[tuple[str, str]]:
        """Fields that are there, in words; no value is read from another device."""
        words = {
            name: f"{tuple(value.shape)} {str(value.dtype).removeprefix('torch.')}"
            for name, value in self._present().items()
        }
        if self.observed is not None and self.observed.device.type == "cpu":
            words["observed"] += f", {int((~self.observed).sum())} of {self.observed.numel()} frames missing"
        return list(words.items())

    @classmethod
    def from_array(cls, frames: Any, layout: str | None = None) -> VideoBatch:
        """Videos from an array of frames.

        Args:
            frames: a numpy array or a torch.Tensor: uint8 from 0 to 255 (or 0 and 1 alone), bool, or floating point
                from 0 to 1.
            layout: names of its axes in their order, out of sequences, time, channels, height and width, such as
                "time height width"; axes that are not named have size 1. None = five axes are sequences, time, then
                channels, height and width or height, width and channels; four are sequences, time, height and width,
                or time, height, width and channels; three are time, height and width.

        Raises:
            TypeError: if it is no array.
            ValueError: if dtype, shape or a value is not as above, or the order of axes would be a guess.
        """
        tensor = arranged(frames, layout)
        return cls(as_light(tensor, white_of(tensor)))

    @property
    def num_sequences(self) -> int:
        """Number of videos."""
        return self.frames.shape[0]

    @property
    def num_frames(self) -> int:
        """Number of frames of each video."""
        return self.frames.shape[1]

    @property
    def arguments(self) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """The arguments of every model and guide: (frames, observed, controls)."""
        return self.frames, self.observed, self.controls

    def to(self, device: torch.device | str) -> VideoBatch:
        """The same batch with every tensor on `device`."""
        return VideoBatch(**{name: value.to(device) for name, value in self._present().items()})

    def clone(self) -> VideoBatch:
        """A copy that shares no memory with this batch."""
        return VideoBatch(**{name: value.clone() for name, value in self._present().items()})

    def select(self, index: Tensor | slice | list[int]) -> VideoBatch:
        """The sequences selected by `index` (integers, a mask or a slice), in its order, with all fields."""
        return VideoBatch(**{name: value[index] for name, value in self._present().items()})

    def first_frames(self, num_frames: int) -> VideoBatch:
        """The first frames of all sequences, with all fields; shorter videos are unchanged."""
        return VideoBatch(**{name: value[:, :num_frames] for name, value in self._present().items()})

    def between(self, start: int, stop: int) -> VideoBatch:
        """Frames `start` to `stop` - 1 of all sequences, with all fields."""
        return VideoBatch(**{name: value[:, start:stop] for name, value in self._present().items()})

    def single_frames(self) -> VideoBatch:
        """Every frame as a separate video, those of the first sequence first, with all fields."""
        return VideoBatch(**{name: value.flatten(0, 1).unsqueeze(1) for name, value in self._present().items()})

    def with_observed(self, observed: Tensor | None) -> VideoBatch:
        """The same videos with another mask of seen frames, bool (sequences, time), or None when all are seen."""
        return replace(self, observed=observed)

    def _present(self) -> dict[str, Tensor]:
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in values.items() if value is not None}


def _check_field(name: str, value: object, layout: tuple[str | int, ...], sizes: dict[str, int]) -> None:
    """Check one field against its layout, and record sizes that it is the first to name in `sizes`."""
    words = "(" + ", ".join(str(word) for word in layout) + ")"
    if not isinstance(value, Tensor):
        raise TypeError(
            f"{name}: expected a torch.Tensor {words}, got {type(value).__name__}; convert arrays with torch.as_tensor"
        )
    known = tuple(word if isinstance(word, int) else sizes.get(word) for word in layout)
    fits = value.dim() == len(layout) and all(
        size is None or size == actual for size, actual in zip(known, value.shape, strict=True)
    )
    if not fits:
        expected = "(" + ", ".join("..." if size is None else str(size) for size in known) + ")"
        remedy = _REMEDIES.get(name, "every field has one entry per sequence and frame")
        raise ValueError(f"{name}: expected {words} = {expected}, got {tuple(value.shape)}; {remedy}")
    if name in _BOOLEAN and value.dtype != torch.bool:
        raise ValueError(f"{name}: expected dtype torch.bool, got {value.dtype}; compare or convert with .bool()")
    if name in _WHOLE and value.dtype != torch.int64:
        raise ValueError(f"{name}: expected dtype torch.int64, got {value.dtype}; convert with .long()")
    if name not in _BOOLEAN + _WHOLE and not value.is_floating_point():
        raise ValueError(f"{name}: expected a floating point dtype, got {value.dtype}; convert with .float()")
    sizes.update((word, size) for word, size in zip(layout, value.shape, strict=True) if isinstance(word, str))
