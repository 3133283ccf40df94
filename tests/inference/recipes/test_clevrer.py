"""Slots on CLEVRER and scenes like it: visible objects, a fixed training set, CLEVRER's files, and runs with masks."""

import numpy as np
import pytest
import torch

from inference.cli import main
from inference.experiments.evaluation import read_evaluation
from inference.experiments.runs import load_run, train_recipe
from inference.recipes import RECIPES, OptionError
from inference.recipes.recipe import TRAINING_SEED
from inference.runs.folder import RunFolder
from inference.scores.score import Evaluated
from inference.scores.segmentation import Segmentation
from tests.videos.test_clevrer import write_annotation, write_film
from videos import VideoBatch

PAPER, SMALL = RECIPES["spatio-temporal-clevrer"], RECIPES["spatio-temporal-clevrer-small"]
IODINE, SMALL_IODINE = RECIPES["iodine-clevrer"], RECIPES["iodine-clevrer-small"]
SETS = {"num_train": 8, "num_validation": 2, "num_test": 3, "batch_size": 4}
NETWORKS = {"channels": 4, "units": 6, "latent_dim": 3, "decoder_layers": 2, "halvings": 1, "reading_layers": 2}
TRAINING = {"epochs": 2, "scale_epochs": (0, 1), "entropy_epochs": (0, 1), "refinements": 2}
TINY = {**SETS, **NETWORKS, **TRAINING, "frame_size": 16, "test_frames": 4, "followed": 2}


def slow(value):
    return pytest.param(value, marks=pytest.mark.slow)


def tiny(recipe, **options):
    lengths = {} if recipe.videos.num_frames == 1 else {"num_frames": 3, "first_frames": 2, "growth_epochs": 1}
    return recipe.with_options(**{**TINY, **lengths, **options})


UNUSED = VideoBatch(torch.zeros(1, 1, 3, 16, 16))  # training videos are not those of splits


def count(*modules):
    return sum(parameter.numel() for module in modules for parameter in module.parameters())


def test_sizes_of_the_paper():
    assert (PAPER.pair.num_slots, PAPER.pair.refinements, PAPER.pair.latent_dim, PAPER.pair.units) == (6, 5, 64, 128)
    assert (PAPER.videos.frame_shape, PAPER.videos.num_frames, PAPER.videos.test_objects) == ((3, 64, 64), 40, (3, 5))
    assert (PAPER.label, IODINE.label, IODINE.videos.num_frames) == ("Spatio-temporal", "IODINE", 1)
    balls = RECIPES["spatio-temporal-balls-colour"].build()
    assert count(*PAPER.build()) == count(*balls)  # the number of slots and of refinements changes no weight


def test_objects_of_small_videos_can_be_seen():
    """Fourteen pixels out of a thousand, as with the camera of large videos, are a blot."""
    videos = SMALL.videos.simulator("test").simulate(6, torch.Generator().manual_seed(0))
    areas = videos.masks.flatten(-2).sum(-1)
    assert areas[areas > 0].median() >= 32
    shown = videos.presence.sum(-1).float()
    assert 2 < shown.mean() < 3
    assert (shown[:, -1] != shown[:, 0]).any()  # some enter
    assert SMALL.pair.num_slots > SMALL.videos.objects[1]


@pytest.mark.parametrize("recipe", [SMALL, SMALL_IODINE], ids=["spatio-temporal", "iodine"])
def test_training_videos_are_simulated_once(recipe):
    recipe = tiny(recipe, num_train=20, batch_size=5)
    source = recipe.training_source(UNUSED)
    assert source.steps_per_epoch == 4
    epochs = [torch.cat([source.batch(4 * epoch + step).frames[:, :1] for step in range(4)]) for epoch in range(2)]
    assert not torch.equal(*epochs)
    for videos in epochs:
        assert torch.equal(videos.flatten(1).sum(1).sort().values, epochs[0].flatten(1).sum(1).sort().values)
    first = recipe.videos.simulator("train").simulate(16, torch.Generator().manual_seed(TRAINING_SEED))
    kept = {tuple(video.flatten()[:50].tolist()) for video in epochs[0]}
    assert {tuple(video.flatten()[:50].tolist()) for video in first.frames[:, :1]} <= kept
    other = recipe.with_options(seed=1).training_source(UNUSED).batch(0).frames
    assert not any(tuple(video.flatten()[:50].tolist()) in kept for video in other[:, :1])


def test_videos_grow():
    source = tiny(SMALL).training_source(UNUSED)
    assert [source.batch(step).num_frames for step in (0, 1, 2, 9)] == [2, 2, 3, 3]
    assert PAPER.videos.num_frames == PAPER.videos.first_frames + (PAPER.training.epochs // 10 - 4)


def test_test_videos_have_masks_and_do_not_depend_on_the_seed():
    recipe = tiny(SMALL)
    splits, later = recipe.splits(), recipe.with_options(seed=1, num_test=2).splits()
    assert splits.test.masks.shape == (3, 4, 3, 16, 16)
    assert splits.train.masks is None
    assert splits.validation.masks is None
    assert torch.equal(later.test.frames, splits.test.frames[:2])
    assert torch.equal(later.validation.frames, splits.validation.frames)
    assert not torch.equal(later.train.frames, splits.train.frames)


@pytest.mark.parametrize("recipe", [SMALL, SMALL_IODINE, *map(slow, (PAPER, IODINE))], ids=lambda recipe: recipe.name)
def test_two_steps_and_masks(recipe, tmp_path):
    recipe = tiny(recipe, num_train=4, batch_size=4)
    assert train_recipe(recipe, tmp_path / "run", progress=False).steps == 2
    run = load_run(tmp_path / "run")
    assert run.recipe == recipe
    summary = Segmentation(lengths=(2,)).compute(Evaluated(run.model, run.guide, run.test))
    assert [first.num_frames for first in summary.first_frames] == [2]
    assert -1 < summary.frame_index.mean < 1
    assert 0 < summary.first_frames[0].scores.squared_error.mean < 1


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Three training videos and three others in CLEVRER's layout; their brightness says which they are."""
    path = tmp_path_factory.mktemp("clevrer")
    for number in range(3):
        frames = np.full((128, 320, 320, 3), 0.1 * (number + 1))
        write_film(path / f"video_train/video_00000-01000/video_{number:05d}.mp4", frames)
    for number, num_objects in enumerate((3, 6, 4), 10000):
        frames = np.full((128, 320, 320, 3), 0.1 * (number - 9999))
        write_film(path / f"video_validation/video_10000-11000/video_{number}.mp4", frames)
        note = path / f"annotation_validation/annotation_10000-11000/annotation_{number}.json"
        write_annotation(note, num_objects, lambda frame: [True] * 6)
    return path


@pytest.mark.slow
def test_files_of_clevrer(folder):
    """Clips of other videos than those held out; test videos with three to five objects; no masks."""
    recipe = tiny(SMALL, data=folder, num_validation=60, num_test=5, test_objects=(3, 5), objects=(3, 5))
    splits = recipe.splits()

    def numbers(videos):
        return set((10 * videos.frames[:, 0].mean((1, 2, 3))).round().int().tolist())

    assert numbers(splits.test) == {1, 3}
    assert numbers(splits.validation) == {2, 3}
    assert splits.validation.num_sequences == 60  # of 32 clips a video
    assert splits.train.frames.shape == (4, 3, 3, 16, 16)
    source = recipe.training_source(splits.train)
    assert set().union(*(numbers(source.batch(step)) for step in range(9))) == {1}
    assert [source.batch(step).num_frames for step in (0, 2)] == [2, 3]
    assert splits.test.masks is None
    assert Segmentation().compute(Evaluated(torch.nn.Module(), torch.nn.Module(), splits.test)) is None


def test_what_clevrer_lacks_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"expected files video_\*.mp4 .*; download video_train.zip from http"):
        tiny(SMALL, data=tmp_path).splits()
    with pytest.raises(FileNotFoundError, match="expected files .* download"):
        tiny(SMALL, data=tmp_path / "nowhere").training_source(UNUSED)
    (tmp_path / "video_train").mkdir()
    for number in range(5):
        (tmp_path / "video_train" / f"video_{number:05d}.mp4").touch()
    message = r"--data: expected more than 5 videos in .*video_train, .* held out for --num-validation 150, got 5"
    with pytest.raises(OptionError, match=message):
        tiny(SMALL, data=tmp_path, num_validation=150).splits()
    with pytest.raises(OptionError, match="--num-frames, --test-frames: expected at most 128, .* got 129 and 20"):
        SMALL.with_options(data=tmp_path, num_frames=129).build()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"world": "massive-balls"}, "--world: expected tabletop, got 'massive-balls'"),
        ({"missing": 0.1}, "--missing: expected 0, got 0.1"),
        ({"objects": (3, 2)}, "--objects: expected smallest and largest number, from 1 on, got 3 and 2"),
        ({"test_objects": (0, 2)}, "--test-objects: expected smallest and largest number, from 1 on, got 0 and 2"),
        ({"followed": 20}, "--followed: expected 1 to 19, fewer than the frames of test videos, got 20"),
        ({"radius": 1.5}, "scenes of train videos: max_objects: expected at most .* with radius = 1.5 and view = 4.5"),
        ({"still": 1.5}, "scenes of train videos: still: expected 0 to 1, got 1.5"),
    ],
)
def test_options_that_cannot_be(options, message):
    with pytest.raises(OptionError, match=message):
        SMALL.with_options(**options).build()


@pytest.mark.slow
@pytest.mark.parametrize("memory", ["model", "guide"])
def test_from_training_to_pictures(memory, tmp_path, capsys):
    words = ["--memory", memory, "--quiet"]
    for name, value in tiny(SMALL).options.items():
        if name in {*TINY, "num_frames", "first_frames", "growth_epochs"}:
            words += [f"--{name.replace('_', '-')}", *map(str, value if isinstance(value, tuple) else (value,))]
    run = str(tmp_path / "run")
    assert main(["train", "spatio-temporal-clevrer-small", "--run", run, *words]) == 0
    assert main(["evaluate", run, "--num-particles", "3", "--evidence-particles", "32", "--lengths", "3", "1"]) == 0
    printed = capsys.readouterr().out
    assert "first 1 frames" in printed
    assert ("evidence of model and guide together" in printed) == (memory == "guide")
    evaluation = read_evaluation(RunFolder.open(run))
    assert [first.num_frames for first in evaluation.scores["segmentation"].first_frames] == [1, 3]
    assert np.isfinite(evaluation.bounds.log_evidence)
    assert main(["render", run]) == 0
    drawn = {path.name for path in (tmp_path / "run" / "pictures").iterdir()}
    assert {"tracks.png", "forecast.png"} <= drawn
    assert ("generated.png" in drawn) == (memory == "model")
