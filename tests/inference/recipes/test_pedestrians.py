"""SQAIR on a clip of a static camera: the paper's networks, blocks of time, and a run from the clip to pictures."""

import math
from dataclasses import replace

import pytest
import torch

from inference.cli import main
from inference.cli.recipes import with_words
from inference.experiments.evaluation import read_evaluation
from inference.experiments.fit_checks import darkness
from inference.experiments.runs import load_run
from inference.recipes import RECIPES, OptionError, on_videos
from inference.runs.folder import RunFolder
from pyro_models.components.glimpse_networks import GlimpseNetworks
from tests.videos.test_background_subtraction import moving_square
from tests.videos.test_reading import write_images, write_video

PAPER, SMALL = RECIPES["sqair-pedestrians"], RECIPES["sqair-pedestrians-small"]
TINY = (
    "--warm-up 40 --width 80 --height 60 --frame-size 24 --least-area 8 --num-frames 4 --growth-epochs 1 --units 10 "
    "--what-dim 3 --glimpse-size 6 4 --num-particles 2 --num-train 8 --batch-size 4 --epochs 3 --num-validation 4 "
    "--num-test 12"
).split()


def tiny(recipe):
    return with_words(recipe, TINY, prog="kinema train")[0]


def count(*modules):
    return sum(parameter.numel() for module in modules for parameter in module.parameters())


def test_parameter_counts():
    """3.42 million, near the 3.5 of Kosiorek et al. (2018); 1.74 with the strides that they print."""
    recipe = PAPER.with_options(warm_up=20, width=80, height=64)  # of the clip, which the networks do not see
    model, guide = recipe.build()
    assert round(count(model, guide) / 1e6, 2) == 3.42
    assert guide.image_encoder.features[0].in_features == 64 * 16 * 16
    assert model.decoder.seed_shape == (64, 7, 3)
    printed = replace(guide.model.networks, strides=(2, 2, 2, 1))
    encoders = [torch.nn.ModuleList(nets.encoders((64, 64), (28, 12))) for nets in (guide.model.networks, printed)]
    assert round((count(model, guide) - count(encoders[0]) + count(encoders[1])) / 1e6, 2) == 1.74
    assert isinstance(printed, GlimpseNetworks)


def test_the_curriculum_is_from_three_to_five_frames():
    recipe = tiny(PAPER).with_options(num_frames=5, growth_epochs=PAPER.videos.growth_epochs)
    source = recipe.training_source(recipe.splits().train)
    each = recipe.videos.growth_epochs * recipe.steps_per_epoch
    lengths = [source.batch(step).num_frames for step in (0, each - 1, each, 2 * each, 10 * each)]
    assert lengths == [3, 3, 4, 5, 5]
    assert PAPER.videos.growth_epochs * PAPER.steps_per_epoch == 100_000
    assert PAPER.num_steps == pytest.approx(315_000, rel=0.01)


def test_splits_are_blocks_of_time_of_one_clip():
    recipe = tiny(SMALL).with_options(num_train=64, batch_size=64, num_validation=64)
    splits = recipe.splits()
    numbers = [videos.state[..., 1] for videos in (splits.train, splits.validation, splits.test)]
    assert numbers[0].max() < numbers[1].min()
    assert numbers[1].max() < numbers[2].min()
    assert splits.source == "clip: synthetic"
    later = recipe.with_options(seed=1).splits()
    assert torch.equal(later.test.frames, splits.test.frames)
    assert not torch.equal(later.train.frames, splits.train.frames)


def test_black_things_that_are_not_inverted_are_nearly_all_dark(tmp_path):
    clip, _ = moving_square(num_frames=70, value=5)
    write_video(tmp_path / "clip.avi", clip.numpy())
    recipe = on_videos(tiny(SMALL), tmp_path / "clip.avi", frames_per_second=25.0, shares=(0.5, 0.2, 0.3))
    assert darkness(recipe, recipe.splits().train) is None
    assert recipe.videos.sources() == {"videos": tmp_path / "clip.avi"}
    wrong = recipe.with_options(invert="no")
    said = darkness(wrong, wrong.splits().train)
    assert "nearly all dark, 0.0" in said  # of pixels, at the rim of what was compressed
    assert "--invert yes is for dark things on a bright background" in said


def test_clips_for_tests_are_whole(tmp_path):
    for name, top in (("train", 0), ("test", 1)):
        clip, _ = moving_square(num_frames=70, num_squares=1 + top)
        write_images(tmp_path / name, clip.numpy())
    recipe = on_videos(tiny(SMALL), tmp_path / "train", test=tmp_path / "test", shares=(0.5, 0.2, 0.3))
    splits = recipe.splits()
    assert splits.train.state[..., 1].max() < splits.validation.state[..., 1].min()
    assert splits.validation.presence.sum(-1).max() == 1
    assert splits.test.presence.sum(-1).max() == 2


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"world": "box"}, "--world: expected surveillance, got 'box'"),
        ({"missing": 0.5}, "--missing: expected 0, got 0.5"),
    ],
)
def test_other_worlds_and_missing_frames_are_refused(fields, message):
    with pytest.raises(OptionError, match=message):
        SMALL.with_options(**fields).splits()


@pytest.mark.slow
def test_from_training_to_pictures(tmp_path, capsys):
    run = str(tmp_path / "run")
    assert main(["train", "sqair-pedestrians-small", "--run", run, *TINY, "--quiet"]) == 0
    assert main(["evaluate", run, "--num-particles", "3", "--evidence-particles", "32"]) == 0
    printed = capsys.readouterr().out
    assert "counting accuracy" in printed
    assert "counting, a guess" in printed
    assert "switches" not in printed  # true objects have no names
    evaluation = read_evaluation(RunFolder.open(run))
    assert set(evaluation.scores) == {"counting", "detection"}
    detection = evaluation.scores["detection"]
    assert detection.found == pytest.approx(detection.discovered + detection.propagated)
    assert len(detection.counted) == 3
    assert not math.isnan(evaluation.bounds.elbo)
    assert main(["render", run]) == 0
    drawn = {path.name for path in (tmp_path / "run" / "pictures").iterdir()}
    assert {"tracks.png", "forecast.png", "generated.png", "tracks-0.gif", "forecast-3.gif"} <= drawn


@pytest.mark.slow
def test_people_of_a_clip_are_found_more_often_than_not(tmp_path, data_folder):
    """After 1600 of 5000 steps: objects are there, where people are, and stay; a quarter of the light is explained."""
    path = tmp_path / "run"
    words = ["--data", str(data_folder / "video" / "vtest.avi"), "--epochs", "8", "--num-test", "20"]
    words += ["--run", str(path), "--compile", "trace", "--quiet"]
    assert main(["train", "sqair-pedestrians-small", *words]) == 0
    assert main(["evaluate", str(path), "--num-particles", "5", "--evidence-particles", "32"]) == 0
    evaluation = read_evaluation(RunFolder.open(path))
    detection = evaluation.scores["detection"]
    assert detection.accuracy > 0
    assert evaluation.scores["counting"] > detection.guess
    assert detection.propagated > detection.discovered
    assert detection.position_error < 3
    run = load_run(path)
    black = torch.distributions.Normal(0.0, run.model.frame_scale).log_prob(run.test.frames).flatten(1).sum(-1).mean()
    best = torch.distributions.Normal(0.0, run.model.frame_scale).log_prob(0 * run.test.frames[0]).sum()
    assert evaluation.bounds.elbo > black + 0.25 * (best - black)
