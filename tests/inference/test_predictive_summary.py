"""Predictive scores of trained runs: what `kinema evaluate --predictive` prints and stores, and what it refuses."""

from dataclasses import replace

import pytest
import torch

from inference import Budget
from inference.cli import main
from inference.experiments.evaluate import evaluate
from inference.experiments.evaluation import read_evaluation
from inference.experiments.predictive_summary import last_frames, predict_run, summarize_predictive
from inference.experiments.runs import load_run
from inference.runs.folder import RunFolder

TINY = "--network mlp --num-train 8 --num-validation 2 --num-test 4 --batch-size 8 --epochs 2 --frozen-epochs 1"
POINTS = "--channels 2 --num-train 8 --num-validation 2 --num-test 2 --batch-size 4 --epochs 2 --pretraining-epochs 1"
CHEAP = ["--num-masks", "1", "--num-particles", "8", "--evidence-particles", "32"]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A Kalman VAE of binary frames after two steps."""
    path = tmp_path_factory.mktemp("runs") / "tiny"
    assert main(["train", "kvae-demo", "--run", str(path), *TINY.split(), "--quiet"]) == 0
    return path


@pytest.fixture(scope="module")
def points(tmp_path_factory):
    """A run whose guide draws point masses."""
    path = tmp_path_factory.mktemp("runs") / "points"
    assert main(["train", "ae-rnn-box", "--run", str(path), *POINTS.split(), "--quiet"]) == 0
    return path


def test_scores_are_printed_stored_and_read(run, capsys):
    assert main(["evaluate", str(run), "--predictive", "3", *CHEAP]) == 0
    printed = capsys.readouterr().out
    found = read_evaluation(RunFolder.open(run))
    scores = found.scores["predictive"]
    assert str(scores) in printed
    assert (scores.reference, scores.dimensions, scores.num_sequences) == ("probability", 1024, 3)
    assert scores.frames_held_out == 5  # a quarter of twenty
    assert [(one.frames, one.score) for one in scores.scores] == [
        ("one step ahead", "log score, nats"),
        ("held out", "log score, nats"),
        ("held out", "Brier score"),
    ]
    assert scores.total == pytest.approx(20 * scores.scores[0].mean, rel=1e-6)
    assert f"log evidence of the same 3 videos ({found.bounds.verdict}): {scores.log_evidence:.2f}" in printed
    assert scores.log_evidence == pytest.approx(scores.total, rel=0.1)
    assert "the last 5 frames of each video of 20 are held out: a forecast" in printed
    assert "probabilities of binary pixels" in printed


@pytest.mark.slow
@pytest.mark.ci
def test_without_the_option_nothing_is_predicted(run):
    assert main(["evaluate", str(run), *CHEAP]) == 0
    assert "predictive" not in read_evaluation(RunFolder.open(run)).scores


@pytest.mark.slow
@pytest.mark.ci
def test_evidence_of_fewer_videos_is_not_put_beside(run):
    loaded = load_run(run)
    few = {"num_particles": 4, "num_masks": 1, "budget": Budget(particles=32)}
    found = evaluate(loaded, num_evidence_sequences=2, num_predictive_sequences=3, **few).scores["predictive"]
    assert found.log_evidence is None
    assert "log evidence of the same" not in str(found)


def test_a_single_frame_has_no_forecast(run):
    loaded = load_run(run)
    videos = loaded.test.select(slice(0, 2))
    first = replace(videos, observed=torch.arange(videos.num_frames).expand(2, -1) == 0)
    found = summarize_predictive(loaded.model, loaded.guide, first, num_particles=4)
    assert found.frames_held_out == 0
    assert {one.frames for one in found.scores} == {"one step ahead"}
    assert "no forecast: each video has a single observed frame" in str(found)


def test_the_last_quarter_of_the_seen_frames_is_held_out():
    seen = torch.tensor([[1, 1, 1, 1, 1, 1, 1, 1], [1, 0, 0, 1, 0, 1, 0, 0], [0, 0, 1, 0, 0, 0, 0, 0]]).bool()
    wanted = torch.tensor([[0, 0, 0, 0, 0, 0, 1, 1], [0, 0, 0, 0, 0, 1, 0, 0], [0, 0, 0, 0, 0, 0, 0, 0]]).bool()
    assert torch.equal(last_frames(seen), wanted)


def test_what_cannot_be_predicted_is_refused_by_name(run, points, capsys):
    assert main(["evaluate", str(run), "--predictive", "1", *CHEAP]) == 2
    assert "(--predictive): expected at least 2 test videos" in capsys.readouterr().err
    assert main(["evaluate", str(points), "--predictive", "2", *CHEAP]) == 2
    assert "expected a guide with densities" in capsys.readouterr().err
    assert main(["evaluate", str(run), "--predictive", "some"]) == 2
    assert "Error parsing --predictive" in capsys.readouterr().err
    assert predict_run(load_run(points), 0, 4) is None
