"""These tests pin: processes that train together follow the gradient of all their sequences, end together, and leave a
run that another number of processes can resume. Two processes with gloo on this machine."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from inference import RunFolder
from inference.runtime.processes import ALONE, Processes
from tests.inference.toy_training import VIDEOS
from videos import VideoBatch

SCRIPT = Path(__file__).parent / "joint_training.py"
ROOT = Path(__file__).parents[2]


def launch(count, *arguments, program=(str(SCRIPT),), check=True):
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    together = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={count}"] if count > 1 else []
    command = [sys.executable, *together, *program, *map(str, arguments)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0 or not check, done.stderr[-3000:]
    return done


@pytest.mark.slow
@pytest.mark.ci
def test_two_processes_step_as_one_on_the_union(tmp_path):
    """Three sequences here, two there: losses, gradient norms (clipped) and weights after three steps."""
    for count in (1, 2):
        launch(count, tmp_path / f"{count}.pt", "steps")
    alone, together = (torch.load(tmp_path / f"{count}.pt") for count in (1, 2))
    torch.testing.assert_close(together, alone, rtol=1e-9, atol=1e-12)


@pytest.mark.slow
@pytest.mark.ci
def test_evidence_and_imputation_errors_are_those_of_one_process(tmp_path):
    for count in (1, 2):
        launch(count, tmp_path / f"{count}.pt", "scores")
    alone, together = (torch.load(tmp_path / f"{count}.pt") for count in (1, 2))
    assert together["weights"].equal(alone["weights"])
    torch.testing.assert_close(together["errors"], alone["errors"])


@pytest.mark.slow
@pytest.mark.ci
@pytest.mark.parametrize(("first", "second"), [(2, 1), (1, 2)], ids=["two, then one", "one, then two"])
def test_a_run_goes_on_with_another_number_of_processes(tmp_path, first, second):
    path = tmp_path / "run"
    launch(first, path, "train", 6)
    launch(second, path, "train", 12)
    run = RunFolder.open(path)
    records = run.metrics()
    assert [record["step"] for record in records] == [2, 4, 6, 8, 10, 12]
    assert all(torch.isfinite(torch.tensor(record["loss"])) for record in records)
    assert run.last_checkpoint().state["step"] == 12
    assert len(run.provenance) == 2


@pytest.mark.slow
@pytest.mark.ci
def test_a_process_that_dies_ends_the_run_and_the_last_checkpoint_is_whole(tmp_path):
    done = launch(2, tmp_path / "run", "die", 12, check=False)
    assert done.returncode != 0
    assert "exitcode" in done.stderr
    assert RunFolder.open(tmp_path / "run").last_checkpoint().state["step"] == 6
    launch(1, tmp_path / "run", "train", 12)
    assert RunFolder.open(tmp_path / "run").last_checkpoint().state["step"] == 12


@pytest.mark.slow
@pytest.mark.ci
def test_the_command_line_trains_in_two_processes(tmp_path):
    """With `--` before the module: `--run` would be taken for an option of torchrun."""
    sizes = ["--channels", 2, "--num-train", 8, "--num-validation", 2, "--num-test", 2, "--batch-size", 4]
    words = ["train", "kvae-demo", *sizes, "--epochs", 2, "--frozen-epochs", 1, "--run", tmp_path / "run"]
    printed = launch(2, *words, program=("-m", "--", "kinema")).stdout
    assert printed.count("2 processes") == 1
    assert RunFolder.open(tmp_path / "run").last_checkpoint().state["step"] == 4


@pytest.mark.parametrize("size", [2, 3, 5])
def test_shares_are_the_batch(size):
    batch = VideoBatch(VIDEOS[:5])
    shares = [Processes(rank, size).share(batch).frames for rank in range(size)]
    assert torch.cat(shares).equal(batch.frames)
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_refusals():
    with pytest.raises(ValueError, match="batch: expected at least one sequence for each of 6 processes, got 5"):
        Processes(0, 6).share(VideoBatch(VIDEOS[:5]))
    with pytest.raises(ValueError, match="rank: expected 0 to 1, got 2"):
        Processes(2, 2)
    assert ALONE.share(batch := VideoBatch(VIDEOS)) is batch
