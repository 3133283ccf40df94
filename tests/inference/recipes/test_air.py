"""AIR from its recipe: one option chooses the estimator; Pyro's own multi-sample bound never teaches presence."""

from pathlib import Path

import pytest
import torch

from inference import SVI
from inference.cli import main
from inference.recipes import RECIPES, OptionError
from inference.recipes.air import LOSSES
from inference.svi.schedules import value_at

SMALL = RECIPES["air-small"].with_options(num_train=64, batch_size=16, num_validation=8, num_test=20, hidden_dim=12)


@pytest.mark.parametrize("estimator", sorted(LOSSES))
def test_every_estimator_but_renyis_moves_presence(estimator):
    recipe = SMALL.with_options(estimator=estimator, num_particles=3)
    model, guide = recipe.build()
    model.another.fill_(0.5)
    before = guide.presence.weight.detach().clone()
    svi = SVI(model, guide, torch.optim.Adam([*model.parameters(), *guide.parameters()], 0.01), recipe.loss())
    source = recipe.training_source(recipe.splits().train)
    for step in range(2):
        assert svi.step(*source.batch(step).arguments).isfinite()
    assert torch.equal(before, guide.presence.weight) == (estimator == "renyi")


def test_the_prior_falls_the_frames_gain_weight_and_then_both_stand():
    recipe = SMALL.with_options(epochs=8, annealing_epochs=6, first_another=0.5, last_another=0.001)
    falling, standing = recipe.stages()
    assert (falling.steps, standing.steps) == (24, 8)
    values = [value_at(falling.buffers["model.another"], step) for step in range(25)]
    assert values[0] == pytest.approx(0.5)
    assert values[12] == pytest.approx((0.5 * 0.001) ** 0.5)
    assert values[24] == pytest.approx(0.001)
    assert standing.buffers == {"model.another": 0.001}
    weights = [
        value_at(recipe.with_options(first_frames_weight=0.25).stages()[0].site_weights["frames"], s) for s in (0, 24)
    ]
    assert weights == pytest.approx([0.25, 1.0])
    assert standing.site_weights == {}
    with pytest.raises(OptionError, match="--first-frames-weight: expected above 0 and at most 1, got 0"):
        recipe.with_options(first_frames_weight=0.0).stages()
    with pytest.raises(OptionError, match="--annealing-epochs: expected 1 to epochs - 1 = 7, got 8"):
        recipe.with_options(annealing_epochs=8).stages()
    with pytest.raises(OptionError, match="--estimator: expected one of vimco, wake-sleep, graph, enumeration, renyi"):
        recipe.with_options(estimator="vimcoo").build()
    with pytest.raises(OptionError, match="--world: expected multi-mnist"):
        recipe.with_options(world="box").splits()
    with pytest.raises(OptionError, match=r"--missing: expected 0, as a scene is one frame, got 0\.2"):
        recipe.with_options(missing=0.2).splits()


def test_train_evaluate_render(tmp_path, capsys):
    run = str(tmp_path / "run")
    sizes = "--num-train 64 --batch-size 16 --num-validation 8 --num-test 20 --epochs 2 --annealing-epochs 1".split()
    assert main(["train", "air-small", "--run", run, "--quiet", *sizes]) == 0
    assert main(["evaluate", run, "--num-particles", "4", "--evidence-particles", "32"]) == 0
    assert "counting accuracy" in capsys.readouterr().out
    assert main(["render", run]) == 0
    pictures = capsys.readouterr().out.split()
    assert {Path(picture).name for picture in pictures} == {"training.png", "scenes.png", "generated.png"}
