"""Weights that come with the package: found by name, small, with a card, and with the scores that it states."""

import json
import re

import pytest
import torch

import inference
from inference.experiments import packaged_runs
from inference.experiments.packaged_runs import CARD, TRAINED, card, found_run, packaged_names
from inference.experiments.runs import recipe_of
from inference.runs.checkpoints import read_weights
from inference.runs.folder import BEST, CHECKPOINTS, RunFolder

MOST_BYTES = 12 * 2**20


@pytest.fixture
def one(tmp_path, monkeypatch):
    """The name of the only weights that the package then has."""
    folder = tmp_path / "trained" / "one"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / CARD).write_text("Its card.")
    monkeypatch.setattr(packaged_runs, "TRAINED", folder.parent)
    return folder.name


def test_they_are_small_together():
    assert sum(path.stat().st_size for path in TRAINED.rglob("*") if path.is_file()) < MOST_BYTES


@pytest.mark.parametrize("name", packaged_names())
def test_each_has_a_card_a_recipe_and_finite_weights(name):
    text = card(name)
    for words in ("Trained by `kinema train", "Licence of the data:", "Bad at:", "ELBO", " at ", "single precision"):
        assert words in text
    folder = RunFolder.open(found_run(name))
    model, guide = recipe_of(folder.config).build()
    folder.load_weights(model, guide)
    weights, _ = read_weights(folder.path / CHECKPOINTS / BEST)
    assert all(bool(value.isfinite().all()) for value in weights.values() if value.is_floating_point())
    parameter = next(iter(model.parameters()))
    assert parameter.dtype == torch.float32


def test_no_path_of_a_machine_is_in_them():
    for path in TRAINED.glob("*/*.json"):
        assert not re.search(r'"/(home|root|work|tmp)/', path.read_text()), path


def test_names_are_found_and_folders_come_first(one, tmp_path, monkeypatch):
    assert packaged_names() == [one]
    assert found_run(one) == tmp_path / "trained" / one
    assert card(one) == "Its card."
    monkeypatch.chdir(tmp_path)
    (tmp_path / one).mkdir()
    assert str(found_run(one)) == one


def test_unknown_names_are_refused_with_the_nearest(one):
    with pytest.raises(ValueError, match="expected a folder, or the name of weights .*one.*did you mean 'one'"):
        inference.load("onee")
    with pytest.raises(ValueError, match="expected a folder, or the name of weights"):
        card("nothing like it")


@pytest.mark.slow
@pytest.mark.ci
@pytest.mark.parametrize("name", packaged_names())
def test_the_bound_is_the_one_on_the_card(name, data_folder):
    """On the first test videos, with the same draws: within three standard errors of the mean over all of them."""
    run = inference.load(name)
    found = re.search(r"ELBO +(-?[\d.]+) \+- ([\d.]+)", (TRAINED / name / CARD).read_text())
    stated, error = map(float, found.groups())
    evidence = inference.log_evidence(run.model, run.guide, *run.test.select(slice(0, 50)).arguments, num_particles=4)
    spread = (error**2 + evidence.elbo.var() / 50) ** 0.5
    assert abs(evidence.elbo.mean() - stated) < 3 * spread
    assert json.loads((TRAINED / name / "config.json").read_text())["fields"]["data"] is None
