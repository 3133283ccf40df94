"""Eager and traced steps, compared briefly: what is written, and that the numbers agree."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parents[2] / "benchmarks" / "compiled_training.py"


@pytest.mark.slow
def test_eager_and_traced_steps_train_to_the_same_bound(tmp_path):
    command = [sys.executable, PROGRAM, "--recipe", "kvae-demo", "--compile", "off", "trace", "--seeds", "0", "1"]
    command += ["--output", tmp_path, *"--num-train 64 --epochs 2 --frozen-epochs 1 --num-validation 8".split()]
    subprocess.run([str(word) for word in command], check=True, capture_output=True)
    record = json.loads((tmp_path / "compiled_training.json").read_text())
    bounds = {(run["compile"], run["seed"]): run["best_bound"] for run in record["runs"]}
    assert set(bounds) == {("off", 0), ("trace", 0), ("off", 1), ("trace", 1)}
    for seed in (0, 1):
        assert bounds["trace", seed] == pytest.approx(bounds["off", seed], rel=1e-5)
    assert bounds["off", 0] != bounds["off", 1]
