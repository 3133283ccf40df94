"""The curriculum of dynamics from pixels (Chiappa and Paquet 2019): what is frozen stays, weights end as said."""

import pytest
import torch
from pyro.infer import Trace_ELBO, TraceMeanField_ELBO

from inference.recipes import RECIPES
from inference.runs.folder import RunFolder
from inference.svi.schedules import value_at
from inference.training.train import TrainingOptions, train


def tiny(**fields):
    """Two steps an epoch, at 32 x 32."""
    sizes = {"frame_size": 32, "max_balls": 2, "num_train": 8, "batch_size": 4, "num_validation": 2, "num_test": 3}
    small = RECIPES["cannonballs"].with_options(state_dim=4, hidden_dim=4, **sizes)
    return small.with_options(**({"epochs": 5, "frozen_epochs": 2, "annealing_epochs": 2} | fields))


def test_the_dynamics_stay_while_they_are_frozen(tmp_path):
    recipe = tiny()
    model, guide = recipe.build()
    before = {name: value.clone() for name, value in model.named_parameters()}
    source = recipe.training_source(recipe.splits().train)

    def run(stages, folder):
        train(
            model,
            guide,
            source,
            stages,
            loss=recipe.loss(),
            run=RunFolder.start(folder, {}, seed=0),
            options=TrainingOptions(learning_rate=recipe.schedule(), progress=False),
        )

    run(recipe.stages()[:1], tmp_path / "frozen")
    changed = {name for name, value in model.named_parameters() if not torch.equal(value, before[name])}
    assert changed == {name for name in before if not name.startswith("prior.")}
    run(recipe.stages(), tmp_path / "whole")
    changed = {name for name, value in model.named_parameters() if not torch.equal(value, before[name])}
    assert changed == set(before)


def test_the_weight_of_the_divergence_falls_from_a_hundred_to_one():
    frozen, falling, last = RECIPES["cannonballs"].stages()
    assert (frozen.steps, falling.steps, last.steps) == (10_000, 40_000, 150_000)
    assert value_at(frozen.site_weights["a"], 0) == 1
    ramp = falling.site_weights["a"]
    assert value_at(ramp, frozen.steps) == pytest.approx(100)
    assert value_at(ramp, frozen.steps + falling.steps) == pytest.approx(1)
    assert value_at(ramp, frozen.steps + falling.steps // 2) == pytest.approx(10)
    assert last.site_weights == {}  # the bound itself


@pytest.mark.parametrize(
    ("fields", "loss"),
    [({}, TraceMeanField_ELBO), ({"expectation": "sampled"}, Trace_ELBO), ({"guide": "potentials"}, Trace_ELBO)],
)
def test_the_objective_fits_the_guide(fields, loss):
    assert type(tiny(**fields).loss()) is loss


@pytest.mark.parametrize("fields", [{"dynamics": "none"}, {"renderer": "glyph", "full": False}, {"decay": "cosine"}])
def test_variants_build_and_plan(fields):
    recipe = tiny(**fields)
    model, _ = recipe.build()
    assert hasattr(model.prior, "acceleration") == (recipe.pair.dynamics == "mixture")
    assert sum(stage.steps for stage in recipe.stages()) == recipe.num_steps
    assert recipe.stages()[0].frozen == (("model.prior.*",) if recipe.pair.dynamics == "mixture" else ())
    last = 0 if recipe.training.decay == "cosine" else recipe.training.learning_rate
    assert value_at(recipe.schedule(), recipe.num_steps) == last
