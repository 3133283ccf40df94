"""Recipes from outside: registered by a program, or found through entry points."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from inference.recipes import RECIPES, Recipes

ROOT = Path(__file__).parents[3]
PACKAGE = """
from kinema.recipes import RECIPES

own = RECIPES["kvae-demo"].named("my-balls", num_train=16, batch_size=8, num_validation=4, num_test=4, epochs=1)
several = [own, own.named("my-gravity", world="box-gravity")]
"""


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Installs a package with these entry points."""

    def install(entry_points, program=PACKAGE):
        (tmp_path / "my_balls.py").write_text(program)
        information = tmp_path / "my_balls-1.0.dist-info"
        information.mkdir()
        (information / "METADATA").write_text("Metadata-Version: 2.1\nName: my-balls\nVersion: 1.0\n")
        (information / "entry_points.txt").write_text(f"[kinema.recipes]\n{entry_points}\n")
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.delitem(sys.modules, "my_balls", raising=False)
        return tmp_path

    yield install
    sys.modules.pop("my_balls", None)


@pytest.fixture
def recipes():
    return Recipes({"kvae-demo": RECIPES["kvae-demo"]})


def test_a_recipe_is_registered_and_replaced(recipes):
    mine = RECIPES["kvae-demo"].named("mine")
    recipes.register(mine)
    recipes.register(longer := mine.with_options(epochs=200))
    assert recipes["mine"] is longer
    assert list(recipes) == ["kvae-demo", "mine"]
    assert len(recipes) == 2


def test_names_of_the_library_are_kept(recipes):
    with pytest.raises(ValueError, match="expected a name of its own, got 'kvae-demo'.*recipe.named"):
        recipes.register(RECIPES["kvae-demo"].with_options(epochs=1))


@pytest.mark.parametrize("wrong", ["kvae-demo", None, RECIPES["kvae-demo"].pair])
def test_what_is_no_recipe_is_refused(recipes, wrong):
    with pytest.raises(TypeError, match="recipe: expected a Recipe, got"):
        recipes.register(wrong)


@pytest.mark.parametrize("entry_points", ["a = my_balls:own\nb = my_balls:several", "all = my_balls:several"])
def test_entry_points_are_found(package, recipes, entry_points):
    package(entry_points)
    assert recipes["my-gravity"].videos.world == "box-gravity"
    assert list(recipes) == ["kvae-demo", "my-balls", "my-gravity"]


def test_known_recipes_load_no_other_package(package, recipes):
    package("a = my_balls:own")
    assert recipes["kvae-demo"].name == "kvae-demo"
    assert "my_balls" not in sys.modules


@pytest.mark.parametrize(
    ("entry_points", "why"),
    [
        ("a = my_balls:missing", "has no attribute 'missing'"),
        ("a = no_such_module:own", "No module named"),
        ("a = my_balls:RECIPES", "which the library has"),
    ],
)
def test_a_broken_package_is_named_and_left_out(package, recipes, caplog, entry_points, why):
    program = PACKAGE.replace("from kinema", "from inference").replace("own =", 'kept = RECIPES["kvae-demo"]\nown =')
    package(entry_points.replace("RECIPES", "[kept]"[1:-1]), program)
    assert list(recipes) == ["kvae-demo"]
    assert "recipes of my-balls" in caplog.text
    assert why in caplog.text
    with pytest.raises(KeyError):
        recipes["my-balls"]


def test_a_run_of_an_unknown_recipe_says_what_to_do():
    from inference.experiments.runs import recipe_of

    assert replace(RECIPES["kvae-demo"], name="unknown") not in RECIPES.values()
    with pytest.raises(
        ValueError, match="got 'unknown' in the run's config.json; a recipe of your own has to be regis"
    ):
        recipe_of({"recipe": "unknown", "fields": {}})


@pytest.mark.slow
@pytest.mark.ci
def test_the_command_line_trains_and_evaluates_it(package):
    place = package("all = my_balls:several")
    environment = os.environ | {"PYTHONPATH": f"{place}{os.pathsep}{ROOT}", "OMP_NUM_THREADS": "1"}
    for words in (["train", "my-gravity", "--quiet"], ["evaluate", "runs/my-gravity-0", "--evidence-particles", "32"]):
        command = [sys.executable, "-m", "kinema", *words]
        done = subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
    assert "my-gravity, weights of step 2" in done.stdout
