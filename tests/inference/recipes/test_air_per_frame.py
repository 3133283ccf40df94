"""AIR on single frames: what of SQAIR it uses, what it is shown, and a run from training to pictures."""

from pathlib import Path

import pytest
import torch

from inference import SVI
from inference.cli import main
from inference.experiments.evaluation import read_evaluation
from inference.recipes import RECIPES, OptionError
from inference.runs.folder import RunFolder
from inference.svi.schedules import value_at
from inference.training.rmsprop import TensorFlowRMSprop

SMALL = RECIPES["air-per-frame-small"]
TINY = {"units": 10, "what_dim": 3, "glimpse_size": 5, "num_particles": 2, "batch_size": 3, "num_validation": 2}


def parameters_of(*modules):
    return {
        f"{prefix}.{name}": parameter
        for prefix, module in zip(("model", "guide"), modules, strict=True)
        for name, parameter in module.named_parameters()
    }


def test_size_of_what_is_used():
    """Kosiorek et al. (2018) count 1.7 million, with parts that single frames leave idle."""
    recipe = RECIPES["air-per-frame"].with_options(batch_size=1)
    model, guide = recipe.build()
    parameters = parameters_of(model, guide)
    SVI(model, guide, torch.optim.SGD(list(parameters.values()), 0.0), recipe.loss()).step(torch.rand(2, 1, 1, 50, 50))
    used = {name: p.numel() for name, p in parameters.items() if p.grad is not None and p.grad.any()}
    assert not any("propagation" in name for name in used)
    assert sum(used.values()) == 1_503_055
    # the encoder of objects that are known, the mask of followed ones, and discoveries in later frames
    idle = [*model.set_code.parameters(), *guide.propagation.mask.parameters(), model.discovery.later_count]
    assert not any(p is parameters[name] for name in used for p in idle)
    assert sum(used.values()) + sum(p.numel() for p in idle) == 1_667_427


def test_training_is_that_of_sqair():
    recipe, sqair = RECIPES["air-per-frame"], RECIPES["sqair-mlp"]
    assert recipe.label == "MLP-AIR"
    assert recipe.optimizer() is TensorFlowRMSprop
    assert recipe.num_steps == sqair.num_steps
    steps = (0, 500_000, 1_500_000)
    assert [value_at(recipe.schedule(), s) for s in steps] == [value_at(sqair.schedule(), s) for s in steps]
    assert (type(recipe.loss()), recipe.loss().num_particles) == (type(sqair.loss()), 5)
    assert {name for name, value in recipe.options.items() if value != sqair.options[name]} == {"first_frames"}


def test_every_frame_of_moving_videos_is_a_video():
    recipe = SMALL.with_options(**TINY, num_test=4)
    whole = RECIPES["sqair-small"].with_options(**TINY, num_test=4)
    ours, theirs = recipe.splits(), whole.splits()
    for part, count in (("train", 3), ("validation", 2), ("test", 4)):
        frames, videos = getattr(ours, part), getattr(theirs, part)
        assert (frames.num_sequences, frames.num_frames) == (5 * count, 1)
        for field in ("frames", "presence", "labels", "positions", "box_sizes"):
            expected = getattr(videos, field)
            assert torch.equal(getattr(frames, field).reshape(expected.shape), expected)
    batch = recipe.training_source(ours.train).batch(7)
    assert batch.frames.shape == (15, 1, 1, 28, 28)
    assert torch.equal(batch.frames, recipe.with_options(num_train=6400).training_source(ours.train).batch(7).frames)
    growing = recipe.with_options(first_frames=2, growth_epochs=1, num_train=3)
    source = growing.training_source(ours.train)
    assert [source.batch(step).num_sequences for step in (0, 1, 3, 9)] == [6, 9, 15, 15]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"estimator": "renyi"}, "--estimator: expected one of vimco, "),
        ({"network": "cnn"}, "--network: expected one of mlp, conv, got 'cnn'"),
        ({"first_frames": 0}, "--first-frames, --growth-epochs: expected positive numbers, got 0 and"),
    ],
)
def test_options_that_cannot_be(fields, message):
    with pytest.raises(OptionError, match=message):
        SMALL.with_options(**fields).build()


def test_options_of_propagation_are_not_there():
    with pytest.raises(OptionError, match="--propagation-bias: no such option"):
        SMALL.with_options(propagation_bias=1.0)


def test_from_training_to_pictures(tmp_path, capsys):
    run = str(tmp_path / "run")
    words = (
        "--frame-size 16 --digit-scale 0.3 --num-frames 4 --units 10 --what-dim 3 --glimpse-size 5 --num-particles 2 "
        "--num-train 8 --batch-size 4 --epochs 3 --num-validation 4 --num-test 12"
    )
    assert main(["train", "air-per-frame-small", "--run", run, *words.split(), "--quiet"]) == 0
    assert main(["evaluate", run, "--num-particles", "3", "--evidence-particles", "32"]) == 0
    assert "counting accuracy" in capsys.readouterr().out
    evaluation = read_evaluation(RunFolder.open(run))
    assert evaluation.frames == 1
    assert set(evaluation.scores) == {"counting", "visible_counting"}
    assert 0 <= evaluation.scores["counting"] <= 1
    assert main(["render", run]) == 0
    assert {Path(line).name for line in capsys.readouterr().out.split()} == {
        "training.png",
        "scenes.png",
        "generated.png",
    }
