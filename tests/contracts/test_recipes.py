"""Every recipe: builds a pair that fits, plans its steps, survives a run folder, and takes options as text."""

import json
from fnmatch import fnmatchcase
from itertools import pairwise
from pathlib import Path

import pytest
import torch

from guides import check_guide
from guides.check.guide import GuideMismatchError
from inference.cli.recipes import with_words
from inference.cli.train import Run
from inference.experiments.runs import plain_config, recipe_of
from inference.recipes import RECIPES
from inference.svi.schedules import value_at
from tests.contracts.registry import full_size
from videos import SIMULATORS

# guide parameters without gradient: single frames never use propagation
IDLE = {"air-per-frame": "propagation.*", "air-per-frame-small": "propagation.*"}


@pytest.fixture(params=sorted(RECIPES))
def named(request):
    return request.param, RECIPES[request.param]


def parameter_names(recipe):
    model, guide = recipe.build()
    return [
        f"{part}.{name}"
        for part, module in (("model", model), ("guide", guide))
        for name, _ in module.named_parameters()
    ]


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if full_size(name) else pytest.mark.ci) for name in RECIPES]
)
def test_model_and_guide_fit_each_other_and_the_videos(name):
    recipe = RECIPES[name].with_options(num_train=2, num_validation=1, num_test=1)
    videos = recipe.splits().train
    model, guide = recipe.build()
    if name not in IDLE:
        check_guide(model, guide, *videos.arguments)
        return
    with pytest.raises(GuideMismatchError) as caught:
        check_guide(model, guide, *videos.arguments)
    (mismatch,) = caught.value.mismatches
    assert mismatch.site == "frames"
    idle = [parameter for parameter, _ in guide.named_parameters() if fnmatchcase(parameter, IDLE[name])]
    named = f"at least two frames, to reach {len(idle)} parameters of the guide ({idle[0]} and others)"
    assert mismatch.expected == named


def test_building_twice_gives_the_same_weights(named):
    _, recipe = named
    first, second = ([parameter for module in recipe.build() for parameter in module.parameters()] for _ in range(2))
    assert all(torch.equal(one, other) for one, other in zip(first, second, strict=True))


def test_stages_add_up(named):
    _, recipe = named
    assert sum(stage.steps for stage in recipe.stages()) == recipe.num_steps


def test_the_rate_starts_as_told_and_never_grows_for_parameters_in_training(named):
    """It may restart only in a stage that trains previously frozen parameters and nothing else."""
    _, recipe = named
    names = parameter_names(recipe)
    trained_before: set[str] = set()
    begin, last_rate = 0, recipe.training.learning_rate
    for stage in recipe.stages():
        trained = {name for name in names if not any(fnmatchcase(name, pattern) for pattern in stage.frozen)}
        steps = sorted({*range(0, stage.steps, max(1, stage.steps // 1000)), stage.steps - 1})
        rates = [value_at(recipe.schedule(), begin + step) for step in steps]
        assert all(later <= earlier for earlier, later in pairwise(rates))
        if trained_before & trained:
            assert rates[0] <= last_rate
        else:
            assert rates[0] == recipe.training.learning_rate
        last_rate = rates[-1]
        trained_before |= trained
        begin += stage.steps


def test_frozen_patterns_name_parameters(named):
    _, recipe = named
    names = parameter_names(recipe)
    for stage in recipe.stages():
        for pattern in stage.frozen:
            assert any(fnmatchcase(name, pattern) for name in names), pattern


def test_config_of_a_run_gives_the_recipe_back(named):
    _, recipe = named
    recipe = recipe.with_options(data=Path("some") / "where")
    assert recipe_of(json.loads(json.dumps(plain_config(recipe)))) == recipe


def test_every_field_is_an_option(named):
    _, recipe = named
    words = []
    for field, value in recipe.options.items():
        name = field.replace("_", "-")
        if isinstance(value, bool):
            words.append(f"--{name}" if value else f"--no-{name}")
        elif field != "seed":
            words += [f"--{name}", *map(str, value if isinstance(value, tuple) else (value,))]
    assert with_words(recipe, words, prog="kinema train", run=Run())[0] == recipe


def test_names_its_paper_and_a_known_world(named):
    _, recipe = named
    assert recipe.paper
    assert recipe.label
    assert recipe.videos.world in {*SIMULATORS, "surveillance"}
