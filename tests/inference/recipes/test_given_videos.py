"""Recipes on given videos: their format, what is held out, recorded, refused, scored, and said of dark ones."""

import json
import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from inference.cli import main
from inference.experiments.evaluate import defined_scores
from inference.experiments.fit_checks import build_for_videos, check_fit, darkness, nothing_found
from inference.experiments.runs import load_run, plain_config, recipe_of, train_recipe
from inference.recipes import RECIPES, OptionError
from inference.recipes.given_videos import GivenVideos, fitted, on_videos
from tests.videos.test_reading import write_images
from videos import BoxWorld, MovingDigits, save_videos

QUICK = {"num_train": 4, "batch_size": 2}
VRNN = {**QUICK, "epochs": 2, "units": 8, "latent_dim": 3, "growth_epochs": 1}


@pytest.fixture(scope="module")
def arrays(tmp_path_factory):
    """Grey and binary videos of 20 x 24 pixels, and a long clip of images."""
    folder = tmp_path_factory.mktemp("videos")
    generator = np.random.default_rng(0)
    grey = generator.random((10, 6, 20, 24)).astype(np.float32)
    np.savez(folder / "grey.npz", whatever=grey)
    np.savez(folder / "binary.npz", whatever=grey > 0.5)
    write_images(folder / "clip", (255 * grey.reshape(-1, 20, 24)).astype(np.uint8))
    return folder


def test_arrays_keep_their_size_and_clips_take_the_recipe_s(arrays):
    recipe = on_videos(RECIPES["vrnn-small"], arrays / "grey.npz")
    assert (recipe.videos.frame_shape, recipe.videos.length) == ((1, 20, 24), 6)
    assert [part.num_sequences for part in vars(recipe.splits()).values() if not isinstance(part, str)] == [7, 1, 2]
    model, _ = recipe.build()
    assert model.frame_shape == (1, 20, 24)
    recipe = on_videos(RECIPES["vrnn-small"], arrays / "clip", num_frames=4)
    assert recipe.videos.frame_shape == RECIPES["vrnn-small"].videos.frame_shape == (1, 28, 28)
    splits = recipe.splits()
    assert splits.train.frames.shape == (39, 4, 1, 28, 28)  # of 42 frames, one after another
    assert splits.validation.num_sequences == 1
    assert splits.test.num_sequences == 3


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_every_recipe_takes_given_videos(name, arrays):
    own = RECIPES[name]
    recipe = on_videos(own, arrays / "clip")
    shape = (own.videos.length, *own.videos.frame_shape)
    assert (recipe.videos.length, *recipe.videos.frame_shape) == shape
    if isinstance(recipe.videos, GivenVideos):
        assert recipe.num_steps == own.num_steps
        assert recipe_of(json.loads(json.dumps(plain_config(recipe)))) == recipe
        assert all(score.without_simulator() == score for score in recipe.scores())


def test_an_array_of_one_sequence_is_a_clip_to_be_cut(tmp_path):
    np.savez(tmp_path / "clip.npz", clip=np.zeros((40, 12, 16)))
    recipe = on_videos(RECIPES["vrnn-small"], tmp_path / "clip.npz")
    assert (recipe.videos.frame_shape, recipe.videos.length) == ((1, 12, 16), 5)
    assert on_videos(RECIPES["air-small"], tmp_path / "clip.npz").videos.length == 1
    np.savez(tmp_path / "large.npz", clip=np.zeros((20, 12, 160)))
    assert on_videos(RECIPES["vrnn-small"], tmp_path / "large.npz").videos.frame_shape == (1, 28, 28)


def test_lengths_grow_as_in_the_recipe(arrays):
    recipe = on_videos(RECIPES["vrnn-small"], arrays / "clip", **QUICK, num_frames=5)
    source = recipe.training_source(recipe.splits().train)
    growth = recipe.videos.growth_epochs * recipe.steps_per_epoch
    assert [source.batch(step).num_frames for step in (0, growth, 2 * growth, 9 * growth)] == [3, 4, 5, 5]
    at_once = on_videos(RECIPES["kvae-demo"], arrays / "clip", num_frames=5)
    assert at_once.training_source(at_once.splits().train).batch(0).num_frames == 5


def test_test_videos_may_be_given(arrays):
    recipe = on_videos(RECIPES["vrnn-small"], arrays / "binary.npz", test=arrays / "grey.npz")
    splits = recipe.splits()
    assert [splits.train.num_sequences, splits.validation.num_sequences, splits.test.num_sequences] == [9, 1, 10]
    assert set(splits.train.frames.unique().tolist()) == {0.0, 1.0}
    np.testing.assert_allclose(splits.test.frames[:, :, 0].numpy(), np.load(arrays / "grey.npz")["whatever"])
    assert recipe.videos.sources() == {"videos": arrays / "binary.npz", "test": arrays / "grey.npz"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"test": "same"}, "--test: expected other videos than --videos"),
        ({"world": "box"}, "--world, --data: expected those that --videos sets, got 'box'"),
        ({"num_test": 0}, "--num-test: expected at least 1, got 0"),
        ({"num_frames": 50}, "num_frames: expected clips of at least 150 frames, .* got 1 of 60 frames"),
    ],
)
def test_options_that_cannot_be_are_refused(arrays, options, message):
    options = {name: arrays / "clip" if value == "same" else value for name, value in options.items()}
    recipe = on_videos(RECIPES["vrnn-small"], arrays / "clip", **options)

    def start():
        recipe.build()
        recipe.splits()

    with pytest.raises(ValueError, match=message):
        start()


def test_frames_of_a_model_follow_the_videos(arrays):
    recipe = on_videos(RECIPES["kvae-demo"], arrays / "clip", frame_size=16)
    assert recipe.pair.frame_shape == (1, 16, 16)
    changed = recipe.with_options(frame_size=64)
    with pytest.raises(
        OptionError, match=r"--frame-shape: expected that of the videos, \(1, 64, 64\), got \(1, 16, 16\)"
    ):
        changed.build()
    assert fitted(changed).pair.frame_shape == (1, 64, 64)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        (
            "dmm-pendulum",
            {"likelihood": "bernoulli"},
            "as dmm-pendulum models them, got shades of grey in .*clip; --likelihood gaussian models .*--thresh",
        ),
        ("ae-rnn-box-cpu", {}, "got shades of grey in .*; --threshold 0.5 makes them black and white$"),
        (
            "kvae-demo",
            {"frame_size": 40},
            r"--frame-size: .* of kvae-demo take, got 40.* use the 'mlp' .*; give another",
        ),
        ("ddpae-small", {"frame_size": (32, 16)}, "expected square grey frames"),
        (
            "vrnn-small",
            {"colour": True},
            "--frame-size: .*of vrnn-small take, .*colour True: frame_shape: expected 1 channel",
        ),
        ("vtssi-small", {"colour": True}, "frame_shape: expected 1 channel, got 3"),
        ("relational-nem-small", {"frame_size": 28}, "--frame-size: expected a multiple of 8"),
    ],
)
def test_what_does_not_fit_is_refused_before_training(arrays, name, options, message):
    recipe = on_videos(RECIPES[name], arrays / "clip", num_frames=8, **options)
    with pytest.raises(OptionError, match=message):
        check_fit(recipe, *build_for_videos(recipe), recipe.splits())


def test_objects_are_tracked_in_colour(arrays):
    recipe = on_videos(RECIPES["sqair-small"], arrays / "clip", num_frames=3, colour=True, units=8, what_dim=2)
    model, guide = build_for_videos(recipe)
    check_fit(recipe, model, guide, recipe.splits())
    assert model.frame_shape[0] == 3


def test_one_grey_video_among_many_is_found(arrays):
    recipe = on_videos(RECIPES["ed-lstm-small"], arrays / "binary.npz", state_dim=8, code_dim=4, hidden_dim=4)
    splits, pair = recipe.splits(), build_for_videos(recipe)
    assert splits.train.controls.shape == (7, 6, 2)  # the model is told the number of objects
    check_fit(recipe, *pair, splits)
    splits.validation.frames[0, 3, 0, 5, 5] = 0.5
    with pytest.raises(OptionError, match="got shades of grey"):
        check_fit(recipe, *pair, splits)


@pytest.fixture(scope="module")
def run(arrays, tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "run"
    train_recipe(on_videos(RECIPES["vrnn-small"], arrays / "grey.npz", **VRNN), path, progress=False)
    return path


def test_a_run_remembers_its_videos_and_scores_what_it_can(run, arrays, caplog):
    config = json.loads((run / "config.json").read_text())
    assert config["sources"]["videos"]["path"] == str(arrays / "grey.npz")
    assert config["sources"]["videos"]["bytes"] == (arrays / "grey.npz").stat().st_size
    loaded = load_run(run)
    assert loaded.test.num_sequences == 2
    with caplog.at_level(logging.INFO, logger="inference.experiments.evaluate"):
        assert defined_scores(loaded, {}) == []
    lacking, scores = "presence, positions, box sizes, labels", "counting, tracking, addition"
    assert f"left out, since the test videos come without {lacking}: {scores}" in caplog.text


def test_videos_that_are_gone_or_changed_are_named(run, arrays, tmp_path):
    kept = (arrays / "grey.npz").read_bytes()
    recipe = recipe_of(json.loads((run / "config.json").read_text()))
    try:
        (arrays / "grey.npz").unlink()
        message = "--videos: expected the videos of run 'run', .*grey.npz, which is not there any more; put it back"
        with pytest.raises(FileNotFoundError, match=message):
            load_run(run)
        np.savez(arrays / "grey.npz", whatever=np.zeros((10, 6, 20, 24)))
        for use in (lambda: load_run(run), lambda: train_recipe(recipe, run, progress=False)):
            with pytest.raises(
                ValueError, match="grey.npz with .* bytes and SHA-256 .*: they have changed; put the old"
            ):
                use()
    finally:
        (arrays / "grey.npz").write_bytes(kept)
    train_recipe(recipe, run, progress=False)


def test_truth_of_given_videos_is_scored(tmp_path):
    videos = MovingDigits(num_frames=4, size=20, digit_scale=0.5).simulate(8, torch.Generator().manual_seed(0))
    save_videos(tmp_path / "digits.npz", videos)
    recipe = on_videos(RECIPES["sqair-small"], tmp_path / "digits.npz")
    assert [score.name for score in recipe.scores()] == ["counting", "tracking", "addition"]
    test = recipe.splits().test
    assert all(getattr(test, name) is not None for score in recipe.scores() for name in score.needs)


def test_dark_videos_and_missing_objects_are_said(tmp_path):
    videos = MovingDigits(num_frames=3, size=20, digit_scale=0.5).simulate(8, torch.Generator().manual_seed(0))
    save_videos(tmp_path / "digits.npz", videos)
    save_videos(tmp_path / "dark.npz", replace(videos, frames=0.05 * videos.frames))
    small = {"units": 8, "what_dim": 2, "glimpse_size": 6}
    recipe = on_videos(RECIPES["sqair-small"], tmp_path / "digits.npz", **small)
    assert darkness(recipe, recipe.splits().train) is None
    dark = on_videos(RECIPES["sqair-small"], tmp_path / "dark.npz")
    assert "dark.npz: nearly all dark, 0.00% of the pixels" in darkness(dark, dark.splits().train)
    assert "--invert yes is for dark things on a bright background" in darkness(dark, dark.splits().train)
    model, guide = recipe.with_options(discovery_bias=-50.0).build()
    assert nothing_found(recipe, *recipe.build()) is None
    said = nothing_found(recipe, model, guide)
    assert said is not None
    assert "no object was found in 1 validation videos; train for longer" in said
    inverted = on_videos(RECIPES["sqair-small"], tmp_path / "digits.npz", **small, invert="yes")
    assert "--invert yes" in nothing_found(inverted, model, guide)


def test_the_command_line_takes_videos(arrays, tmp_path, capsys):
    run = tmp_path / "run"
    words = [f"--{name.replace('_', '-')}={value}" for name, value in VRNN.items()]
    given = ["--videos", str(arrays / "clip"), "--test", str(arrays / "grey.npz"), "--num-frames=3", "--quiet"]
    assert main(["train", "vrnn-small", *given, *words, "--run", str(run)]) == 0
    printed = capsys.readouterr()
    assert f"4 steps of 2 sequences of {arrays / 'clip'}" in printed.out
    config = json.loads((run / "config.json").read_text())
    assert {name: Path(record["path"]).name for name, record in config["sources"].items()} == {
        "videos": "clip",
        "test": "grey.npz",
    }
    assert config["fields"]["frame_size"] == 28


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            "train vrnn-small --videos nowhere.mp4",
            "--videos: expected an .npz file of videos, a video file, or a folder",
        ),
        ("train kvae-demo --videos binary.npz --frame-shape 1 16 16", "--frame-shape: expected none with --videos"),
        ("train vrnn-small --videos clip --layout time", "layout: expected None for .*clip, which is no array"),
        ("train vrnn-small --videos clip --max-gigabytes 1e-6", "max_gigabytes: expected videos of at most 1e-06 GB"),
        ("train vrnn-small --videos clip --data grey.npz", "--data: expected none with --videos, got grey.npz"),
        ("train sqair-pedestrians-small --videos clip --data grey.npz", "--data: expected none with --videos"),
        ("train vrnn-small --test clip", "--test: expected --videos too"),
        ("train sqair-pedestrians-small --test clip", "--test: expected a clip for training too"),
        ("train vrnn-small --videos clip --test clip", "--test: expected other videos than --videos"),
    ],
)
def test_mistakes_are_answered_in_one_line(words, message, arrays, capsys, monkeypatch):
    monkeypatch.chdir(arrays)
    before = sorted(arrays.iterdir())
    assert main(words.split()) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("kinema: ")]
    assert message.replace(".*", "") in line or all(part in line for part in message.split(".*"))
    assert sorted(arrays.iterdir()) == before


def test_given_options_are_explained(arrays, capsys):
    assert main(["train", "kvae-demo", "--videos", str(arrays / "clip"), "--help"]) == 0
    listed = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert "--num-frames INT frames of a sequence. (default: 20)" in listed
    assert "--test" in listed
    assert main(["train", "kvae-demo", "--help"]) == 0
    assert "your own videos in place of the recipe's" in " ".join(capsys.readouterr().out.replace("│", " ").split())


def test_box_videos_with_truth_keep_positions(tmp_path):
    save_videos(tmp_path / "box.npz", BoxWorld(num_frames=8).simulate(9, torch.Generator().manual_seed(0)))
    recipe = on_videos(RECIPES["kvae-demo"], tmp_path / "box.npz")
    splits = recipe.splits()
    assert splits.test.positions.shape == (2, 8, 1, 2)
    assert [score.name for score in recipe.scores() if "positions" in score.needs] == ["position_r2"]
