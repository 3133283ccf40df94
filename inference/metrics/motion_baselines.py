"""Predictors of positions that learn nothing: the last position, and the last velocity, kept."""

import torch
from jaxtyping import Float
from torch import Tensor

from videos.typed import typed


@typed
def hold_last(
    positions: Float[Tensor, "sequences time objects 2"], prefix: int
) -> Float[Tensor, "sequences time objects 2"]:
    """Every object stays where it is in the last frame of the prefix.

    Args:
        positions: pixels; only those of the prefix are read.
        prefix: number of observed frames, at least 1.

    Returns:
        Positions of all frames; those of the prefix are unchanged.

    Raises:
        ValueError: if the prefix is empty or longer than the videos.
    """
    _check_prefix(prefix, 1, positions)
    seen = positions[:, :prefix]
    return torch.cat([seen, seen[:, -1:].expand(-1, positions.shape[1] - prefix, -1, -1)], 1)


@typed
def constant_velocity(
    positions: Float[Tensor, "sequences time objects 2"],
    prefix: int,
    walls: tuple[Tensor, Tensor] | None = None,
) -> Float[Tensor, "sequences time objects 2"]:
    """Every object keeps the displacement between the last two frames of the prefix.

    Args:
        positions: pixels; only those of the prefix are read.
        prefix: number of observed frames, at least 2.
        walls: lowest and highest position, pixels, that broadcast to (sequences, objects, 2): a path is mirrored
            there, as often as necessary. For boxes of size b in a frame of size f these are (b - 1) / 2 and
            f - 1 - (b - 1) / 2, the exact rule of `LinearDigits`. None = paths leave the frame.

    Returns:
        Positions of all frames; those of the prefix are unchanged.

    Raises:
        ValueError: if the prefix has fewer than two frames or is longer than the videos, or a lowest position is not
            below the highest.
    """
    _check_prefix(prefix, 2, positions)
    seen = positions[:, :prefix]
    steps = torch.arange(1, positions.shape[1] - prefix + 1, dtype=seen.dtype, device=seen.device)
    ahead = seen[:, -1:] + steps[:, None, None] * (seen[:, -1:] - seen[:, -2:-1])
    return torch.cat([seen, ahead if walls is None else _mirrored(ahead, *walls)], 1)


def _mirrored(places: Tensor, lowest: Tensor, highest: Tensor) -> Tensor:
    """Fold the line into the walls: one period is there and back."""
    if not bool((lowest < highest).all()):
        raise ValueError(
            "walls: expected lowest positions below the highest, got some that are not; give (lowest, highest), pixels"
        )
    shape = (len(places), *places.shape[2:])
    lowest, length = (wall.expand(shape)[:, None] for wall in (lowest, highest - lowest))
    return lowest + length - ((places - lowest).remainder(2 * length) - length).abs()


def _check_prefix(prefix: int, least: int, positions: Tensor) -> None:
    if positions.dim() != 4:
        raise ValueError(f"positions: expected (sequences, time, objects, 2), got {tuple(positions.shape)}")
    num_frames = positions.shape[1]
    if not least <= prefix <= num_frames:
        raise ValueError(
            f"prefix: expected {least} to the number of frames = {num_frames}, got {prefix}; give the number of "
            "observed frames"
        )
