"""Options of a recipe: nearest matches, types, data folders."""

import json
import re
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch

from inference import recipes
from inference.cli.recipes import with_words
from inference.experiments.runs import plain_config, recipe_of
from inference.recipes import RECIPES, OptionError
from videos import SIMULATORS, save_videos

ROOT = Path(__file__).parents[3]


@pytest.fixture
def recipe():
    return RECIPES["kvae-demo"]


def test_unknown_option_names_its_nearest_match(recipe):
    with pytest.raises(OptionError, match=r"--bach-size: no such option; did you mean --batch-size\?"):
        recipe.with_options(bach_size=3)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--epochs many", "Error parsing --epochs: .*'many'"),
        ("--learning-rate fast", "Error parsing --learning-rate: .*'fast'"),
        ("--clip-norm soft", r"Error parsing --clip-norm: .*\['soft'\]"),
        ("--hidden a b", r"Error parsing --hidden: .*\['a', 'b'\]"),
        ("--frame-shape 32 32", "'--frame-shape'. Expected 3 values"),
        ("--network cnn", "invalid choice 'cnn' for argument '--network'. Expected one of .'conv', 'mlp'"),
        ("--bach-size 3", "Perhaps you meant: --batch-size INT"),
    ],
)
def test_wrong_words_are_named(recipe, words, message, capsys):
    with pytest.raises(SystemExit) as stop:
        with_words(recipe, words.split(), prog="kinema train")
    assert stop.value.code == 2
    printed = re.sub(r"[\s│]+", " ", capsys.readouterr().err)
    assert re.search(message, printed)


def test_values_take_their_type(recipe):
    words = "--clip-norm None --hidden 3 4 --data some/where --learn-noise"
    changed, _ = with_words(recipe, words.split(), prog="kinema train")
    assert (changed.training.clip_norm, changed.pair.hidden) == (None, (3, 4))
    assert (changed.videos.data, changed.pair.learn_noise) == (Path("some/where"), True)
    assert changed == recipe.with_options(clip_norm=None, hidden=(3, 4), data=Path("some/where"), learn_noise=True)


def test_unknown_world(recipe):
    with pytest.raises(OptionError, match="--world: expected one of .*got 'bix'; did you mean 'box'"):
        recipe.with_options(world="bix").splits()


def test_simulated_splits_are_disjoint_and_the_test_set_does_not_depend_on_the_seed(recipe):
    recipe = recipe.with_options(num_train=6, num_validation=5, num_test=4)
    first, second = recipe.splits(), recipe.with_options(seed=1).splits()
    assert torch.equal(first.test.frames, second.test.frames)
    assert not torch.equal(first.train.frames, second.train.frames)
    assert not torch.equal(first.train.frames[:4], first.test.frames)


def test_data_folder_is_read(recipe, tmp_path):
    generator = torch.Generator().manual_seed(0)
    train, test = (SIMULATORS["box"]().simulate(count, generator) for count in (40, 6))
    save_videos(tmp_path / "box.npz", train)
    save_videos(tmp_path / "box_test.npz", test)
    splits = recipe.with_options(data=tmp_path, num_validation=5, num_test=4).splits()
    assert [part.num_sequences for part in (splits.train, splits.validation, splits.test)] == [35, 5, 4]
    assert torch.equal(splits.validation.frames, train.frames[35:])
    with pytest.raises(OptionError, match="--data: expected at least 52 sequences in .*box.npz, got 40"):
        recipe.with_options(data=tmp_path, num_validation=20).splits()


def test_worlds_without_files_are_named(recipe, tmp_path):
    with pytest.raises(OptionError, match=r"--data: expected a world with data files \(box, .*\), got 'moving-mnist'"):
        recipe.with_options(world="moving-mnist", data=tmp_path).splits()


def test_missing_file_is_named(recipe, tmp_path):
    with pytest.raises(FileNotFoundError, match="box.npz"):
        recipe.with_options(data=tmp_path).splits()


def test_missing_frames_keep_the_first_three(recipe):
    recipe = recipe.with_options(num_train=32, num_validation=2, num_test=2, missing=0.6)
    source = recipe.training_source(recipe.splits().train)
    observed = source.batch(0).observed
    assert observed[:, :3].all()
    assert 0.2 < observed[:, 3:].float().mean() < 0.6


@pytest.mark.parametrize("redrawn", [False, True])
def test_a_missing_frame_stays_missing_unless_masks_are_redrawn(recipe, redrawn):
    recipe = recipe.with_options(num_train=32, num_validation=2, num_test=2, missing=0.6, redraw_missing=redrawn)
    videos = recipe.splits().train
    source = recipe.training_source(videos)
    seen = torch.zeros(32, 20, dtype=torch.bool)
    for epoch in range(8):
        batch = source.batch(epoch)  # the whole set
        for video, observed in zip(batch.frames, batch.observed, strict=True):
            (place,) = [index for index, one in enumerate(videos.frames) if torch.equal(one, video)]
            seen[place] |= observed
    assert bool((seen.float().mean() > 0.9).item()) == redrawn


@pytest.mark.parametrize("seed", [-1, 1_000_000, 2_000_000])
def test_seeds_whose_training_videos_are_for_validation_or_test_are_refused(recipe, seed):
    with pytest.raises(OptionError, match=rf"--seed: expected one from 0 to 999999, got {seed}; with others, training"):
        recipe.with_options(seed=seed)


def test_words_that_an_option_does_not_know_are_refused_when_it_is_set(recipe):
    message = "--network: expected one of conv, mlp, got 'cnn'"
    with pytest.raises(OptionError, match=message):
        recipe.with_options(network="cnn")


def test_options_with_one_name_in_two_parts_are_refused(recipe):
    @dataclass(frozen=True, kw_only=True)
    class Wide(type(recipe.training)):
        channels: int = 3

    with pytest.raises(TypeError, match="kvae-demo: expected options with different names in .*, got channels twice"):
        replace(recipe, training=Wide())


def test_a_recipe_can_be_found_once(monkeypatch):
    assert recipes._found() == RECIPES
    monkeypatch.setattr(recipes.vrnn, "RECIPES", (RECIPES["air"],))
    with pytest.raises(ValueError, match="recipes: expected different names, got 'air' twice; rename one"):
        recipes._found()


@pytest.mark.parametrize("path", sorted(ROOT.glob("results/*/config.json")), ids=lambda path: path.parent.name)
def test_configurations_of_earlier_versions_are_read(path):
    """Every option has the value that was written."""
    config = json.loads(path.read_text())
    written = json.loads(json.dumps(plain_config(recipe_of(config))))
    assert written["recipe"] == config["recipe"]
    assert config["fields"].items() <= written["fields"].items()
