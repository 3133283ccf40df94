"""Matching of true objects to tracks, frame by frame (CLEAR MOT, HOTA) and over whole sequences (IDF1)."""

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
import torch
from jaxtyping import Bool, Float64, Int64
from torch import Tensor

from inference.metrics.assignment import assign


def match_frames(
    frames: Int64[Tensor, " pairs"],
    objects: Int64[Tensor, " pairs"],
    tracks: Int64[Tensor, " pairs"],
    costs: Float64[Tensor, " pairs"],
) -> Bool[Tensor, " pairs"]:
    """Which pairs of each frame are matched: those matched last, then as many as possible, then the cheapest.

    Bernardin and Stiefelhagen (2008): an object keeps the track that it was last matched to while both are a pair, and
    the track was not matched to another object since.

    Args:
        frames: frame of each pair, sorted.
        objects: true object of each pair.
        tracks: track of each pair.
        costs: in [0, 1].
    """
    names, others, prices = objects.tolist(), tracks.tolist(), costs.tolist()
    claims: dict[int, int] = {}  # track of an object
    owners: dict[int, int] = {}  # object of a track
    matched: list[int] = []
    for start, stop in _frames_of(frames):
        kept = [pair for pair in range(start, stop) if claims.get(names[pair]) == others[pair]]
        busy, taken = {names[pair] for pair in kept}, {others[pair] for pair in kept}
        free = [pair for pair in range(start, stop) if names[pair] not in busy and others[pair] not in taken]
        new = _cheapest(free, names, others, prices, largest=True)
        for pair in new:
            # When a track moves to another object, its previous object loses its claim.
            claims.pop(owners.get(others[pair], -1), None)
        for pair in new:
            owners.pop(claims.get(names[pair], -1), None)
        for pair in new:
            claims[names[pair]], owners[others[pair]] = others[pair], names[pair]
        matched += kept + new
    chosen = torch.zeros(len(names), dtype=torch.bool)
    chosen[matched] = True
    return chosen


def best_pairs(
    frames: Int64[Tensor, " pairs"],
    objects: Int64[Tensor, " pairs"],
    tracks: Int64[Tensor, " pairs"],
    values: Float64[Tensor, " pairs"],
) -> Bool[Tensor, " pairs"]:
    """Which pairs of each frame are matched to maximise the sum of values, each frame independently.

    Args:
        frames: frame of each pair, sorted.
        objects: true object of each pair.
        tracks: track of each pair.
        values: above 0.
    """
    names, others, prices = objects.tolist(), tracks.tolist(), (-values).tolist()
    chosen = torch.zeros(len(names), dtype=torch.bool)
    for start, stop in _frames_of(frames):
        chosen[_cheapest(range(start, stop), names, others, prices, largest=False)] = True
    return chosen


def _frames_of(frames: Tensor) -> Iterator[tuple[int, int]]:
    """First pair of each frame, and the one after its last."""
    starts = np.flatnonzero(np.diff(frames.numpy(), prepend=-1)).tolist()
    return pairwise([*starts, len(frames)])


def _cheapest(
    pairs: Sequence[int], names: list[int], others: list[int], prices: list[float], *, largest: bool
) -> list[int]:
    """A cheapest one-to-one choice among the pairs of one frame, see `assign`."""
    rows = {name: row for row, name in enumerate(dict.fromkeys(names[pair] for pair in pairs))}
    columns = {other: column for column, other in enumerate(dict.fromkeys(others[pair] for pair in pairs))}
    if len(rows) == len(columns) == len(pairs):
        return list(pairs)
    costs, place = np.full((len(rows), len(columns)), np.nan), {}
    for pair in pairs:
        spot = rows[names[pair]], columns[others[pair]]
        costs[spot], place[spot] = prices[pair], pair
    return [place[spot] for spot in assign(costs, ~np.isnan(costs), largest=largest)]


def explained_frames(
    objects: Int64[Tensor, " pairs"],
    tracks: Int64[Tensor, " pairs"],
    sequences: Int64[Tensor, " pairs"],
    num_sequences: int,
) -> Int64[Tensor, " sequences"]:
    """IDTP of each sequence: frames of the best one-to-one assignment of tracks to true objects.

    Ristani, Solera, Zou, Cucchiara and Tomasi (2016).

    Args:
        objects: true object of each pair; those of different sequences have different numbers.
        tracks: track of each pair, in the same way.
        sequences: sequence of each pair.
        num_sequences: number of sequences.
    """
    explained = torch.zeros(num_sequences, dtype=torch.long)
    order = sequences.argsort(stable=True)
    for part in order.split(sequences.bincount(minlength=num_sequences).tolist()):
        if len(part):
            rows, columns = (numbers[part].unique(return_inverse=True)[1] for numbers in (objects, tracks))
            counts = np.zeros((int(rows.max()) + 1, int(columns.max()) + 1))
            np.add.at(counts, (rows.numpy(), columns.numpy()), 1)
            chosen = assign(-counts, counts > 0, largest=False)
            explained[sequences[part[0]]] = int(sum(counts[pair] for pair in chosen))
    return explained
