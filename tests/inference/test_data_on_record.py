"""The data set that a run was trained on is on record: it resumes and is evaluated on no other."""

import json

import jaxtyping
import pytest

import inference.experiments.runs
from inference.cli import main
from inference.experiments.runs import load_run, plain_config, recipe_of, train_recipe
from inference.recipes import RECIPES
from inference.runs.folder import RunFolder

TINY = RECIPES["air-small"].with_options(
    num_train=8, batch_size=4, num_validation=2, num_test=2, epochs=2, annealing_epochs=1
)


@pytest.fixture
def digits(monkeypatch):
    """Which digits there are."""

    def choose(name):
        for module in ("digit_videos", "tracked_digits"):
            monkeypatch.setattr(f"inference.recipes.{module}.name_of_digits", lambda folder: name)

    return choose


@pytest.fixture
def started(monkeypatch):
    """Training begins, and ends at once: what is recorded is there. Annotations are not checked: it is no result."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    monkeypatch.setattr(inference.experiments.runs, "train", lambda *args, run, **options: run.config)
    return train_recipe


def test_a_run_on_mnist_is_not_continued_on_its_stand_in(tmp_path, digits, started):
    digits("MNIST")
    assert started(TINY, tmp_path / "run")["data_set"] == "MNIST"
    digits("scikit-learn's digits")
    message = (
        "data_set: expected MNIST, with which run 'run' was trained, got scikit-learn's digits; --data FOLDER, the "
        "environment variable KINEMA_DATA or a network connection gives MNIST; or train into another folder"
    )
    for go_on in (lambda: started(TINY, tmp_path / "run"), lambda: load_run(tmp_path / "run")):
        with pytest.raises(ValueError, match=message):
            go_on()
    assert len(RunFolder.open(tmp_path / "run").provenance) == 1
    digits("MNIST")
    started(TINY, tmp_path / "run")
    assert started(TINY, tmp_path / "other")["data_set"] == "MNIST"


def test_the_command_line_names_both(tmp_path, digits, capsys):
    digits("scikit-learn's digits")
    RunFolder.start(tmp_path / "run", plain_config(TINY) | {"data_set": "MNIST"})
    assert main(["evaluate", str(tmp_path / "run")]) == 2
    assert "kinema: data_set: expected MNIST, with which run 'run' was trained, got scik" in capsys.readouterr().err


def test_a_run_of_an_older_version_goes_on_with_what_there_is(tmp_path, digits, started):
    digits("scikit-learn's digits")
    RunFolder.start(tmp_path / "run", plain_config(TINY))
    assert "data_set" not in started(TINY, tmp_path / "run")


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_says_whether_it_reads_digits_and_comes_back_from_its_record(name):
    recipe = RECIPES[name]
    assert (recipe.videos.data_set() is None) == ("mnist" not in recipe.videos.world)
    again = recipe_of(json.loads(json.dumps(plain_config(recipe))))
    assert again.options == recipe.options
