"""A run that is killed by SIGKILL, at any moment, resumes and ends with the same bits as one that was not.

Once with one loss, once with another loss in the second stage. Weights of the last checkpoint, the best weights and
metrics.jsonl are compared byte by byte with an uninterrupted run. The moments are every access to the disk, halfway
through writes among them, and every batch.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent / "killable_training.py"
ROOT = Path(__file__).parents[2]


def run_script(*arguments):
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(SCRIPT), *map(str, arguments)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.split("\n")


def results(folder):
    checkpoint = max((folder / "checkpoints").glob("step-*"))
    names = ("metrics.jsonl", "checkpoints/best.safetensors", f"checkpoints/{checkpoint.name}/weights.safetensors")
    leftovers = [path.name for path in folder.rglob(".*")]
    return {name: (folder / name).read_bytes() for name in names} | {"leftovers": leftovers}


@pytest.fixture(scope="module", params=["one", "two"], ids=["one loss", "two losses"])
def whole(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole") / "run"
    count, *_ = run_script(request.param, folder, "whole")
    return request.param, results(folder), int(count)


def compare_killed(folder, whole, moments):
    losses, expected, _ = whole
    output = run_script(losses, folder, "killed", *moments)
    assert output == [""], output
    for number, moment in enumerate(moments):
        assert results(folder / str(number)) == expected, f"killed at moment {moment}"


@pytest.mark.slow
@pytest.mark.ci
def test_killed_at_moments_spread_over_the_run(tmp_path, whole):
    count = whole[2]
    compare_killed(tmp_path, whole, [6, count // 3 + 1, count // 2, count * 3 // 4, count - 2])


@pytest.mark.slow
@pytest.mark.ci
def test_killed_at_every_moment(tmp_path, whole):
    compare_killed(tmp_path, whole, range(whole[2]))
