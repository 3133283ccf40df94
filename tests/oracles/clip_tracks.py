"""Tracks of one long clip as a poor tracker gives them, and what other libraries say of them."""

import numpy as np
import torch

from videos.tracks import Tracks

# pip install trackeval==1.3.0 motmetrics==1.4.0 numpy==2.4.6 scipy==1.17.1 pandas==3.1.1, in an environment of its own.
# TrackEval: metrics.HOTA, CLEAR (threshold 0.5) and Identity, each eval_sequence on a dictionary of `gt_ids`,
# `tracker_ids` (numbered from 0) and `similarity_scores` of each frame, intersections over union. motmetrics: an
# MOTAccumulator updated frame by frame with 1 - intersection over union, NaN above 0.5. The rows are walk(seed) against
# perturbed(walk(seed), seed), and the annotations of OpenCV's clip of pedestrians, without those of confidence 0,
# against perturbed(annotations, seed).
# (rows, seed): HOTA, DetA, AssA, LocA; HOTA at thresholds 0.05, 0.5, 0.95; MOTA, MOTP, IDF1
TRACKEVAL = {
    ("walk", 0): (
        0.466220241,
        0.522494844,
        0.416387054,
        0.75717187,
        0.699164452,
        0.616555722,
        0.0,
        0.6434783,
        0.7088453,
        0.636159,
    ),
    ("walk", 1): (
        0.45309376,
        0.530984676,
        0.387470319,
        0.758656269,
        0.681924942,
        0.588248848,
        0.003348873,
        0.6252073,
        0.7139267,
        0.6279461,
    ),
    ("walk", 2): (
        0.446139513,
        0.519044005,
        0.383861696,
        0.747194464,
        0.690493279,
        0.610330854,
        0.0,
        0.6555024,
        0.6900133,
        0.6202429,
    ),
    ("pedestrians", 0): (
        0.518233906,
        0.527085239,
        0.509915143,
        0.757322019,
        0.793506087,
        0.669023818,
        0.001975634,
        0.6304736,
        0.7126256,
        0.7409173,
    ),
    ("pedestrians", 1): (
        0.499195469,
        0.521530119,
        0.478279165,
        0.756715342,
        0.765018183,
        0.645302753,
        0.002214192,
        0.6233244,
        0.7116557,
        0.7144324,
    ),
}
# (rows, seed): num_misses, num_false_positives, num_switches, num_fragmentations, mostly_tracked, mostly_lost, idtp;
# mota, motp, idf1
MOTMETRICS = {
    ("walk", 0): (143, 96, 7, 117, 6, 0, 424, 0.6434783, 0.2911547, 0.636159),
    ("walk", 1): (117, 99, 10, 90, 8, 0, 373, 0.6252073, 0.2860733, 0.6279461),
    ("walk", 2): (113, 94, 9, 84, 9, 0, 383, 0.6555024, 0.3099867, 0.6202429),
    ("pedestrians", 0): (894, 750, 10, 700, 11, 0, 3263, 0.6304736, 0.2873744, 0.7409173),
    ("pedestrians", 1): (930, 743, 11, 732, 9, 0, 3131, 0.6237712, 0.288188, 0.7144324),
}


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


def tracks_of(rows):
    return Tracks(torch.tensor(rows[:, 0]).long(), torch.tensor(rows[:, 1]).long(), torch.tensor(rows[:, 2:]))


def annotations(folder):
    """True rows of the clip of pedestrians, read without this project's reader; counted from 0."""
    rows = np.loadtxt(folder / "video" / "vtest-truth.txt", delimiter=",")
    rows = rows[rows[:, 6] != 0][:, :6]
    return in_order(rows - (1, 0, 1, 1, 0, 0))
