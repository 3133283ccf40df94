"""Objects without names are scored frame by frame, by hand."""

import pytest
import torch

from guides import GlimpseAttentionGuide
from inference.scores.detection import Detection, score_detection
from inference.scores.score import Evaluated
from pyro_models import AttendInferRepeat
from pyro_models.components.scene import Scene
from videos import VideoBatch


def scene(rows, identities=None):
    """One video: for each frame the middles of its objects, in boxes of 4 pixels; slots are filled in turn."""
    presence, positions = torch.zeros(1, len(rows), 2), torch.zeros(1, len(rows), 2, 2)
    for time, middles in enumerate(rows):
        for slot, middle in enumerate(middles):
            presence[0, time, slot] = 1
            positions[0, time, slot] = torch.tensor(middle)
    sizes = torch.full_like(positions, 4.0) * presence[..., None]
    names = None if identities is None else torch.tensor([identities])
    return Scene(presence, positions, sizes, identities=names)


def test_every_frame_counts_for_itself():
    # True objects change their slots; that is no switch. The second frame has one that is missed, the third one that is
    # not there, the fourth one that is a pixel off: near, and boxes overlap by 12 of 20 pixels.
    true = scene([[(5.0, 5.0), (15.0, 5.0)], [(15.0, 5.0), (5.0, 5.0)], [(5.0, 5.0)], [(5.0, 5.0)]])
    found = scene(
        [[(5.0, 5.0), (15.0, 5.0)], [(5.0, 5.0)], [(5.0, 5.0), (12.0, 5.0)], [(6.0, 5.0)]],
        [[0, 1], [0, -1], [0, 2], [0, -1]],
    )
    scores = score_detection(found, true)
    assert scores.accuracy == scores.box_accuracy == pytest.approx(1 - 2 / 6)
    assert scores.position_error == pytest.approx(1 / 5)
    assert scores.counted == (None, 0.5, 0.5)
    assert scores.guess == 0.5
    assert (scores.found, scores.true) == (1.5, 1.5)
    assert (scores.discovered, scores.propagated) == (0.75, 0.75)
    assert scores.late_discoveries == 1
    assert "counted right, of 0, 1, ... objects: none, 0.5000, 0.5000" in str(scores)


def test_there_is_nothing_to_score_without_truth_or_identities():
    frames = torch.rand(2, 1, 1, 16, 16)
    model = AttendInferRepeat((1, 16, 16), what_dim=3, glimpse_size=4, hidden=(5,))
    guide = GlimpseAttentionGuide(model, hidden_dim=5)
    assert Detection().compute(Evaluated(model, guide, VideoBatch(frames))) is None
    true = scene([[(5.0, 5.0)]])
    known = VideoBatch(frames[:1], presence=true.presence > 0, positions=true.positions, box_sizes=true.box_sizes)
    assert Detection().compute(Evaluated(model, guide, known)) is None
