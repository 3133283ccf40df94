"""DDPAE from its recipe: the paper's numbers, options that are refused, and a run from training to pictures."""

import pytest
import torch

from inference.cli import main
from inference.experiments.evaluation import read_evaluation
from inference.recipes import RECIPES, OptionError
from inference.runs.folder import RunFolder
from inference.svi.schedules import value_at

SMALL = RECIPES["ddpae-small"]


def test_the_papers_training():
    """200,000 steps of 64 new videos, 157 an epoch; a tenth of the rate after epoch 636; 10 frames in, 10 out."""
    recipe = RECIPES["ddpae"]
    assert recipe.steps_per_epoch == 157
    assert recipe.num_steps == 1273 * 157 == 199_861
    rates = [value_at(recipe.schedule(), step) for step in (0, 636 * 157 - 1, 636 * 157, 199_860)]
    assert rates == pytest.approx([1e-3, 1e-3, 1e-4, 1e-4])
    optimizer = recipe.optimizer()([torch.nn.Parameter(torch.zeros(1))], lr=1e-3)
    assert optimizer.defaults["betas"] == (0.5, 0.999)
    model, guide = recipe.build()
    assert sum(parameter.numel() for module in (model, guide) for parameter in module.parameters()) == 706_364
    assert (recipe.videos.num_frames, model.num_input, model.score_input) == (20, 10, True)


def test_videos_are_new_at_every_step():
    recipe = SMALL.with_options(batch_size=2)
    source = recipe.training_source(recipe.with_options(num_validation=1, num_test=1).splits().train)
    first, second = source.batch(0), source.batch(1)
    assert first.frames.shape == (2, 10, 1, 32, 32)
    assert not torch.equal(first.frames, second.frames)
    assert first.presence.all()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"decay": "linear"}, "--decay: expected one of paper, cosine, got 'linear'"),
        ({"num_input": 10}, "--num-input: expected 1 to num_frames - 1 = 9, got 10"),
        ({"num_input": 0}, "--num-input: expected 1 to num_frames - 1 = 9, got 0"),
        ({"frame_size": 50}, "frame_shape: expected a side of 4"),
    ],
)
def test_options_that_cannot_be(fields, message):
    with pytest.raises(ValueError, match=message):
        SMALL.with_options(**fields).build()


def test_other_worlds_and_missing_frames_are_refused():
    with pytest.raises(OptionError, match="--world: expected one of linear-mnist, .*, got 'box'"):
        SMALL.with_options(world="box")
    with pytest.raises(OptionError, match="--missing: expected 0, got 0.5"):
        SMALL.with_options(missing=0.5).splits()


@pytest.mark.slow
def test_from_training_to_pictures(tmp_path, capsys):
    run = str(tmp_path / "run")
    words = (
        "--frame-size 16 --digit-scale 0.25 --num-frames 4 --first-frames 4 --num-input 2 --units 6 --what-dim 3 "
        "--channels 2 --long-frames 6 --num-train 8 --batch-size 4 --epochs 2 --num-validation 4 --num-test 4"
    )
    assert main(["train", "ddpae-small", "--run", run, *words.split(), "--quiet"]) == 0
    assert (
        main(
            ["evaluate", run, "--num-particles", "3", "--evidence-particles", "32", "--prefix", "3", "--num-long", "2"]
        )
        == 0
    )
    printed = capsys.readouterr().out
    assert "squared error" in printed
    assert "error of middles, pixels" in printed
    scores = read_evaluation(RunFolder.open(run)).scores
    assert set(scores) == {"counting", "frame_prediction", "horizons", "tracking"}
    assert scores["frame_prediction"].prefix == 3
    assert scores["horizons"].prefix == 3
    assert main(["render", run]) == 0
    drawn = {path.name for path in (tmp_path / "run" / "pictures").iterdir()}
    assert {"tracks.png", "forecast.png", "generated.png", "tracks-0.gif"} <= drawn
