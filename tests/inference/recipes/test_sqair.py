"""SQAIR from its recipe: options that are refused, videos that grow, and a run from training to pictures."""

import math
from dataclasses import replace

import pytest
import torch

from guides import GlimpseAttentionGuide
from inference.cli import main
from inference.experiments.evaluation import read_evaluation
from inference.experiments.render import render
from inference.experiments.runs import load_run
from inference.gallery import objects
from inference.pictures import draw_tracks
from inference.recipes import RECIPES, OptionError
from inference.recipes.sqair_parts import LOSSES
from inference.runs.folder import RunFolder
from inference.scores.score import Evaluated
from inference.scores.tracking import Tracking, score_middles
from inference.svi.schedules import value_at
from inference.training.rmsprop import TensorFlowRMSprop
from pyro_models import AttendInferRepeat
from videos import MovingDigits

SMALL = RECIPES["sqair-small"]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"estimator": "renyi"}, "--estimator: expected one of vimco, "),
        ({"network": "cnn"}, "--network: expected one of mlp, conv, got 'cnn'"),
        ({"order": "middle"}, "--order: expected one of first, last"),
        ({"decay": "linear"}, "--decay: expected one of paper, cosine, constant"),
        ({"optimization": "sgd"}, "--optimization: expected one of rmsprop, adam"),
        ({"first_frames": 0}, "--first-frames, --growth-epochs: expected positive numbers, got 0 and"),
    ],
)
def test_options_that_cannot_be(fields, message):
    with pytest.raises(OptionError, match=message):
        SMALL.with_options(**fields).build()


def test_other_worlds_and_missing_frames_are_refused():
    with pytest.raises(OptionError, match="--world: expected moving-mnist, got 'box'"):
        SMALL.with_options(world="box").splits()
    with pytest.raises(OptionError, match="--missing: expected 0, got 0.5"):
        SMALL.with_options(missing=0.5).splits()


def test_videos_grow_and_rates_fall_as_in_the_paper():
    """A frame more every 100,000 steps; a third of the rate after 400,000, a ninth (1e-6 in print) after 1,000,000."""
    recipe = RECIPES["sqair-mlp"]
    assert recipe.num_steps == 2_000_000
    recipe = recipe.with_options(batch_size=2, num_train=2 * recipe.steps_per_epoch)
    source = recipe.training_source(recipe.videos.simulator("train").simulate(2, torch.Generator().manual_seed(0)))
    lengths = {step: source.batch(step).num_frames for step in (0, 99_999, 100_000, 700_000, 1_999_999)}
    assert lengths == {0: 3, 99_999: 3, 100_000: 4, 700_000: 10, 1_999_999: 10}
    rates = [value_at(recipe.schedule(), step) for step in (399_999, 400_001, 1_000_001)]
    assert rates == pytest.approx([1e-5, 3.33e-6, 1.11e-6], rel=0.01)
    assert recipe.optimizer() is TensorFlowRMSprop
    assert RECIPES["sqair-small"].optimizer() is not TensorFlowRMSprop
    assert [type(SMALL.with_options(estimator=name).loss()).__name__ for name in LOSSES] == [
        "VIMCO",
        "VIMCO",
        "OwnWeightVIMCO",
        "WakeSleep",
        "FIVO",
    ]


def trained(tmp_path):
    run = str(tmp_path / "run")
    words = (
        "--frame-size 16 --digit-scale 0.3 --num-frames 4 --first-frames 3 --growth-epochs 1 --units 10 --what-dim 3 "
        "--glimpse-size 5 --num-particles 2 --num-train 8 --batch-size 4 --epochs 3 --num-validation 4 --num-test 12"
    )
    assert main(["train", "sqair-small", "--run", run, *words.split(), "--quiet"]) == 0
    return run


@pytest.mark.slow
@pytest.mark.ci
def test_from_training_to_pictures(tmp_path, capsys):
    run = trained(tmp_path)
    assert main(["evaluate", run, "--num-particles", "3", "--evidence-particles", "32"]) == 0
    printed = capsys.readouterr().out
    assert "counting accuracy" in printed
    assert "videos without switches" in printed
    scores = read_evaluation(RunFolder.open(run)).scores
    assert set(scores) == {"counting", "visible_counting", "tracking"}
    assert 0 <= scores["tracking"].unswitched <= 1
    assert scores["tracking"].switches >= 0
    assert not math.isnan(scores["tracking"].mota)
    assert main(["render", run]) == 0
    drawn = {path.name for path in (tmp_path / "run" / "pictures").iterdir()}
    assert {"tracks.png", "forecast.png", "generated.png", "tracks-0.gif", "forecast-3.gif"} <= drawn


@pytest.mark.slow
@pytest.mark.ci
def test_a_picture_of_exchanged_identities(tmp_path, monkeypatch):
    """Videos that are said to have a switch, and no others; without any there is no picture."""
    run = load_run(trained(tmp_path))
    shown = []

    def draw(frames, *args, **options):
        shown.append(frames)
        return draw_tracks(frames, *args, **options)

    monkeypatch.setattr(objects, "draw_tracks", draw)
    for switched in ([2, 5], []):

        def scores_of(found, true, switched=switched):
            scores = score_middles(found, true)
            switches = torch.zeros_like(scores.switches)
            switches[switched] = 1
            return replace(scores, switches=switches)

        monkeypatch.setattr(objects, "score_middles", scores_of)
        written = render(run, tmp_path / str(len(switched)))
        assert ("switches.png" in {path.name for path in written}) == bool(switched)
        if switched:
            assert torch.equal(shown[-1], run.test.frames[switched])


def test_a_wrong_estimator_is_refused_before_videos_are_made(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(type(SMALL), "splits", lambda recipe: pytest.fail("videos were made"))
    assert main(["train", "sqair-small", "--estimator", "renyi", "--run", str(tmp_path / "run"), "--quiet"]) == 2
    assert "invalid choice 'renyi' for argument '--estimator'" in capsys.readouterr().err


def test_models_without_identities_are_not_tracked():
    videos = MovingDigits(num_frames=2, size=16, digit_scale=0.3).simulate(3, torch.Generator().manual_seed(0))
    model = AttendInferRepeat((1, 16, 16), what_dim=3, glimpse_size=4, hidden=(5,))
    assert Tracking().compute(Evaluated(model, GlimpseAttentionGuide(model, hidden_dim=5), videos)) is None
