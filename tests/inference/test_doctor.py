"""What `kinema doctor` says of whole and of damaged runs, and that it changes nothing."""

import os
import shutil
from pathlib import Path

import pytest

from inference.cli import main
from inference.experiments.doctor import examine
from inference.runs.lock import training_in
from tests.inference.toy_training import VIDEOS, go
from videos import VideoBatch

OLD_RUN = Path(__file__).with_name("run_of_version_one")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "run"
    go(path, validation=VideoBatch(VIDEOS))
    return path


@pytest.fixture
def run(trained, tmp_path):
    return shutil.copytree(trained, tmp_path / "run")


def contents(path):
    return {str(item.relative_to(path)): item.read_bytes() for item in path.rglob("*") if item.is_file()}


def wrong(path):
    return {finding.file: f"{finding.found}; {finding.remedy}" for finding in examine(path) if not finding.whole}


def test_a_whole_run_is_whole(run, capsys):
    before = contents(run)
    assert main(["doctor", str(run)]) == 0
    printed = capsys.readouterr().out
    assert "checkpoints/step-00000012     whole  checksums agree\n" in printed
    assert "checkpoints/best.safetensors  whole  step 12\n" in printed
    assert "metrics.jsonl                 whole  6 lines\n" in printed
    assert "provenance.json               whole  1 process worked on the run\n" in printed
    assert "WRONG" not in printed
    assert contents(run) == before


def test_a_run_of_an_older_version_is_whole():
    findings = {finding.file: finding for finding in examine(OLD_RUN)}
    assert all(finding.whole for finding in findings.values()), findings
    assert "without checksums" in findings["checkpoints/step-00000006"].found


def test_damage_is_named_with_what_can_be_done(run, capsys):
    newest = run / "checkpoints" / "step-00000012" / "state.pt"
    newest.write_bytes(newest.read_bytes()[:-1] + b"!")
    os.truncate(run / "metrics.jsonl", 30)
    (run / "provenance.json").write_text("5")
    found = wrong(run)
    assert found.keys() == {"checkpoints/step-00000012", "metrics.jsonl", "provenance.json"}
    assert "its checksum is not the one recorded in SHA256SUMS" in found["checkpoints/step-00000012"]
    assert found["checkpoints/step-00000012"].endswith("training falls back on step-00000009")
    assert "bytes that step-00000009 recorded; training goes on from the last checkpoint" in found["metrics.jsonl"]
    assert main(["doctor", str(run)]) == 1
    assert "WRONG" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["config.json", "checkpoints", "timing.jsonl", "checkpoints/best.safetensors"])
@pytest.mark.parametrize("damage", ["gone", "empty", "nonsense"])
def test_no_damage_stops_the_doctor(run, name, damage):
    path = run / name
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    if damage != "gone":
        path.write_bytes(b"\xff[" * 1000 if damage == "nonsense" else b"")
    expected = not (damage == "gone" and name.endswith("best.safetensors"))
    assert bool(wrong(run)) == expected


def test_leftovers_and_who_trains_are_named(run):
    (run / "checkpoints" / ".step-00000013.77.partial").mkdir()
    (run / "checkpoints" / "step-00000009").rename(run / "checkpoints" / "damaged-step-00000009")
    with training_in(run):
        found = {finding.file: finding.found for finding in examine(run)}
    assert found["training.json"].startswith(f"in use: process {os.getpid()} on ")
    assert found["checkpoints/.step-00000013.77.partial"] == "left by a write that was cut off"
    assert found["checkpoints/damaged-step-00000009"] == "a damaged checkpoint that was set aside"
    (run / "training.json").write_text("{}")
    found = {finding.file: finding.found for finding in examine(run)}
    assert found["training.json"] == "left by a process that was killed"


def test_what_is_no_folder_is_refused(tmp_path, capsys):
    assert main(["doctor", str(tmp_path / "nowhere")]) == 2
    assert "is not there" in capsys.readouterr().err
