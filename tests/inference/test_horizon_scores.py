"""Errors of tracked and predicted positions: for scenes that are told, whose errors are known."""

from dataclasses import asdict
from math import nan

import pytest
import torch
from torch import nn

from inference.gallery.horizons import HorizonPictures
from inference.metrics.motion_baselines import constant_velocity
from inference.queries.imputation import Imputation
from inference.scores.horizons import Horizons
from inference.scores.score import Evaluated
from pyro_models.components.scene import Scene
from videos import VideoBatch

SIZE, TIME, PREFIX = 40, 8, 3


class Telling(nn.Module):
    """A model that tells where the objects of the last query's videos are, to within one pixel in x."""

    def __init__(self, truth):
        super().__init__()
        self.truth = {videos.num_sequences: videos for videos in truth}

    def scene(self, latents):
        videos = self.truth[latents["observed"].shape[0]]
        places = videos.positions + torch.tensor([1.0, 0.0])
        if not latents["observed"].all():
            places = constant_velocity(places, PREFIX)
        return Scene(videos.presence.float(), places)


@pytest.fixture
def told(monkeypatch):
    """Queries answer with their masks."""

    def answer(model, guide, frames, observed=None, controls=None, **options):
        observed = torch.ones(frames.shape[:2], dtype=torch.bool) if observed is None else observed
        return Imputation(frames, observed, {"observed": observed})

    monkeypatch.setattr("inference.scores.score.reconstruct", answer)
    monkeypatch.setattr("inference.scores.horizons.impute", answer)


def moving(num_sequences, num_frames, turn):
    """One or two objects that move a pixel a frame along x, and turn back after frame `turn`."""
    time = torch.arange(num_frames)
    x = torch.where(time < turn, time, 2 * (turn - 1) - time).float()
    places = torch.stack([torch.stack([x + 10, x * 0 + 5], -1), torch.stack([x + 10, x * 0 + 30], -1)], 1)
    presence = torch.ones(num_sequences, num_frames, 2, dtype=torch.bool)
    presence[::2, :, 1] = False
    frames = torch.zeros(num_sequences, num_frames, 1, SIZE, SIZE)
    places = places.expand(num_sequences, -1, -1, -1)
    return VideoBatch(frames, presence=presence, positions=places, box_sizes=torch.full_like(places, 9.0))


class Long:
    def __init__(self, videos):
        self.videos = videos

    def simulate(self, num_sequences, generator, device="cpu"):
        assert num_sequences == self.videos.num_sequences
        return self.videos


def test_errors_are_those_of_the_told_scenes(told, tmp_path):
    test, long = moving(6, TIME, turn=100), moving(4, 2 * TIME, turn=TIME)
    model = Telling([test, long])
    score = Horizons(prefix=PREFIX, long_videos=Long(long), num_long=4)
    evaluated = Evaluated(model, model, test)
    found = score.compute(evaluated)
    assert (found.prefix, found.frame_width, found.num_frames, found.counting) == (PREFIX, SIZE, TIME, 1.0)
    assert found.inference.mean == found.inference_right.mean == pytest.approx(1.0)
    assert found.prediction.mean == found.prediction_right.mean == pytest.approx(1.0)  # constant velocity is exact here
    assert found.inference.num_objects == 9
    assert found.held.mean == pytest.approx((TIME - PREFIX + 1) / 2)
    assert found.straight.mean == pytest.approx(0.0, abs=1e-5)
    assert found.straight_curve.means[:TIME] == pytest.approx([0.0] * TIME, abs=1e-5)
    assert found.straight_curve.means[TIME] == pytest.approx(2.0)
    assert found.tracked_curve.means == pytest.approx([1.0] * 2 * TIME)
    assert found.predicted_curve.means[:TIME] == pytest.approx([1.0] * TIME)
    assert found.predicted_curve.means[TIME:] == pytest.approx([2 * step + 1 for step in range(1, TIME + 1)])
    assert found.held_curve.means[:PREFIX] == (0.0,) * PREFIX
    assert "inference error               1.000 +- 0.000 pixels, 2.50% of the width" in score.table(found)
    assert "predicted, pixels        5.00 in frames 10" in score.table(found)
    assert score.read(asdict(found)) == found
    pictures = HorizonPictures(label="telling", training_length=TIME)
    assert pictures.draw(evaluated, tmp_path) == []
    evaluated = Evaluated(model, model, test, found={"horizons": found})
    (path,) = pictures.draw(evaluated, tmp_path)
    assert path.read_bytes().startswith(b"\x89PNG")


def test_a_wrong_count_is_reported_beside_the_errors_of_the_others(told):
    test = moving(4, TIME, turn=100)
    model = Telling([test])
    model.truth[4] = VideoBatch(test.frames, presence=torch.ones_like(test.presence), positions=test.positions)
    test = VideoBatch(test.frames, presence=test.presence, positions=test.positions)
    found = Horizons(prefix=PREFIX).compute(Evaluated(model, model, test))
    assert found.counting == 0.5
    assert found.inference_right.num_objects == 4
    assert found.predicted_curve is None
    assert found.straight is None
    assert Horizons().read(asdict(found)) == found
    nobody = VideoBatch(test.frames, presence=torch.zeros_like(test.presence), positions=test.positions)
    none = Horizons(prefix=PREFIX).compute(Evaluated(model, model, nobody))
    assert none.inference.mean == pytest.approx(nan, nan_ok=True)


def test_without_frames_to_predict_or_truth_there_is_no_score(told):
    test = moving(4, TIME, turn=100)
    model = Telling([test])
    with pytest.raises(ValueError, match=f"prefix: expected 1 to {TIME - 1}, .*got {TIME}; choose how many frames"):
        Horizons(prefix=TIME).compute(Evaluated(model, model, test))
    assert Horizons(prefix=PREFIX).compute(Evaluated(model, model, VideoBatch(test.frames))) is None
    assert Horizons(prefix=PREFIX).compute(Evaluated(nn.Module(), model, test)) is None


def test_numbers_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match="prefix: expected at least 1 observed frame, got 0"):
        Horizons(prefix=0)
    with pytest.raises(ValueError, match="num_long: expected at least 0 long videos, got -1"):
        Horizons(num_long=-1)
