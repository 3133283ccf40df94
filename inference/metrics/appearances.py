"""Objects of a video, or of many, as rows, one for each object and frame, and the pairs of rows that are close.

Metrics of tracks read this form: its size grows with the objects in each frame, not with the identities of a clip.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float64, Int64
from torch import Tensor

from inference.metrics.boxes import box_overlaps
from videos.tracks import Tracks

_PAIRS_AT_ONCE = 200_000  # pairs of a frame compared in one go: some tens of megabytes
_MASKED_PIXELS_AT_ONCE = 20_000_000  # the same for masks


@dataclass(frozen=True, eq=False)
class Appearances:
    """Rows sorted by frame.

    Attributes:
        frames: number of the frame over all sequences; each sequence has its own numbers.
        owners: number of the object, from 0, over all sequences; each sequence has its own numbers.
        sequences: sequence of each row.
        positions: centres, pixels.
        box_sizes: widths and heights, pixels.
        masks: pixels that show the object; None = objects are compared by their boxes.
    """

    frames: Int64[Tensor, " rows"]
    owners: Int64[Tensor, " rows"]
    sequences: Int64[Tensor, " rows"]
    positions: Float64[Tensor, "rows 2"]
    box_sizes: Float64[Tensor, "rows 2"]
    masks: Bool[Tensor, "rows pixels"] | None = None

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.frames)

    @property
    def num_owners(self) -> int:
        """Number of objects over all sequences."""
        return int(self.owners.max()) + 1 if len(self) else 0


@dataclass(frozen=True, eq=False)
class ClosePairs:
    """Pairs of a true and a predicted row of the same frame, sorted by frame.

    Attributes:
        truth: index of the true row.
        predicted: index of the predicted row.
        overlaps: intersection over union of the boxes, or of the masks; NaN if neither has an area.
        distances: of the centres, pixels.
    """

    truth: Int64[Tensor, " pairs"]
    predicted: Int64[Tensor, " pairs"]
    overlaps: Float64[Tensor, " pairs"]
    distances: Float64[Tensor, " pairs"]

    def select(self, chosen: Tensor) -> ClosePairs:
        """The pairs of a mask or of indices."""
        return ClosePairs(self.truth[chosen], self.predicted[chosen], self.overlaps[chosen], self.distances[chosen])


def appearances_in_slots(
    presence: Bool[Tensor, "sequences time slots"],
    numbers: Int64[Tensor, "sequences time slots"],
    positions: Float64[Tensor, "sequences time slots 2"],
    box_sizes: Float64[Tensor, "sequences time slots 2"],
    masks: Bool[Tensor, "sequences time slots height width"] | None = None,
) -> Appearances:
    """Rows of the slots with an object; `numbers` tell the objects of one sequence apart."""
    sequences, times, _ = presence.nonzero(as_tuple=True)
    names = torch.stack([sequences, numbers[presence]], -1)
    owners = names.unique(dim=0, return_inverse=True)[1]
    frames = sequences * presence.shape[1] + times
    shown = None if masks is None else masks[presence].flatten(1)
    return Appearances(frames, owners, sequences, positions[presence], box_sizes[presence], shown)


def clip_appearances(predicted: Tracks, truth: Tracks) -> tuple[Appearances, Appearances]:
    """Rows of predicted and of true tracks of one clip, which is the only sequence.

    True rows with a confidence of 0 are left out, as the MOTChallenge does.

    Raises:
        ValueError: if no true row is to be scored, or the two have no frame in common.
    """
    if truth.confidences is not None:
        truth = truth.select(truth.confidences != 0)
    if len(truth) == 0:
        raise ValueError("truth: expected at least one box to be found, got none with a confidence other than 0")
    if len(predicted) and not bool(torch.isin(predicted.frames, truth.frames).any()):
        spans = (f"{int(tracks.frames[0])} to {int(tracks.frames[-1])}" for tracks in (truth, predicted))
        raise ValueError(
            "predicted: expected tracks of the clip of truth, which is in frames {}, got frames {}, none of which is "
            "among them".format(*spans)
        )
    return _appearances(predicted), _appearances(truth)


def _appearances(tracks: Tracks) -> Appearances:
    owners = tracks.identities.unique(return_inverse=True)[1]
    return Appearances(tracks.frames, owners, torch.zeros_like(owners), tracks.positions, tracks.box_sizes)


def close_pairs(
    truth: Appearances, predicted: Appearances, *, min_overlap: float = 0.0, max_distance: float | None = None
) -> ClosePairs:
    """Pairs with an overlap above 0 and of at least `min_overlap`, or, if given, at most `max_distance` apart.

    Args:
        truth: true objects.
        predicted: predicted objects.
        min_overlap: minimum intersection over union of boxes, or of masks where rows have them.
        max_distance: maximum distance of the centres, pixels; boxes are then not read.
    """
    kept = []
    pixels = 1 if truth.masks is None else truth.masks.shape[1]
    at_once = _PAIRS_AT_ONCE if truth.masks is None else max(1, _MASKED_PIXELS_AT_ONCE // pixels)
    for rows, others in _pairs(truth.frames, predicted.frames, at_once):
        pairs = _measured(truth, predicted, rows, others)
        if max_distance is not None:
            close = pairs.distances <= max_distance
        else:
            close = (pairs.overlaps > 0) & (pairs.overlaps >= min_overlap)
        kept.append(pairs.select(close))
    columns = ([getattr(pairs, name) for pairs in kept] for name in ("truth", "predicted", "overlaps", "distances"))
    return ClosePairs(*(torch.cat(column) for column in columns))


def _measured(truth: Appearances, predicted: Appearances, rows: Tensor, others: Tensor) -> ClosePairs:
    place, size = truth.positions[rows], truth.box_sizes[rows]
    other_place, other_size = predicted.positions[others], predicted.box_sizes[others]
    if truth.masks is not None and predicted.masks is not None:
        overlaps = mask_overlaps(truth.masks[rows], predicted.masks[others])
    else:
        overlaps = box_overlaps(place[:, None], size[:, None], other_place[:, None], other_size[:, None])[:, 0, 0]
    return ClosePairs(rows, others, overlaps, (place - other_place).norm(dim=-1))


def mask_overlaps(
    masks: Bool[Tensor, "pairs pixels"], other_masks: Bool[Tensor, "pairs pixels"]
) -> Float64[Tensor, " pairs"]:
    """Intersection over union of two masks each; NaN, which passes no gate, if both are empty."""
    return (masks & other_masks).sum(-1).double() / (masks | other_masks).sum(-1)


def _pairs(frames: Tensor, other_frames: Tensor, at_once: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Indices of all pairs of rows of the same frame, some frames at a time."""
    first = torch.searchsorted(other_frames, frames)
    partners = torch.searchsorted(other_frames, frames, right=True) - first
    chunk = partners.cumsum(0) // at_once
    last = int(chunk[-1]) if len(chunk) else 0
    edges = torch.searchsorted(chunk, torch.arange(last + 2))
    for start, stop in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        number = partners[start:stop]
        rows = torch.arange(start, stop).repeat_interleave(number)
        begun = (number.cumsum(0) - number).repeat_interleave(number)
        yield rows, first[rows] + torch.arange(len(rows)) - begun
