"""Sites of a family as rows of one matrix, which its update treats alike."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Size, Tensor


def to_rows(values: Sequence[Tensor], size: int) -> Float[Tensor, "rows size"]:
    """All entries of the plates of all members, one below the other.

    Args:
        values: by member, (*plates, *event).
        size: of a row: the last event dim, or 1 for sites without event dims.
    """
    return torch.cat([value.reshape(-1, size) for value in values])


def from_rows(rows: Float[Tensor, "rows size"], shapes: Sequence[Size]) -> list[Tensor]:
    """The reverse.

    Args:
        rows: result of `to_rows`.
        shapes: of the members.
    """
    counts = [shape.numel() // rows.shape[-1] for shape in shapes]
    return [part.reshape(shape) for part, shape in zip(rows.split(counts), shapes, strict=True)]


def average_draws(value: Tensor, shape: Size) -> Tensor:
    """A quantity of a site, (*draws, *shape or what broadcasts to it), averaged over draws."""
    extra = value.dim() - len(shape)
    value = value.flatten(0, extra).mean(0) if extra > 0 and value.shape[extra] == 1 else value
    extra = value.dim() - len(shape)
    return (value.mean(tuple(range(extra))) if extra > 0 else value).expand(shape)
