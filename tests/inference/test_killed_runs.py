"""A run that is killed by SIGKILL, at any moment, resumes and ends with the same bits as one that was not; and so does
one that is killed, terminated, stopped while another starts, and runs out of disk, in any order.

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


OUTCOMES = {
    "killed": {"-9", "0"},  # 0: the run had fewer moments left
    "terminated": {"143", "0"},
    "full": {"28", "0"},
    "refused": {"second 75, first 0", "ended before"},
    "forced": {"second 0, first 75", "second 0, first 0", "ended before"},  # first 0: it found the run finished
    "last": {"0"},
}


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


def compare_chaos(folder, whole, seeds):
    """What becomes of each training is said by its exit status, and the bits at the end are those of a whole run."""
    losses, expected, count = whole
    *lines, end = run_script(losses, folder, "chaos", count, *seeds)
    assert end == ""
    seen = set()
    for seed, line in zip(seeds, lines, strict=True):
        for event in line.split("; "):
            how, outcome = event.split(": ")
            assert outcome in OUTCOMES[how], f"seed {seed}: {line}"
            seen.add((how, outcome))
        assert results(folder / str(seed)) == expected, f"seed {seed}: {line}"
    return seen


@pytest.mark.slow
@pytest.mark.ci
def test_a_hundred_trainings_in_chaos(tmp_path, whole):
    seen = compare_chaos(tmp_path, whole, range(100, 200))
    rare = {("forced", "second 0, first 0"), ("terminated", "0")}
    assert seen | rare == {(how, outcome) for how, outcomes in OUTCOMES.items() for outcome in outcomes}
