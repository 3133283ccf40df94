"""Runs that are abandoned: what is kept, what is restarted, and that the check in between changes nothing."""

from dataclasses import replace

import pytest

from inference.cli import main
from inference.experiments.restarts import train_with_restarts
from inference.experiments.runs import train_recipe
from inference.recipes import RECIPES, Recipe
from inference.runs.folder import RunFolder
from inference.scores.score import Evaluated
from inference.scores.tracking import Tracking

TINY = RECIPES["sqair-small"].with_options(
    frame_size=16,
    digit_scale=0.3,
    num_frames=3,
    units=8,
    what_dim=2,
    glimpse_size=4,
    num_particles=2,
    num_train=8,
    batch_size=4,
    num_validation=2,
    num_test=2,
    epochs=4,
    check_epochs=2,
)


@pytest.fixture
def complaints(monkeypatch):
    """Runs of seeds below 1000 are no good."""
    asked = []

    def complaint(self, model, guide, videos):
        asked.append((self.seed, videos.num_sequences))
        return "objects are lost" if self.seed < 1000 else None

    monkeypatch.setattr(Recipe, "complaint", complaint)
    return asked


@pytest.mark.slow
def test_a_run_is_given_up_and_another_seed_goes_on(tmp_path, complaints, capsys):
    path = tmp_path / "run"
    result = train_with_restarts(TINY, path, restarts=3, progress=False)
    assert result.steps == 8
    assert complaints == [(0, 2), (1000, 2)]
    assert f"step 4: objects are lost; run abandoned ({path}-abandoned-1)" in capsys.readouterr().out
    assert RunFolder.open(f"{path}-abandoned-1").config["fields"]["seed"] == 0
    assert RunFolder.open(path).config["fields"]["seed"] == 1000
    train_recipe(TINY.with_options(seed=1000), tmp_path / "whole", progress=False)
    for name, weights in RunFolder.open(path).last_checkpoint().weights.items():
        assert (weights == RunFolder.open(tmp_path / "whole").last_checkpoint().weights[name]).all()


def test_the_same_call_goes_on(tmp_path, complaints):
    path = tmp_path / "run"
    train_recipe(TINY, path, last_step=4, progress=False)  # as if interrupted before the look
    train_with_restarts(TINY, path, restarts=1, progress=False)
    assert complaints == [(0, 2), (1000, 2)]
    assert RunFolder.open(path).config["fields"]["seed"] == 1000
    train_with_restarts(TINY, path, restarts=1, progress=False)
    assert len(complaints) == 2


def test_a_wrong_turn_is_named_where_nothing_is_restarted(tmp_path, complaints, capsys):
    result = train_with_restarts(TINY, tmp_path / "run", progress=False)
    assert result.steps == 8
    said = "step 4: objects are lost; training goes on; with --restarts 3 it would start again from another seed\n"
    assert said in capsys.readouterr().out
    train_recipe(TINY, tmp_path / "whole", progress=False)
    for name, weights in RunFolder.open(tmp_path / "run").last_checkpoint().weights.items():
        assert (weights == RunFolder.open(tmp_path / "whole").last_checkpoint().weights[name]).all()


def test_a_wrong_turn_is_named_when_restarts_are_used_up(tmp_path, complaints, monkeypatch, capsys):
    monkeypatch.setattr("inference.experiments.restarts.SEED_STRIDE", 1)  # the second run is no good either
    train_with_restarts(TINY, tmp_path / "run", restarts=1, progress=False)
    said = capsys.readouterr().out
    assert f"step 4: objects are lost; run abandoned ({tmp_path / 'run'}-abandoned-1)" in said
    assert "step 4: objects are lost; training goes on, as 1 restart is used up" in said


def test_a_training_that_ends_before_the_check_is_not_checked(tmp_path, complaints):
    train_with_restarts(TINY.with_options(epochs=2), tmp_path / "run", progress=False)
    assert complaints == []


def test_what_cannot_be_restarted(tmp_path, capsys):
    words = ["train", "kvae-demo", "--restarts", "1", "--run", str(tmp_path / "run"), "--num-train", "32"]
    assert main([*words, "--quiet"]) == 2
    assert "--restarts: expected 0, since kvae-demo defines no health check, got 1" in capsys.readouterr().err
    assert main([*words[:3], "-1", *words[4:], "--quiet"]) == 2
    assert "--restarts: expected at least 0, got -1" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("idf1", "late", "said"),
    [
        (0.9, 0.1, None),
        (0.05, 0.0, "objects are not found (identity F1 0.05)"),
        (0.5, 1.25, "objects are not tracked (1.2 late discoveries per video)"),
    ],
)
def test_wrong_turns(monkeypatch, idf1, late, said):
    model, guide = TINY.build()
    videos = TINY.splits().validation
    scores = replace(Tracking().compute(Evaluated(model, guide, videos)), idf1=idf1, late_discoveries=late)
    monkeypatch.setattr(Tracking, "compute", lambda *args: scores)
    assert TINY.complaint(model, guide, videos) == said
