"""The values of frames in training, watched on the device: nothing waits for them until somebody asks."""

from collections.abc import Mapping
from typing import Any

import torch
from pyro import poutine
from torch import Tensor

from pyro_models.components.arguments import extremes, value_fault


class FramesWatch:
    """Extremes of all seen frames so far, and the first step at which they were not finite.

    A step adds two reductions of its batch, outside the graph of a compiled step, and reads nothing back.

    Args:
        light: whether frames are light, from 0 to 1, so that other values are worth a word.
    """

    def __init__(self, light: bool) -> None:
        self.light = light
        self._extremes: Tensor | None = None
        self._first_nonfinite: Tensor | None = None

    @torch.no_grad()
    def look(self, args: tuple[Any, ...], kwargs: Mapping[str, Any], step: int) -> None:
        """Take note of a batch.

        Args:
            args: positional arguments of model and guide; the first are the frames, the second the mask.
            kwargs: their keyword arguments.
            step: by which the first frames that are not finite are known.
        """
        found = extremes_of(args, kwargs)
        if found is None:
            return
        if self._extremes is None:
            self._extremes = found.clone()
            self._first_nonfinite = torch.full((), -1, dtype=torch.int64, device=found.device)
        assert self._first_nonfinite is not None
        self._extremes = torch.maximum(self._extremes, found)  # NaN if either is
        fine = found.isfinite().all() | (self._first_nonfinite >= 0)
        self._first_nonfinite = torch.where(fine, self._first_nonfinite, step)

    def forget(self) -> None:
        """Watch again, from the next step."""
        self._extremes = self._first_nonfinite = None

    def fault(self) -> str:
        """What was wrong with frames, as the end of a sentence, empty if nothing was; waits for the device."""
        if self._extremes is None or self._first_nonfinite is None:
            return ""
        first = int(self._first_nonfinite)
        words = in_words(self._extremes, self.light)
        return words if not words or first < 0 else f"{words} (first at step {first})"


def is_light(model: Any) -> bool:
    """Whether a model's frames are light, from 0 to 1: images, of a size that the model states."""
    return getattr(poutine.unwrap(model), "frame_shape", None) is not None


def extremes_of(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Tensor | None:
    """Minus the smallest, and the largest value of a batch's seen frames; None if its first argument is no video."""
    frames = args[0]
    observed = args[1] if len(args) > 1 else kwargs.get("observed")
    if not frames.is_floating_point() or frames.numel() == 0:
        return None
    if not isinstance(observed, Tensor) or observed.dtype != torch.bool or observed.shape != frames.shape[:2]:
        observed = None
    least, most = extremes(frames, observed)
    return torch.stack([-least, most])


def in_words(found: Tensor, light: bool) -> str:
    """What is wrong with frames of these extremes, as the end of a sentence; empty if nothing is."""
    least, most = -float(found[0]), float(found[1])
    fault = value_fault(least, most, *((0.0, 1.0) if light else (-torch.inf, torch.inf)))
    return "" if fault is None else f"; frames: {fault}"
