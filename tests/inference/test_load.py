"""`inference.load`: what it gives, what `evaluate()` takes, and what is no run."""

import pytest
import torch

import inference
from inference import Budget
from inference.cli import main
from inference.experiments.evaluate import evaluate
from inference.experiments.runs import load_run

TINY = "--network mlp --num-train 8 --num-validation 2 --num-test 4 --batch-size 8 --epochs 2 --frozen-epochs 1"


@pytest.mark.slow
@pytest.mark.ci
def test_a_run_is_at_hand_and_judges_itself(tmp_path):
    path = tmp_path / "tiny"
    assert main(["train", "kvae-demo", "--run", str(path), *TINY.split(), "--quiet"]) == 0
    run, known = inference.load(path), load_run(path)
    for ours, other in ((run.model, known.model), (run.guide, known.guide)):
        assert all(torch.equal(a, b) for a, b in zip(ours.parameters(), other.parameters(), strict=True))
    assert (run.recipe, run.step, run.folder.path) == (known.recipe, known.step, known.folder.path)
    assert torch.equal(run.test.frames, known.test.frames)
    few = {"num_evidence_sequences": 2, "num_particles": 4, "num_masks": 1, "budget": Budget(particles=32)}
    found, wanted = run.evaluate(**few), evaluate(known, **few)
    assert found.bounds.log_evidence == wanted.bounds.log_evidence
    assert found.scores["curves"] == wanted.scores["curves"]
    with pytest.raises(
        TypeError, match=r"^num_particle: expected settings of evaluate .* did you mean num_particles\?"
    ):
        run.evaluate(num_particle=4)
    with pytest.raises(ValueError, match="best.*last"):
        inference.load(path, which="newest")


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    with pytest.raises(ValueError, match="is no run"):
        inference.load(tmp_path)
