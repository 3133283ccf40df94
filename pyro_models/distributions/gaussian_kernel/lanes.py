"""Which sequence lies in which SIMD lane, and which row of each parameter it uses."""

from dataclasses import dataclass

import numpy as np
import torch

_COVARIANCE_PARAMETERS = (2, 3, 4, 5, 6, 9)  # initial covariance, transition and emission matrices and noises, observed
_COVARIANCE_COST = 6  # approximate cost of one sweep of a covariance, in sweeps of a mean


@dataclass(frozen=True)
class LaneLayout:
    """Index tables of the kernel, flattened; see `build_sweep`."""

    batch_shape: torch.Size
    table: np.ndarray
    weight: np.ndarray
    shared: np.ndarray
    groups: int
    repeats: int


def lane_layout(batch_shapes: tuple[torch.Size, ...], lanes: int) -> LaneLayout:
    """Place sequences so that shared quantities are swept as few times as possible.

    Covariances differ between `distinct` parameter sets, each used by `repeats` sequences. Either the lanes hold
    distinct sets, and the repeats follow each other, or, if there are few distinct sets, all lanes hold one set and
    different repeats.

    Args:
        batch_shapes: of a, initial mean and covariance, transition matrix and covariance, emission matrix and
            covariance, the two offsets and `observed`.
        lanes: number of sequences in a vector.
    """
    full = torch.broadcast_shapes(*batch_shapes)
    if full.numel() == 0:
        return LaneLayout(full, np.zeros(0, np.int64), np.zeros(0), np.zeros(len(batch_shapes) + 1, np.bool_), 0, 0)
    index = np.arange(full.numel()).reshape(full)
    rows = np.stack(
        [np.broadcast_to(np.arange(shape.numel()).reshape(shape), full).reshape(-1) for shape in batch_shapes]
    )
    own = torch.broadcast_shapes(*(batch_shapes[i] for i in _COVARIANCE_PARAMETERS))
    own = (1,) * (len(full) - len(own)) + tuple(own)
    order = [d for d in range(len(full)) if own[d] > 1] + [d for d in range(len(full)) if own[d] == 1]
    distinct = int(np.prod(own))
    table = index.transpose(order).reshape(distinct, -1)
    repeats = table.shape[1]
    across = -(-distinct // lanes) * (_COVARIANCE_COST + repeats)
    along = distinct * (_COVARIANCE_COST - (-repeats // lanes))
    if across <= along:
        sequence, weight = _padded(table.T, lanes)  # (repeat, group, lane)
        sequence, weight = sequence.transpose(1, 0, 2), weight.transpose(1, 0, 2)
    else:
        sequence, weight = _padded(table, lanes)  # (group, repeat, lane)
    table = np.concatenate([rows[:, sequence], sequence[None]])  # the last one places log p
    shared = (table == table[..., :1]).all((1, 2, 3))
    groups, repeats, _ = sequence.shape
    return LaneLayout(full, table.reshape(-1), np.ascontiguousarray(weight).reshape(-1), shared, groups, repeats)


def _padded(table: np.ndarray, lanes: int) -> tuple[np.ndarray, np.ndarray]:
    """(row, column) -> (row, block, lane); the last lanes repeat the last column, with weight 0."""
    columns = table.shape[1]
    wide = np.minimum(np.arange(-(-columns // lanes) * lanes), columns - 1)
    weight = np.broadcast_to(np.arange(len(wide)) < columns, (table.shape[0], len(wide))).astype(np.float64)
    return table[:, wide].reshape(len(table), -1, lanes), weight.reshape(len(table), -1, lanes)
