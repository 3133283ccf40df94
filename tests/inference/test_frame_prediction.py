"""Errors of predicted frames: by hand, from the frames that come before alone, and what is refused."""

import dataclasses
import json
import math

import pytest
import torch

from guides import GlimpseAttentionGuide, PosePredictionGuide
from inference import queries
from inference.scores.frame_prediction import FramePrediction, frame_errors
from inference.scores.score import Evaluated
from pyro_models import DDPAE, AttendInferRepeat
from videos import VideoBatch

INPUT, TIME, SEQUENCES, SIDE = 2, 5, 3, 8


def evaluated(frames):
    torch.manual_seed(0)
    model = DDPAE((1, SIDE, SIDE), num_input=INPUT, what_dim=3, channels=2)
    return Evaluated(model, PosePredictionGuide(model, units=5, image_dim=4), VideoBatch(frames))


def test_errors_by_hand():
    """Predictions above 1 and below 0 are clamped, and no probability is 0 or 1."""
    truth = torch.tensor([1.0, 0.0, 0.5, 0.0]).reshape(1, 1, 1, 2, 2).repeat(2, 3, 1, 1, 1)
    frames = torch.tensor([1.4, -0.3, 0.25, 1.0]).reshape(1, 1, 1, 2, 2).repeat(2, 3, 1, 1, 1)
    squares, entropies = frame_errors(frames.double(), truth.double())
    torch.testing.assert_close(squares, torch.full((2, 3), 0.25**2 + 1.0, dtype=torch.float64))
    by_pixel = (-math.log1p(-1e-4), -math.log1p(-1e-4), -0.5 * math.log(0.25) - 0.5 * math.log(0.75), -math.log(1e-4))
    torch.testing.assert_close(entropies, torch.full((2, 3), sum(by_pixel), dtype=torch.float64))
    with pytest.raises(ValueError, match="frames, truth: expected one shape .*got "):
        frame_errors(frames, truth[:, :2])


def test_scores_are_those_of_a_forecast():
    given = evaluated(torch.rand(SEQUENCES, TIME, 1, SIDE, SIDE))
    scores = FramePrediction(prefix=INPUT).compute(given)
    forecast = queries.forecast(given.model, given.guide, given.test.frames[:, :INPUT], num_frames=TIME - INPUT)
    squares, entropies = frame_errors(forecast.frames[:, INPUT:], given.test.frames[:, INPUT:])
    assert scores.squared_error == pytest.approx(squares.mean().item())
    assert scores.cross_entropy == pytest.approx(entropies.mean().item())
    assert scores.squared_errors == pytest.approx(squares.mean(0).tolist())
    assert scores.prefix == INPUT
    assert given.model.training
    read = FramePrediction().read(json.loads(json.dumps(dataclasses.asdict(scores))))
    assert read == scores
    assert "frames after the first 2" in str(read)


def test_frames_of_other_models_are_scored():
    model = AttendInferRepeat((1, SIDE, SIDE), what_dim=3, glimpse_size=4, hidden=(5,))
    given = Evaluated(model, GlimpseAttentionGuide(model, hidden_dim=5), VideoBatch(torch.rand(2, TIME, 1, SIDE, SIDE)))
    assert len(FramePrediction(prefix=3).compute(given).squared_errors) == TIME - 3


@pytest.mark.parametrize("prefix", [0, TIME])
def test_numbers_that_leave_nothing_to_predict(prefix):
    with pytest.raises(ValueError, match=f"prefix: expected 1 to {TIME - 1}, .*got {prefix}"):
        FramePrediction(prefix=prefix).compute(evaluated(torch.rand(SEQUENCES, TIME, 1, SIDE, SIDE)))
