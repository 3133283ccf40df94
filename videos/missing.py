"""Patterns of missing frames: which frames of which sequence are seen.

Every pattern is called as `pattern(num_sequences, num_frames, ..., generator=generator)` and returns a mask, bool
(sequences, time), True = seen; fix its settings with `functools.partial` to hand it to a loader.
"""

from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool
from torch import Tensor

from videos.typed import typed


@runtime_checkable
class MissingPattern(Protocol):
    """A pattern that a loader calls to draw masks, such as `functools.partial(random_drop, probability=0.4)`."""

    def __call__(self, num_sequences: int, num_frames: int, *, generator: torch.Generator) -> Tensor:
        """Return the mask of seen frames, bool (sequences, time)."""
        ...


@typed
def random_drop(
    num_sequences: int,
    num_frames: int,
    probability: float,
    keep_first: int = 4,
    *,
    generator: torch.Generator,
) -> Bool[Tensor, "sequences time"]:
    """Drop each frame after the first few independently (Fraccaro et al. 2017, figure 3a).

    Args:
        num_sequences: number of sequences; each gets its own mask.
        num_frames: frames of a sequence.
        probability: of dropping a frame, in [0, 1]; 1 leaves exactly the first `keep_first`.
        keep_first: number of frames at the start that are always seen.
        generator: source of randomness; the mask is made on its device.

    Raises:
        ValueError: if `probability` or `keep_first` is out of range.
    """
    if not 0.0 <= probability <= 1.0:
        raise ValueError(
            f"probability: expected a value in [0, 1], got {probability}; give a fraction, not a percentage"
        )
    _check_range("keep_first", keep_first, num_frames)
    draws = torch.rand(num_sequences, num_frames, generator=generator, device=generator.device)
    first = torch.arange(num_frames, device=generator.device) < keep_first
    return (draws >= probability) | first


@typed
def gap(
    num_sequences: int,
    num_frames: int,
    length: int,
    start: int = 4,
    *,
    generator: torch.Generator | None = None,
) -> Bool[Tensor, "sequences time"]:
    """Drop `length` consecutive frames from index `start` on (Fraccaro et al. 2017, figure 3b: start 4).

    Args:
        num_sequences: number of sequences; all get the same mask.
        num_frames: frames of a sequence.
        length: number of missing frames.
        start: index of the first missing frame.
        generator: not read, since nothing is random; taken so that every pattern is called alike.

    Raises:
        ValueError: if the gap does not fit into the sequence.
    """
    _check_range("start", start, num_frames)
    if not 0 <= length <= num_frames - start:
        raise ValueError(
            f"length: expected 0 to num_frames - start = {num_frames - start}, got {length}; "
            "shorten the gap or start it earlier"
        )
    time = torch.arange(num_frames, device=None if generator is None else generator.device)
    return ((time < start) | (time >= start + length)).expand(num_sequences, num_frames).clone()


@typed
def tail(
    num_sequences: int,
    num_frames: int,
    num_seen: int,
    *,
    generator: torch.Generator | None = None,
) -> Bool[Tensor, "sequences time"]:
    """Only the first `num_seen` frames are seen: forecasting.

    Args:
        num_sequences: number of sequences; all get the same mask.
        num_frames: frames of a sequence.
        num_seen: number of seen frames at the start.
        generator: not read, since nothing is random; taken so that every pattern is called alike.

    Raises:
        ValueError: if `num_seen` is not between 0 and `num_frames`.
    """
    _check_range("num_seen", num_seen, num_frames)
    return gap(num_sequences, num_frames, num_frames - num_seen, num_seen, generator=generator)


def _check_range(name: str, value: int, num_frames: int) -> None:
    if not 0 <= value <= num_frames:
        raise ValueError(f"{name}: expected 0 to num_frames = {num_frames}, got {value}; count frames from zero")
