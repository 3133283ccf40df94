"""Tracks of one long clip as a poor tracker gives them, and what other libraries say of them; numpy alone."""

import numpy as np

# pip install trackeval==1.3.0 motmetrics==1.4.0 numpy==2.4.6 scipy==1.17.1 pandas==3.1.1, in an environment of its own.
# TrackEval: metrics.HOTA, CLEAR (threshold 0.5) and Identity, each eval_sequence on a dictionary of `gt_ids`,
# `tracker_ids` (numbered from 0) and `similarity_scores` of each frame, intersections over union. motmetrics: an
# MOTAccumulator updated frame by frame with 1 - intersection over union, NaN above 0.5. The rows are walk(seed) against
# perturbed(walk(seed), seed), and the annotations of OpenCV's clip of pedestrians, without those of confidence 0,
# against perturbed(annotations, seed).
TRACKEVAL = {}
MOTMETRICS = {}


def walk(seed, num_frames=120, people=12):
    """Rows of (frame from 0, identity, left, top, width, height): people who cross a frame of 768 x 576 pixels."""
    draws = np.random.RandomState(seed)
    rows = []
    for identity in range(people):
        start, length = draws.randint(num_frames - 20), draws.randint(20, num_frames)
        place, velocity = draws.rand(2) * (700, 450), draws.randn(2) * (3, 1)
        size = np.array((30, 80)) * (0.8 + 0.4 * draws.rand())
        for frame in range(start, min(num_frames, start + length)):
            rows.append((frame, 3 * identity + 1, *place, *size))
            place = place + velocity + 0.5 * draws.randn(2)
    return in_order(np.array(rows))


def perturbed(rows, seed):
    """The same boxes moved, lost, invented, and under names that change."""
    draws = np.random.RandomState(seed + 1000)
    rows = rows[draws.rand(len(rows)) > 0.12].copy()
    rows[:, 2:] += draws.randn(len(rows), 4) * (4, 6, 3, 8)
    rows[:, 4:] = np.maximum(rows[:, 4:], 3.0)
    frames, names = rows[:, 0], rows[:, 1].copy()
    for identity in np.unique(names):  # each gets a new name at some frames
        for frame in np.quantile(frames, np.sort(draws.rand(2))):
            rows[(rows[:, 1] == identity) & (frames >= frame), 1] += 1000
    for first, second in draws.permutation(np.unique(names))[:4].reshape(2, 2):  # two swap names
        later = frames >= np.quantile(frames, draws.rand())
        one, other = (later & (names == name) for name in (first, second))
        rows[one, 1], rows[other, 1] = rows[one, 1] % 1000 - first + second, rows[other, 1] % 1000 - second + first
    count = len(rows) // 10
    ghosts = np.column_stack(
        [
            draws.choice(np.unique(frames), count),
            10_000 + draws.randint(0, 15, count),
            draws.rand(count, 2) * (700, 450),
            np.tile((30.0, 80.0), (count, 1)),
        ]
    )
    rows = np.concatenate([rows, ghosts])
    _, first = np.unique(rows[:, :2], axis=0, return_index=True)
    return in_order(rows[first])


def in_order(rows):
    return rows[np.lexsort((rows[:, 1], rows[:, 0]))]
