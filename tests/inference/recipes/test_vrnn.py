"""The variational recurrent network from its recipe: the paper's sizes, options, a run from training to pictures."""

from pathlib import Path

import pytest

from inference import SVI
from inference.cli import main
from inference.experiments.evaluation import read_evaluation
from inference.recipes import RECIPES, OptionError
from inference.recipes.vrnn import LOSSES
from inference.runs.folder import RunFolder
from inference.svi.schedules import value_at
from inference.training.rmsprop import TensorFlowRMSprop

SMALL = RECIPES["vrnn-small"]


@pytest.mark.parametrize(("name", "label", "number"), [("vrnn-mlp", "MLP", 2.05e6), ("vrnn-conv", "CONV", 2.6e6)])
def test_sizes_and_rates_of_the_paper(name, label, number):
    recipe = RECIPES[name]
    model, guide = recipe.build()
    assert sum(p.numel() for module in (model, guide) for p in module.parameters()) == pytest.approx(number, rel=0.01)
    assert recipe.label == f"{label}-VRNN"
    assert recipe.optimizer() is TensorFlowRMSprop
    assert {value_at(recipe.schedule(), step) for step in (0, recipe.num_steps - 1)} == {1e-5}
    assert (recipe.loss().num_particles, recipe.loss().resampling.scheme) == (5, "multinomial")


def test_videos_are_those_of_sqair():
    sqair, recipe = (RECIPES[name].with_options(batch_size=2) for name in ("sqair-small", "vrnn-small"))
    assert recipe.videos.simulator("test") == sqair.videos.simulator("test")
    sources = [one.training_source(one.splits().train) for one in (sqair, recipe)]
    growth = recipe.videos.growth_epochs * recipe.steps_per_epoch
    for step, length in ((0, 3), (growth, 4), (2 * growth, 5)):
        first, second = (source.batch(step).frames for source in sources)
        assert second.shape == (2, length, 1, 28, 28)
        assert first.equal(second)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"estimator": "vimco"}, "--estimator: expected one of fivo, iwae, elbo, got 'vimco'"),
        ({"network": "cnn"}, "--network: expected one of mlp, conv, got 'cnn'"),
        ({"optimization": "sgd"}, "--optimization: expected one of rmsprop, adam, got 'sgd'"),
    ],
)
def test_options_that_cannot_be(fields, message):
    with pytest.raises(OptionError, match=message):
        SMALL.with_options(**fields).build()


@pytest.mark.parametrize("estimator", LOSSES)
def test_every_estimator_trains_every_parameter(estimator):
    recipe = SMALL.with_options(units=6, latent_dim=3, batch_size=4, num_particles=3, estimator=estimator)
    model, guide = recipe.build()
    named = dict([*model.named_parameters(prefix="model"), *guide.named_parameters(prefix="guide")])
    before = {name: parameter.detach().clone() for name, parameter in named.items()}
    svi = SVI(model, guide, recipe.optimizer()(list(named.values()), lr=0.01), recipe.loss())
    assert svi.step(*recipe.training_source(recipe.splits().train).batch(0).arguments).isfinite()
    assert [name for name, parameter in named.items() if parameter.equal(before[name])] == []


@pytest.mark.parametrize("network", ["mlp", pytest.param("conv", marks=pytest.mark.slow)])
def test_from_training_to_pictures(network, tmp_path, capsys):
    run = str(tmp_path / "run")
    words = (
        "--frame-size 16 --digit-scale 0.3 --num-frames 4 --first-frames 3 --growth-epochs 1 --units 10 --latent-dim 3 "
        "--num-particles 2 --num-train 8 --batch-size 4 --epochs 3 --num-validation 4 --num-test 12"
    )
    options = [*words.split(), "--network", network]
    assert main(["train", "vrnn-small", "--run", run, *options, "--quiet"]) == 0
    assert main(["evaluate", run, "--num-particles", "3", "--evidence-particles", "32"]) == 0
    assert "counting" not in capsys.readouterr().out
    evaluation = read_evaluation(RunFolder.open(run))
    assert evaluation.bounds.elbo < evaluation.bounds.log_evidence
    assert evaluation.frames == 4
    assert evaluation.scores == {}  # nothing is said of objects
    assert main(["render", run]) == 0
    drawn = {Path(line).name for line in capsys.readouterr().out.split()}
    films = {f"{kind}-{index}.gif" for kind in ("reconstruction", "forecast") for index in range(4)}
    assert drawn == {"training.png", "reconstruction.png", "forecast.png", "generated.png"} | films
