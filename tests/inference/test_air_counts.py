"""AIR learns to count, by its recipe, on scenes of digits that training never saw: minutes, so a slow test."""

import pytest

from inference.experiments.evaluate import evaluate
from inference.experiments.runs import load_run, train_recipe
from inference.recipes import RECIPES
from inference.recipes.recipe import Recipe


@pytest.mark.slow
def test_air_counts_nine_scenes_of_ten(tmp_path, data_folder):
    recipe: Recipe = RECIPES["air-small"].with_options(data=data_folder / "mnist")
    train_recipe(recipe, tmp_path / "run", progress=False)
    evaluation = evaluate(load_run(tmp_path / "run"), num_particles=50)
    assert evaluation.scores.get("counting") is not None
    assert evaluation.scores.get("counting") > 0.9
    assert evaluation.bounds is not None
    assert evaluation.bounds.log_evidence > evaluation.bounds.elbo > 150
