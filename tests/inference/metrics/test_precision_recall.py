"""Precision and recall over confidence: by counting, as scikit-learn's average precision, and what is refused."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score, precision_recall_curve

from inference.metrics import score_confidences
from inference.pictures import draw_precision_recall
from tests.oracles.clip_tracks import perturbed, tracks_of, walk
from videos import Tracks


def row_of(frame, name, left, chance):
    return frame, name, (left, 0.0, 10.0, 10.0), chance


def tracks(*rows):
    frames, names, boxes, chances = zip(*rows, strict=True)
    confidences = torch.tensor(chances, dtype=torch.float64)
    return Tracks(torch.tensor(frames), torch.tensor(names), torch.tensor(boxes, dtype=torch.float64), confidences)


TRUTH = tracks(row_of(0, 1, 0.0, 1.0), row_of(0, 2, 50.0, 1.0), row_of(1, 1, 0.0, 1.0), row_of(1, 2, 90.0, 0.0))


def test_a_curve_counted_by_hand():
    """Frame 0: a hit at 0.9, a second box on the same person at 0.8, a hit at 0.6. Frame 1: nobody is hit, at 0.6."""
    found = tracks(row_of(0, 1, 1.0, 0.9), row_of(0, 2, 0.0, 0.8), row_of(0, 3, 49.0, 0.6), row_of(1, 1, 30.0, 0.6))
    curve = score_confidences(found, TRUTH)
    assert curve.thresholds.tolist() == [0.9, 0.8, 0.6]
    assert curve.precision.tolist() == [1.0, 1 / 2, 2 / 4]
    assert curve.recall.tolist() == pytest.approx([1 / 3, 1 / 3, 2 / 3])
    assert curve.average_precision == pytest.approx(1 / 3 * 1.0 + 1 / 3 * 1 / 2)


def test_the_surer_box_chooses_first():
    """It takes the person whom both overlap; the other box is left with the one who overlaps less."""
    found = tracks(row_of(0, 1, 2.0, 0.9), row_of(0, 2, 0.0, 0.8))
    near = tracks(row_of(0, 1, 1.0, 1.0), row_of(0, 2, -3.0, 1.0))
    assert score_confidences(found, near).recall.tolist() == [0.5, 1.0]
    assert score_confidences(found, near, min_overlap=0.6).recall.tolist() == [0.5, 0.5]


def greedy(found, truth, min_overlap=0.5):
    """Whether each row is a hit, by loops over boxes."""
    hits, taken = np.zeros(len(found), dtype=bool), set()
    for row in sorted(range(len(found)), key=lambda row: -float(found.confidences[row])):
        left, top, width, height = found.boxes[row].tolist()
        best, chosen = min_overlap, None
        for true in (truth.frames == found.frames[row]).nonzero()[:, 0].tolist():
            x, y, wide, tall = truth.boxes[true].tolist()
            across = max(0.0, min(left + width, x + wide) - max(left, x))
            both = across * max(0.0, min(top + height, y + tall) - max(top, y))
            overlap = both / (width * height + wide * tall - both)
            if true not in taken and overlap >= best:
                best, chosen = overlap, true
        if chosen is not None:
            taken.add(chosen)
            hits[row] = True
    return hits


@pytest.mark.parametrize("seed", [0, 1])
def test_average_precision_is_that_of_scikit_learn(seed):
    """Whose samples are boxes: its recall is scaled by the share of the true boxes that are found at all."""
    truth = tracks_of(walk(seed, num_frames=80))
    found = tracks_of(perturbed(walk(seed, num_frames=80), seed))
    chances = torch.rand(len(found), dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    found = replace(found, confidences=chances)
    hits = greedy(found, truth)
    assert 0.2 < hits.mean() < 0.98
    curve = score_confidences(found, truth)
    scale = hits.sum() / len(truth)
    assert curve.average_precision == pytest.approx(scale * average_precision_score(hits, chances.numpy()), rel=1e-12)
    precision, recall, thresholds = precision_recall_curve(hits, chances.numpy())
    np.testing.assert_allclose(curve.precision.flip(0).numpy(), precision[:-1])
    np.testing.assert_allclose(curve.recall.flip(0).numpy(), scale * recall[:-1])
    np.testing.assert_array_equal(curve.thresholds.flip(0).numpy(), thresholds)


def test_equal_confidences_are_one_point_whatever_their_order():
    truth, found = tracks_of(walk(0, num_frames=30)), tracks_of(perturbed(walk(0, num_frames=30), 0))
    found = replace(found, confidences=torch.full((len(found),), 0.7, dtype=torch.float64))
    curve = score_confidences(found, truth)
    assert len(curve.thresholds) == 1
    assert curve.average_precision == pytest.approx(float(curve.precision * curve.recall))


def test_mistakes_are_refused():
    found = tracks(row_of(0, 1, 1.0, 0.9))
    with pytest.raises(ValueError, match=r"predicted: expected boxes with confidences, got 1 without"):
        score_confidences(replace(found, confidences=None), TRUTH)
    with pytest.raises(ValueError, match=r"min_overlap: expected a share in \(0, 1\], got 50"):
        score_confidences(found, TRUTH, min_overlap=50.0)
    with pytest.raises(ValueError, match=r"predicted: expected tracks of the clip of truth, .* got frames 7 to 7"):
        score_confidences(replace(found, frames=torch.tensor([7])), TRUTH)
    with pytest.raises(ValueError, match="curves: expected at least one, got none"):
        draw_precision_recall({})


def test_the_picture_has_a_step_for_each_threshold():
    found = tracks(row_of(0, 1, 1.0, 0.9), row_of(0, 2, 49.0, 0.4), row_of(1, 1, 30.0, 0.2))
    curve = score_confidences(found, TRUTH)
    axes = draw_precision_recall({"people": curve}).axes[0]
    line, ring = (np.asarray(drawn.get_xydata()) for drawn in axes.lines)
    np.testing.assert_allclose(line, [(0.0, 1.0), (1 / 3, 1.0), (2 / 3, 1.0), (2 / 3, 2 / 3)])
    np.testing.assert_allclose(ring, [(1 / 3, 1.0)])
    assert axes.lines[0].get_label() == f"people: average precision {100 * 2 / 3:.1f} %"
