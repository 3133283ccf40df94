"""A model of four steps under each of its guides: what is written, and how it appears in RESULTS.md."""

import json

import pytest

from inference.cli import main
from tests.benchmarks.programs import results, run

TINY = "--network mlp --num-train 16 --num-validation 2 --num-test 3 --batch-size 8 --epochs 2 --frozen-epochs 1"


@pytest.mark.slow
def test_each_guide_has_its_bounds_and_a_verdict(tmp_path):
    path = tmp_path / "run"
    assert main(["train", "kvae-demo", "--run", str(path), "--quiet", *TINY.split()]) == 0
    assert main(["evaluate", str(path), *"--evidence-particles 32 --num-sequences 2 --num-masks 1".split()]) == 0
    few = ["--num-sequences", 2, "--num-particles", 30, "--evidence-particles", 32, "--guide-steps", 2]
    run("swapped_guides.py", path, *few)
    record = json.loads((path / "guides.json").read_text())
    scores = {(one["missing"], one["guide"]): one["bounds"] for one in record["scores"]}
    guides = ("collapsed", "joint", "marginals", "recurrent")
    assert set(scores) == {(missing, guide) for missing in ("none", "12 in a row") for guide in guides}
    for missing in ("none", "12 in a row"):
        assert scores[missing, "collapsed"]["elbo"] == pytest.approx(scores[missing, "joint"]["elbo"], rel=1e-5)
        assert scores[missing, "marginals"]["elbo"] < scores[missing, "joint"]["elbo"]
    for bounds in scores.values():
        assert (bounds["verdict"], bounds["num_particles"], bounds["num_sequences"]) == ("lower bound", 30, 2)
        assert bounds["reasons"].endswith("one rung only")
        assert bounds["elbo"] < bounds["importance_weighted"]
    section = results(tmp_path / "results", path).split("## One model, its guides")[1].split("\n## ")[0]
    found = scores["none", "collapsed"]
    (row,) = (line for line in section.splitlines() if line.startswith("| collapsed | none |"))
    assert f"| ≥ {found['log_evidence']:.2f} ± {found['log_evidence_error']:.2f} |" in row
    assert f"| {found['importance_weighted']:.2f} (30) |" in row
    assert f"| ≥ {found['log_evidence'] - found['elbo']:.2f} | {found['effective_sample_size']:.1f} |" in row
