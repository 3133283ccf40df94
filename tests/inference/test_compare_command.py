"""`kinema compare` and `--test FILE`: what is compared, what is refused, and with which exit status."""

import json
import re
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

import inference.cli.compare
from inference.cli import main
from inference.evidence import Budget
from inference.experiments.evaluate import run_evidence
from inference.experiments.given_videos import with_test_videos
from inference.experiments.runs import load_run
from videos import BoxWorld, Cannonballs, Pendulum, PongWorld, load_videos, save_videos

TINY = "--network mlp --num-train 16 --num-validation 4 --batch-size 8 --epochs 2 --frozen-epochs 1 --quiet".split()
FEW = "--evidence-particles 32 --num-sequences 5".split()
RUNS = {
    "first": "--num-test 6",
    "second": "--num-test 9 --seed 1",
    "pong": "--num-test 6 --world pong",
}
POINTS = "--channels 2 --num-train 8 --num-validation 2 --num-test 6 --batch-size 4 --epochs 2 --pretraining-epochs 1"


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Three runs of four steps; two of one world, with other numbers of test videos."""
    folder = tmp_path_factory.mktemp("runs")
    for name, options in RUNS.items():
        assert main(["train", "kvae-demo", "--run", str(folder / name), *TINY, *options.split()]) == 0
    return folder


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """Videos that no run was trained or tested on."""
    path = tmp_path_factory.mktemp("videos") / "others.npz"
    save_videos(path, PongWorld().simulate(4, torch.Generator().manual_seed(7)))
    return path


def compare(runs, *names, more=()):
    return main(["compare", *(str(runs / name) for name in names), *FEW, *map(str, more)])


@pytest.mark.slow
@pytest.mark.ci
def test_runs_with_other_numbers_of_test_videos_are_compared_on_those_of_both(runs, capsys):
    assert compare(runs, "first", "second", more=["--num-sequences", 100]) == 0
    printed = capsys.readouterr().out
    assert "nats per sequence over 6 sequences" in printed
    assert "5 degrees of freedom" in printed
    assert "difference [95 %]" in printed
    verdict = "lower bound"  # one rung
    assert [line.count(verdict) for line in printed.splitlines()[1:3]] == [1, 1]
    assert "lower bound: the log evidence may lie well above the estimate" in printed
    for name in ("first", "second"):
        words = "particle filters, 8 repeats of up to 32 particles; .*; one rung only"
        assert re.search(f"^warning: {name}: {words}$", printed, re.MULTILINE)
    assert "k-hat; whether" not in printed
    assert compare(runs, "first", "second") == 0
    assert "nats per sequence over 5 sequences" in capsys.readouterr().out


def test_runs_on_other_videos_have_no_difference(runs, tmp_path, capsys):
    picture = tmp_path / "picture.png"
    assert compare(runs, "first", "pong", more=["--picture", picture]) == 1
    captured = capsys.readouterr()
    assert captured.err == (
        "kinema: evidences: expected the same videos, missing frames and kind of probability for all models, but the "
        "videos differ ('first' against 'pong'); evaluate all models on the same videos in the same order (kinema "
        "compare RUN RUN --test FILE)\n"
    )
    assert [line.split()[0] for line in captured.out.splitlines()[:3]] == ["model", "first", "pong"]
    assert "log evidence" in captured.out
    for word in ("difference", "best", "corrected", "*"):
        assert word not in captured.out
    assert not picture.exists()


@pytest.mark.slow
@pytest.mark.ci
def test_runs_of_two_worlds_are_compared_on_the_videos_of_a_file(runs, file, capsys):
    assert compare(runs, "first", "pong", more=["--test", file]) == 0
    printed = capsys.readouterr().out
    assert "nats per sequence over 4 sequences" in printed
    assert "difference [95 %]" in printed
    (line,) = (line for line in printed.splitlines() if line.startswith("first"))
    evidence = run_evidence(replace(load_run(runs / "first"), test=load_videos(file)), 4, Budget(particles=32))
    assert f" {evidence.log_evidence.mean().item():.2f} +- " in line
    assert compare(runs, "pong", more=["--test", file]) == 0  # one alone
    assert "difference" not in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.ci
@pytest.mark.parametrize(
    ("records", "reason"),
    [
        ({"videos": "other"}, "the videos differ ('first' against 'second')"),
        ({"mask": "other"}, "the missing frames differ ('first' against 'second')"),
        (
            {"log_evidence": torch.tensor([0.0, torch.nan], dtype=torch.float64)},
            "expected finite log evidence, got nan",
        ),
    ],
)
def test_what_the_library_refuses_ends_with_status_one(records, reason, runs, monkeypatch, capsys):
    kept = {}

    def record(run, num_sequences, budget, **options):
        assert (num_sequences, budget) == (5, Budget(particles=32))
        found = run_evidence(run, 2, budget, **options)
        kept[run.folder.path.name] = found if not kept else replace(found, **records)
        return kept[run.folder.path.name]

    monkeypatch.setattr(inference.cli.compare, "run_evidence", record)
    assert compare(runs, "first", "second") == 1
    captured = capsys.readouterr()
    assert reason in captured.err
    assert captured.err.count("\n") == 1
    assert "difference" not in captured.out
    assert {line.split()[0] for line in captured.out.splitlines()[1:3]} == {"first", "second"}


def test_two_folders_of_one_name_are_refused(runs, tmp_path, monkeypatch, capsys):
    shutil.copytree(runs / "first", tmp_path / "first")
    assert main(["compare", str(runs / "first"), str(tmp_path / "first"), *FEW]) == 2
    assert capsys.readouterr().err == (
        "kinema: runs: expected folders with different names, since the table lists runs by name, got two with the "
        "same name 'first'; rename one of them\n"
    )
    monkeypatch.chdir(runs / "first")
    assert main(["compare", ".", str(tmp_path / "first"), *FEW]) == 2
    assert "got two with the same name 'first'" in capsys.readouterr().err


@pytest.mark.parametrize("order", [("first", "points"), ("points", "first"), ("points",)])
def test_a_run_of_point_masses_is_refused_by_name_before_any_is_weighed(order, runs, tmp_path, monkeypatch, capsys):
    path = tmp_path / "points"
    assert main(["train", "ae-rnn-box", "--run", str(path), "--quiet", *POINTS.split()]) == 0
    capsys.readouterr()
    weighed = []
    monkeypatch.setattr(inference.cli.compare, "run_evidence", lambda *args, **options: weighed.append(args))
    assert main(["compare", *(str(path if name == "points" else runs / name) for name in order), *FEW]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith(
        "kinema: run 'points' has no evidence: guide: expected a density for every latent site, 'a' is a point mass"
    )
    assert "Draw from a distribution with a density" in captured.err
    assert captured.err.count("\n") == 1
    assert captured.out == ""
    assert not weighed


def test_weighing_refuses_point_masses_by_the_name_of_the_run(tmp_path):
    path = tmp_path / "points"
    assert main(["train", "ae-rnn-box", "--run", str(path), "--quiet", *POINTS.split()]) == 0
    with pytest.raises(ValueError, match="run 'points' has no evidence: guide: expected a density"):
        run_evidence(load_run(path), 2, Budget(particles=32))


@pytest.mark.parametrize("command", ["compare", "evaluate"])
def test_too_few_particles_are_refused_before_a_run_is_read(command, tmp_path, capsys):
    assert main([command, str(tmp_path / "nowhere"), "--evidence-particles", "31"]) == 2
    assert capsys.readouterr().err == (
        "kinema: --evidence-particles: expected at least 32 particles per repeat, got 31; leave it out for the default "
        "of 2048\n"
    )


def test_unknown_options_are_refused(tmp_path, capsys):
    assert main(["compare", str(tmp_path), "--evidence-particle", "1000"]) == 2
    printed = capsys.readouterr().err
    assert "Unrecognized options: --evidence-particle" in printed
    assert "--evidence-particles N" in printed
    assert main(["compare", str(tmp_path), "--xyz"]) == 2
    assert "Perhaps you meant" not in capsys.readouterr().err


@pytest.mark.slow
def test_evaluate_on_the_videos_of_a_file_leaves_the_record_alone(runs, file, capsys):
    words = ["evaluate", str(runs / "first"), *FEW, "--num-masks", "1"]
    assert main(words) == 0
    own = capsys.readouterr().out
    before = (runs / "first" / "evaluation.json").read_bytes()
    assert main([*words, "--test", str(file)]) == 0
    other = capsys.readouterr().out
    assert "written to" in own
    assert "written to" not in other
    assert "lower bound  " in other
    assert "log evidence" not in other  # estimates of one rung have not converged
    assert next(line for line in own.splitlines() if "ELBO" in line) not in other
    assert (runs / "first" / "evaluation.json").read_bytes() == before
    assert json.loads(before)["bounds"]["num_sequences"] == 5


def test_a_file_gives_videos_masks_and_truth(runs, tmp_path):
    run = load_run(runs / "first")
    videos = BoxWorld().simulate(3, torch.Generator().manual_seed(1))
    observed = torch.rand(3, 20, generator=torch.Generator().manual_seed(2)) > 0.3
    save_videos(tmp_path / "masked.npz", videos.with_observed(observed))
    given = with_test_videos(run, tmp_path / "masked.npz")
    assert torch.equal(given.test.frames, videos.frames)
    assert torch.equal(given.test.observed, observed)
    assert torch.equal(given.test.positions, videos.positions)
    assert (given.model, given.step, given.recipe) == (run.model, run.step, run.recipe)
    assert run.test.num_sequences == 6


def frames(**fields):
    return BoxWorld(**fields).simulate(3, torch.Generator().manual_seed(1))


def changed(value):
    videos = frames()
    altered = videos.frames.clone()
    altered[1, 2, 0, 3, 4] = value
    return replace(videos, frames=altered)


WRONG = {
    "larger": (
        frames(size=40),
        r"frames of .*: expected \(sequences, time, channels, height, width\) = \(..., 20, 1, 32, 32\), as in the test "
        r"videos of 'first', got \(..., 20, 1, 40, 40\); give videos of the kind that the run was trained on",
    ),
    "longer": (frames(num_frames=25), r"frames of .*, got \(..., 25, 1, 32, 32\); "),
    "controls": (
        replace(frames(), controls=torch.zeros(3, 20, 2)),
        r"controls of .*: expected \(sequences, time, control\) = none, as in .*'first', got \(..., 20, 2\); give ",
    ),
    "bytes": (
        replace(frames(), frames=255 * frames().frames),
        r"frames of .*: expected values from 0 \(black\) to 1 \(white\), got 0 to 255; .*: divide by 255",
    ),
    "negative": (changed(-0.5), r"frames of .*: expected values from 0 \(black\) to 1 \(white\), got -0.5 to 1; "),
    "nan": (changed(torch.nan), r"got NaN \(1 of 61440 are not finite\); .*observed=\.\.\.\) marks frames as missing"),
    "grey": (changed(0.25), r"frames of .*: expected 0 and 1 only, .*'first', got 0.25 among others; make them binary"),
}


@pytest.mark.parametrize("kind", WRONG)
@pytest.mark.parametrize("command", ["compare", "evaluate"])
def test_videos_of_another_kind_are_refused_by_name(kind, command, runs, tmp_path, capsys):
    videos, message = WRONG[kind]
    save_videos(tmp_path / "wrong.npz", videos)
    with pytest.raises(ValueError, match=message):
        with_test_videos(load_run(runs / "first"), tmp_path / "wrong.npz")
    assert main([command, str(runs / "first"), *FEW, "--test", str(tmp_path / "wrong.npz")]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("kinema: ")
    assert captured.err.count("\n") == 1
    assert captured.out == ""


def test_controls_that_a_run_needs_are_asked_for(runs, tmp_path):
    balls = Cannonballs(num_frames=12, size=16, max_balls=2).simulate(2, torch.Generator().manual_seed(0))
    run = replace(load_run(runs / "first"), test=balls)
    save_videos(tmp_path / "without.npz", replace(balls, controls=None))
    with pytest.raises(ValueError, match=r"controls of .* = \(..., 12, 2\), as in .*'first', got none; give videos"):
        with_test_videos(run, tmp_path / "without.npz")
    save_videos(tmp_path / "with.npz", balls)
    assert torch.equal(with_test_videos(run, tmp_path / "with.npz").test.controls, balls.controls)


def test_grey_runs_take_grey_videos_and_what_is_missing_is_not_looked_at(runs, tmp_path):
    run = load_run(runs / "first")
    grey = Pendulum().simulate(2, torch.Generator().manual_seed(0))
    save_videos(tmp_path / "grey.npz", grey)
    taken = with_test_videos(replace(run, test=grey.select(slice(0, 1))), tmp_path / "grey.npz")
    assert torch.equal(taken.test.frames, grey.frames)
    observed = torch.ones(3, 20, dtype=torch.bool)
    observed[1, 2] = False
    save_videos(tmp_path / "hidden.npz", changed(torch.nan).with_observed(observed))
    assert with_test_videos(run, tmp_path / "hidden.npz").test.frames.isnan().sum() == 1
    save_videos(tmp_path / "hidden.npz", changed(torch.nan).with_observed(torch.zeros_like(observed)))
    assert not with_test_videos(run, tmp_path / "hidden.npz").test.observed.any()


@pytest.mark.parametrize("command", ["compare", "evaluate"])
def test_files_that_hold_no_videos_are_refused(command, runs, tmp_path, capsys):
    np.savez(tmp_path / "weights.npz", weights=np.zeros(3))
    for name, message in (("weights.npz", "with none; save one of them alone"), ("nowhere.npz", "which is not there")):
        assert main([command, str(runs / "first"), *FEW, "--test", str(tmp_path / name)]) == 2
        assert message in capsys.readouterr().err
