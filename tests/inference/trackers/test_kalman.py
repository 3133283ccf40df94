"""A Kalman tracker follows people who hide or touch, by the textbook's filter, and discards what flickers."""

import numpy as np
import pytest
import torch
from scipy.stats import chi2

from inference.trackers import KalmanTracker, OverlapTracker
from tests.oracles.textbook_kalman import textbook_kalman

NOTHING = torch.zeros(0, 4).double()
TALL, WIDE = 80.0, 30.0


def walker(start, speed, num_frames, top=100.0, jitter=0.0, seed=0):
    """Boxes (time, 4) of one walker."""
    boxes = torch.tensor([[start + speed * time, top, WIDE, TALL] for time in range(num_frames)]).double()
    return boxes + jitter * torch.tensor(np.random.RandomState(seed).randn(num_frames, 4))


def rows_of(tracks, identity):
    mine = tracks.identities == identity
    return tracks.frames[mine], tracks.boxes[mine]


def state_space():
    """Transition, its noise, emission, its noise, of the default settings in units of `TALL`."""
    noise, size_noise, push, size_push = (TALL * value for value in (0.05, 0.1, 0.01, 0.001))
    transition, emission = np.eye(8), np.eye(8)[:4]
    transition[:4, 4:] = np.eye(4)
    kick = np.concatenate([0.5 * np.eye(4), np.eye(4)])
    pushes = np.diag([push, push, size_push, size_push]) ** 2
    readings = np.diag([noise, noise, size_noise, size_noise]) ** 2
    spread = np.diag([8.0, 8.0, 0.8, 0.8]) ** 2
    start = np.block([[readings, np.zeros((4, 4))], [np.zeros((4, 4)), spread]])
    return [torch.tensor(value) for value in (transition, kick @ pushes @ kick.T, emission, readings, start)]


@pytest.mark.parametrize("smoothed", [False, True])
def test_boxes_are_those_of_the_textbooks(smoothed):
    boxes = walker(50.0, 4.0, 30, jitter=2.0)
    boxes[:, 3] = TALL  # the unit
    seen = torch.ones(30, dtype=torch.bool)
    seen[[7, 8, 9, 10, 20]] = False
    tracks = KalmanTracker(smoothed=smoothed).follow(
        [boxes[t : t + 1] if visible else NOTHING for t, visible in enumerate(seen)]
    )
    assert tracks.identities.tolist() == [1] * 30
    transition, pushes, emission, readings, start = state_space()
    values = torch.cat([boxes[:, :2] + boxes[:, 2:] / 2, boxes[:, 2:]], -1)
    first = torch.cat([values[0], torch.zeros(4).double()])
    _, filtered, _, smooth, _ = textbook_kalman(
        first,
        start,
        transition.expand(29, 8, 8),
        pushes.expand(29, 8, 8),
        emission.expand(30, 4, 8),
        readings.expand(30, 4, 4),
        values,
        seen & (torch.arange(30) > 0),  # the first reading is in the start
    )
    states = torch.stack(list(smooth if smoothed else filtered))
    expected = torch.cat([states[:, :2] - states[:, 2:4] / 2, states[:, 2:4]], -1)
    torch.testing.assert_close(tracks.boxes, expected)


@pytest.mark.parametrize(("share", "identities"), [(0.98, [1]), (1.02, [1, 2])])
def test_the_gate_is_a_quantile_of_the_mahalanobis_distance(share, identities):
    """Four exact readings, then one that is off along x by a share of the gate."""
    transition, pushes, emission, readings, covariance = state_space()
    for step in range(4):
        if step:
            spread = emission @ covariance @ emission.T + readings
            gain = covariance @ emission.T @ torch.linalg.inv(spread)
            covariance = covariance - gain @ spread @ gain.T
        covariance = transition @ covariance @ transition.T + pushes
    off = share * (chi2.ppf(0.99, 4) * (covariance[0, 0] + readings[0, 0])).sqrt()
    boxes = walker(100.0, 0.0, 6)
    boxes[4:, 0] += off
    one, *rest = KalmanTracker(max_cover=0.999, min_hits=1).follow(list(boxes[:, None])).identities.unique().tolist()
    assert [one, *rest] == identities


def test_people_who_pass_each_other_keep_their_names():
    """Two walk towards each other; where their boxes overlap, one box around both is found."""
    right, left = walker(50.0, 5.0, 41, jitter=1.0), walker(250.0, -5.0, 41, jitter=1.0, seed=1)
    found = []
    for one, other in zip(right, left, strict=True):
        low, high = torch.minimum(one[:2], other[:2]), torch.maximum(one[:2] + one[2:], other[:2] + other[2:])
        touch = abs(one[0] - other[0]) < WIDE
        found.append(torch.cat([low, high - low])[None] if touch else torch.stack([one, other]))
    assert 5 <= sum(len(boxes) == 1 for boxes in found) <= 12
    for tracker in (KalmanTracker(), KalmanTracker(smoothed=False)):
        tracks = tracker.follow(found)
        assert tracks.num_identities == 2
        for identity, path in ((1, right), (2, left)):
            frames, boxes = rows_of(tracks, identity)
            assert frames.tolist() == list(range(41))
            assert (boxes - path)[:, 0].abs().max() < (8 if tracker.smoothed else 16)
    assert OverlapTracker().follow(found).num_identities > 2


def test_tracks_last_as_long_as_misses_are_allowed():
    boxes = walker(20.0, 4.0, 40)
    found = [NOTHING if 15 <= t < 23 else boxes[t : t + 1] for t in range(40)]  # hidden for eight frames
    followed = KalmanTracker(max_misses=8).follow(found)
    assert followed.num_identities == 1
    assert len(followed) == 40
    assert (followed.boxes - boxes).abs().max() < 0.5
    parted = KalmanTracker(max_misses=7).follow(found)
    assert parted.num_identities == 2
    assert rows_of(parted, 1)[0].tolist() == list(range(15))  # not a frame beyond its last box
    assert rows_of(parted, 2)[0].tolist() == list(range(23, 40))


def test_what_flickers_is_discarded():
    boxes = walker(20.0, 4.0, 12)
    found = [torch.cat([box[None], box[None] + 300.0]) if t in (4, 5) else box[None] for t, box in enumerate(boxes)]
    assert KalmanTracker().follow(found).num_identities == 1
    assert KalmanTracker(min_hits=2).follow(found).num_identities == 2
    now_and_then = [torch.cat([box[None], box[None] + 300.0]) if t % 2 else box[None] for t, box in enumerate(boxes)]
    assert KalmanTracker(min_hits=2).follow(now_and_then).num_identities == 1


def test_pieces_of_a_followed_person_start_no_track():
    """Behind a pole a person is two boxes, and with a neighbour one large box."""
    boxes = walker(100.0, 0.0, 20)
    halves = torch.tensor([[100.0, 98.0, WIDE, 32.0], [100.0, 145.0, WIDE, 37.0]]).double()
    large = torch.tensor([[80.0, 90.0, 90.0, 95.0]]).double()
    assert KalmanTracker().follow([halves] * 20).num_identities == 2
    for piece in (halves, large):
        found = [piece if 5 <= t < 12 else box[None] for t, box in enumerate(boxes)]
        assert KalmanTracker().follow(found).num_identities == 1


def test_nothing_is_found_where_nothing_is():
    assert len(KalmanTracker().follow([NOTHING] * 3)) == 0
    assert len(KalmanTracker().follow([])) == 0
    assert len(KalmanTracker().follow([walker(0.0, 0.0, 1)])) == 0  # one box is no track


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("gate", 1.0, r"gate: expected a share in \(0, 1\), got 1.0"),
        ("max_cover", 0.0, r"max_cover: expected a share in \(0, 1\), got 0.0"),
        ("min_hits", 0, "min_hits: expected at least 1 box, got 0"),
        ("max_misses", -1, "max_misses: expected at least 0 frames, got -1"),
        ("speed", 0.0, "speed: expected a positive number of box heights, got 0.0"),
        ("size_noise", -1.0, "size_noise: expected a positive number of box heights, got -1.0"),
        ("acceleration", float("nan"), "acceleration: expected a positive number"),
    ],
)
def test_settings_out_of_range_are_named(name, value, message):
    with pytest.raises(ValueError, match=message):
        KalmanTracker(**{name: value})
