"""Refinements of two tiny runs: what is trained and written, and that the run's own guide is the first row."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from inference.cli import main

PROGRAM = Path(__file__).parents[2] / "benchmarks" / "refinement_gaps.py"
KALMAN = "--network mlp --num-train 8 --num-validation 2 --num-test 3 --batch-size 8 --epochs 2 --frozen-epochs 1"


@pytest.mark.slow
def test_gaps_before_and_after_refinement(tmp_path):
    path, output = tmp_path / "kalman", tmp_path / "gaps.json"
    assert main(["train", "kvae-demo", "--run", str(path), "--quiet", *KALMAN.split()]) == 0
    weights = {one: one.read_bytes() for one in path.rglob("*.safetensors")}
    few = "--refinements 1 2 --training-steps 2 --num-sequences 2 --num-particles 30 --evidence-particles 32"
    command = [sys.executable, str(PROGRAM), str(path), *few.split(), "--output", str(output)]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    record = json.loads(output.read_text())
    assert record["provenance"]["command"]
    assert record["settings"]["training_steps"] == 2
    own, *refined = record["scores"]
    assert [one["steps"] for one in (own, *refined)] == [0, 1, 2]
    best = max(one["bounds"]["log_evidence"] for one in record["scores"])
    for one in (own, *refined):
        assert one["run"] == "kalman"
        assert one["gap"] == pytest.approx(best - one["bounds"]["elbo"])
        assert one["milliseconds"] > 0
    assert all(one["bounds"]["elbo"] != own["bounds"]["elbo"] for one in refined)
    assert all(one["milliseconds"] > own["milliseconds"] for one in refined)
    assert "kalman                   2 refinements  ELBO" in printed
    assert weights == {one: one.read_bytes() for one in path.rglob("*.safetensors")}
