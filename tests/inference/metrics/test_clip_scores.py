"""One long clip is scored as by other libraries, and as the same clip in slots; wrong pairs of files are refused."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from inference.metrics import score_clip, score_tracks
from pyro_models.components.scene import Scene
from tests.oracles.clip_tracks import MOTMETRICS, TRACKEVAL, annotations, perturbed, tracks_of, walk
from tests.oracles.tracks import COUNTS

NAMES = (
    *("misses", "false_positives", "switches", "fragmentations", "mostly_tracked", "mostly_lost"),
    "identity_matches",
)


def check_same_as_peers(truth, seed, key):
    scores = score_clip(tracks_of(perturbed(truth, seed)), tracks_of(truth))
    *counts, mota, motp, idf1 = MOTMETRICS[key]
    assert [int(getattr(scores, name)) for name in NAMES] == counts
    assert (scores.mota, 1 - scores.motp, scores.idf1) == pytest.approx((mota, motp, idf1), abs=1e-6)
    # TrackEval lets an object keep its track from the previous frame alone, and asks for more than 80 %.
    mota, motp, idf1 = TRACKEVAL[key][7:]
    assert (scores.mota, scores.motp) == pytest.approx((mota, motp), abs=1e-3)
    assert scores.idf1 == pytest.approx(idf1, abs=1e-6)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_scores_are_those_of_motmetrics_and_trackeval(seed):
    check_same_as_peers(walk(seed), seed, ("walk", seed))


@pytest.mark.parametrize("seed", [0, 1])
def test_scores_of_the_pedestrians_are_those_of_motmetrics_and_trackeval(seed, data_folder):
    check_same_as_peers(annotations(data_folder), seed, ("pedestrians", seed))


def in_slots(rows, names):
    """One sequence with a slot for each name."""
    frames = int(rows[:, 0].max()) + 1
    presence, boxes = torch.zeros(1, frames, len(names)), torch.ones(1, frames, len(names), 4).double()
    for frame, name, *box in rows.tolist():
        presence[0, int(frame), names.index(name)] = 1.0
        boxes[0, int(frame), names.index(name)] = torch.tensor(box)
    identities = torch.arange(len(names)).expand(presence.shape)
    return Scene(presence, boxes[..., :2] + boxes[..., 2:] / 2, boxes[..., 2:], identities=identities)


def test_a_clip_is_scored_as_a_sequence_in_slots():
    truth = walk(3, num_frames=60, people=6)
    truth[:, 0] -= truth[0, 0]  # in a clip the first frame is the first with a box
    found = perturbed(truth, 3)
    scenes = [in_slots(rows, sorted(set(rows[:, 1].tolist()))) for rows in (found, truth)]
    clip, scene = score_clip(tracks_of(found), tracks_of(truth)), score_tracks(*scenes)
    for name in (*COUNTS, "mostly_tracked", "mostly_lost", "closeness", "distance"):
        torch.testing.assert_close(getattr(clip, name), getattr(scene, name), msg=name)
    assert clip.switches > 0


def test_true_boxes_of_confidence_zero_are_left_out():
    rows = walk(0)
    found = tracks_of(perturbed(rows, 0))
    truth = tracks_of(rows)
    flags = torch.ones(len(rows)).double()
    flags[truth.identities == 4] = 0.0
    flagged, without = replace(truth, confidences=flags), truth.select(truth.identities != 4)
    ours, expected = score_clip(found, flagged), score_clip(found, without)
    assert (ours.mota, ours.idf1, int(ours.objects)) == (expected.mota, expected.idf1, len(without))
    assert int(score_clip(found, truth).objects) > len(without)
    with pytest.raises(ValueError, match="truth: expected at least one box to be found, got none with a confidence"):
        score_clip(found, replace(truth, confidences=torch.zeros(len(rows)).double()))


def test_files_of_different_clips_are_refused():
    rows = walk(0)
    later = rows + np.array([1000, 0, 0, 0, 0, 0])
    with pytest.raises(
        ValueError, match=r"predicted: expected tracks of the clip of truth, which is in frames \d+ to 1"
    ):
        score_clip(tracks_of(later), tracks_of(rows))
    with pytest.raises(ValueError, match=r"min_overlap: expected a share in \(0, 1\], got 1.5"):
        score_clip(tracks_of(rows), tracks_of(rows), min_overlap=1.5)


def test_a_tracker_that_finds_nothing_misses_everything():
    truth = tracks_of(walk(0))
    scores = score_clip(truth.select(torch.zeros(len(truth), dtype=torch.bool)), truth)
    assert (scores.mota, scores.idf1) == (0.0, 0.0)
    assert (int(scores.misses), int(scores.mostly_lost)) == (len(truth), truth.num_identities)


def test_numbers_of_frames_cost_nothing():
    """Frames far apart, as in a clip of months: only rows take memory."""
    rows = walk(0) * np.array([10**9, 1, 1, 1, 1, 1])
    assert score_clip(tracks_of(rows), tracks_of(rows)).mota == 1.0
