"""`kinema sweep`: which runs there are, that failures are shown beside the mean, and that the same command resumes."""

import re
import statistics
from pathlib import Path

import pytest

from inference.cli import main
from inference.cli.sweep import seeds_in
from inference.experiments import sweep as sweeps
from inference.experiments.sweep import Member, Outcome, Sweep, numbers_of, run_sweep, sweep_table
from inference.recipes import OptionError

FAKE = """
import sys
words = sys.argv[1:]
place = words[words.index("--run") + 1]
print(*words)
if words[words.index("--seed") + 1] == "1":
    sys.exit("kinema: the disk is full")
"""


def test_a_run_for_each_seed_and_combination(tmp_path):
    chosen = Sweep("cannonballs-small", (0, 2), {"guide": ("states", "filter"), "frame_size": ("28",)}, tmp_path)
    names = [member.path.name for member in chosen.members]
    assert names == [f"cannonballs-small-guide={guide}-{seed}" for seed in (0, 2) for guide in ("states", "filter")]
    first, *_ = chosen.commands()
    assert first == (
        f"kinema train cannonballs-small --run {tmp_path / names[0]} --seed 0 --quiet --guide states --frame-size 28 "
        f"&& kinema evaluate {tmp_path / names[0]}"
    )


def test_seeds_of_words():
    assert seeds_in("0-2,7") == (0, 1, 2, 7)
    for text in ("", "4-2", "a", "-1", "1-"):
        with pytest.raises(OptionError, match="--seeds: expected numbers such as 0-4"):
            seeds_in(text)


def test_table_has_mean_deviation_and_failures():
    def outcome(setting, seed, value, failure=None):
        member = Member(setting, seed, Path(f"runs/x-{setting}-{seed}"), (), ())
        return Outcome(member, {} if value is None else {"ELBO": value}, failure)

    outcomes = [
        outcome("a=1", 0, -10.0),
        outcome("a=1", 1, -12.0),
        outcome("a=2", 0, -9.0),
        outcome("a=2", 1, None, "no"),
    ]
    lines = sweep_table(outcomes).splitlines()
    assert re.split(r"\s{2,}", lines[0].strip()) == ["a=1", "a=2"]
    assert re.split(r"\s{2,}", lines[1]) == ["runs that ended well", "2 of 2", "1 of 2"]
    assert re.split(r"\s{2,}", lines[2]) == ["ELBO", f"-11 ± {statistics.stdev([-10, -12]):.3g}", "-9"]
    assert lines[3] == "failed: x-a=2-1: no"


def test_a_failing_run_stops_no_other(tmp_path, monkeypatch):
    program = tmp_path / "fake.py"
    program.write_text(FAKE)
    monkeypatch.setattr(sweeps, "PROGRAM", (sweeps.PROGRAM[0], str(program)))
    said = []
    chosen = Sweep("kvae-demo", (0, 1, 2), {}, tmp_path / "runs", None)
    outcomes = run_sweep(chosen, jobs=2, say=said.append)
    assert [one.failure is None for one in outcomes] == [True, False, True]
    assert "train failed: the disk is full (see " in outcomes[1].failure
    assert sorted(line.split(":")[0] for line in said) == [f"kvae-demo-{seed}" for seed in range(3)]
    assert "--seed 2" in outcomes[2].member.log.read_text()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("sweep kvae-dem", "Did you mean 'kvae-demo'?"),
        ("sweep kvae-demo --seeds x", "--seeds: expected numbers such as 0-4"),
        ("sweep kvae-demo --set epochs", "--set: expected NAME=VALUE, such as epochs=20"),
        ("sweep kvae-demo --set epoch=2", "--epoch: no such option; did you mean --epochs?"),
        ("sweep kvae-demo --set seed=2", "--set: expected an option other than the seed; give --seeds 0-4"),
        ("sweep kvae-demo --set epochs=2 --set epochs=3", "--set: expected epochs once"),
        ("sweep kvae-demo --jobs 0", "--jobs: expected at least 1, got 0"),
        ("sweep kvae-demo --seeds 1,1", "--seeds: expected different numbers"),
    ],
)
def test_mistakes_are_answered_in_one_line(words, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(words.split()) == 2
    captured = capsys.readouterr().err
    assert message in captured
    assert captured.count("\n") == 1


@pytest.mark.slow
def test_runs_are_trained_evaluated_and_not_again(tmp_path, capsys):
    tiny = {
        "network": "mlp",
        "num_train": "16",
        "num_validation": "4",
        "num_test": "4",
        "batch_size": "8",
        "epochs": "2",
    }
    words = ["sweep", "kvae-demo", "--seeds", "0-1", "--folder", str(tmp_path), "--num-sequences", "2", "--jobs", "2"]
    words += ["--evidence-particles", "32", "--set", "frozen_epochs=1"]
    words += [word for name, value in tiny.items() for word in ("--set", f"{name}={value}")]
    assert main(words) == 0
    printed = capsys.readouterr().out
    bounds = [numbers_of(tmp_path / f"kvae-demo-{seed}")["ELBO"] for seed in (0, 1)]
    assert f"{statistics.fmean(bounds):.5g} ± {statistics.stdev(bounds):.3g}" in printed
    before = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*/evaluation.json")}
    assert len(before) == 2
    assert main(words) == 0
    assert {path: path.stat().st_mtime_ns for path in before} == before
