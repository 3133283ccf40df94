"""HOTA by hand, by its definition on tiny clips, and by its authors' program."""

import numpy as np
import pytest
import torch

from inference.metrics import appearances, score_hota
from inference.metrics.hota import THRESHOLDS
from tests.oracles.clip_tracks import TRACKEVAL, annotations, perturbed, tracks_of, walk
from tests.oracles.hota_by_definition import hota_by_definition


def check_same_as_trackeval(truth, seed, key):
    hota, deta, assa, loca, *some = TRACKEVAL[key][:7]
    scores = score_hota(tracks_of(perturbed(truth, seed)), tracks_of(truth))
    assert (scores.hota, scores.deta, scores.assa) == pytest.approx((hota, deta, assa), abs=1e-8)
    assert scores.accuracies[[0, 9, 18]].tolist() == pytest.approx(some, abs=1e-8)
    found = scores.accuracies > 0  # without a match TrackEval has 1, this project 0
    assert float(scores.localisations[found].sum() + (~found).sum()) / len(THRESHOLDS) == pytest.approx(loca, abs=1e-8)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_scores_are_those_of_trackeval(seed):
    check_same_as_trackeval(walk(seed), seed, ("walk", seed))


@pytest.mark.parametrize("seed", [0, 1])
def test_scores_of_the_pedestrians_are_those_of_trackeval(seed, data_folder):
    check_same_as_trackeval(annotations(data_folder), seed, ("pedestrians", seed))


def by_frame(rows):
    return {frame: {i: tuple(box) for f, i, *box in rows.tolist() if f == frame} for frame in rows[:, 0].tolist()}


def test_scores_are_those_of_the_definition():
    """Twenty tiny clips of crowded boxes."""
    switched = 0
    for seed in range(20):
        draws = np.random.RandomState(seed)
        truth = np.array([(frame, name, *(10 * draws.rand(2)), 9, 9) for frame in range(4) for name in range(3)])
        found = truth[draws.rand(len(truth)) < 0.9].copy()
        found[:, 2:] += draws.randn(len(found), 4)
        later = found[:, 0] > draws.randint(3)
        found[later, 1] = (found[later, 1] + 1) % 3
        found[:, 1] += 5
        expected = hota_by_definition(by_frame(truth), by_frame(found), THRESHOLDS)
        scores = score_hota(tracks_of(found), tracks_of(truth))
        ours = torch.stack([scores.accuracies, scores.detections, scores.associations], -1)
        torch.testing.assert_close(ours, torch.tensor(expected).double())
        switched += bool((scores.associations < 0.6).any())
    assert switched > 10  # there is something to get wrong


def test_by_hand():
    """An object of four frames is followed under one name in three of them, and found exactly; another is invented."""
    box = (10.0, 10.0, 4.0, 4.0)
    truth = np.array([(frame, 1, *box) for frame in range(4)])
    found = np.array([(0, 7, *box), (1, 7, *box), (2, 7, *box), (3, 8, *box), (3, 9, 50, 50, 4, 4)])
    scores = score_hota(tracks_of(found), tracks_of(truth))
    assert scores.deta == pytest.approx(4 / 5)
    assert scores.assa == pytest.approx((3 * 3 / 4 + 1 * 1 / 4) / 4)
    assert scores.hota == pytest.approx((scores.deta * scores.assa) ** 0.5)
    assert scores.localisations.tolist() == [1.0] * len(THRESHOLDS)


def test_perfect_tracks_under_other_names_and_no_tracks():
    truth = walk(0)
    renamed = truth.copy()
    renamed[:, 1] = 1000 - renamed[:, 1]
    assert score_hota(tracks_of(renamed), tracks_of(truth)).accuracies.tolist() == pytest.approx([1.0] * 19)
    nothing = score_hota(tracks_of(truth).select(torch.zeros(len(truth), dtype=torch.bool)), tracks_of(truth))
    assert (nothing.hota, nothing.deta, nothing.assa) == (0.0, 0.0, 0.0)
    elsewhere = truth + np.array([0, 0, 5000, 0, 0, 0])
    assert score_hota(tracks_of(elsewhere), tracks_of(truth)).hota == 0.0


def test_frames_are_read_a_few_at_a_time(monkeypatch):
    truth = walk(1)
    whole = score_hota(tracks_of(perturbed(truth, 1)), tracks_of(truth))
    monkeypatch.setattr(appearances, "_PAIRS_AT_ONCE", 7)
    parts = score_hota(tracks_of(perturbed(truth, 1)), tracks_of(truth))
    assert torch.equal(whole.accuracies, parts.accuracies)
