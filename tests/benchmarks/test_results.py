"""Records of runs are kept beside the code, and RESULTS.md is written from them."""

import subprocess
import sys
from pathlib import Path

import pytest

from inference.evaluation import Bounds, Evaluation, write_evaluation
from inference.imputation_curves import PATTERNS, ImputationCurve
from inference.recipe_runs import plain_config
from inference.recipes import RECIPES
from inference.runs import RunFolder

PROGRAM = Path(__file__).parents[2] / "benchmarks" / "results.py"


def evaluated_run(path, recipe, errors):
    """A run folder whose imputation curves start from given errors."""
    run = RunFolder.start(path, plain_config(recipe, RECIPES[recipe]), seed=0)
    for step in (1, 2):
        run.append_metrics({"step": step, "loss": 0.0}, seconds=60.0 * step)
    curves = []
    for pattern in PATTERNS:
        levels = tuple(PATTERNS[pattern][2])
        for method, error in errors.items():
            values = tuple(error + 0.001 * place for place in range(len(levels)))
            curves.append(ImputationCurve(pattern, method, levels, values, (0.0001,) * len(levels)))
    bounds = Bounds(-80.0, 1.0, -60.0, 1.0, 1000, 100, 0.5)
    write_evaluation(run, Evaluation(recipe, 2, bounds, 20, {"affine": 0.99, "quadratic": 0.99}, tuple(curves)))
    (run.path / "checkpoints" / "best.safetensors").write_bytes(b"heavy")
    return run.path


@pytest.fixture
def write_results(tmp_path):
    def call(*runs):
        output = tmp_path / "RESULTS.md"
        command = [sys.executable, PROGRAM, *runs, "--records", tmp_path / "results", "--output", output]
        subprocess.run([str(word) for word in command], check=True, capture_output=True)
        return output.read_text()

    return call


def test_runs_of_two_days_meet_in_one_document(tmp_path, write_results):
    kalman = evaluated_run(tmp_path / "kvae-box-cpu-0", "kvae-box-cpu", {"smoothing": 0.004, "filtering": 0.006})
    first = write_results(kalman)
    assert "| C1 smoothing is no worse than filtering | holds | +0.0020 |" in first
    assert "AE-RNN" not in first.split("Claims")[1]
    rival = evaluated_run(tmp_path / "vae-rnn-box-cpu-0", "vae-rnn-box-cpu", {"filtering": 0.003})
    second = write_results(rival)
    assert "| C2 smoothing beats the VAE-RNN | fails | -0.0010 |" in second
    assert write_results() == second
    assert not list((tmp_path / "results").rglob("*.safetensors"))


def test_a_run_that_was_not_evaluated_is_left_out(tmp_path, write_results):
    run = RunFolder.start(tmp_path / "run", plain_config("kvae-box-cpu", RECIPES["kvae-box-cpu"]), seed=0)
    (tmp_path / "results").mkdir()
    assert "| run |" in write_results(run.path)
    assert not list((tmp_path / "results").iterdir())
