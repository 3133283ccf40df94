"""The command line: what works, the message where it does not, and that an interrupted run resumes."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from inference.cli import COMMANDS, main
from inference.experiments.evaluation import read_evaluation, write_evaluation
from inference.recipes import RECIPES
from inference.runs.folder import RunFolder

ROOT = Path(__file__).parents[2]
TINY = (
    "--network mlp --num-train 16 --num-validation 4 --num-test 4 --batch-size 8 --epochs 2 --frozen-epochs 1".split()
)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of four steps."""
    path = tmp_path_factory.mktemp("runs") / "tiny"
    assert main(["train", "kvae-demo", "--run", str(path), "--quiet", *TINY]) == 0
    return path


def test_recipes_are_listed(capsys):
    assert main(["recipes"]) == 0
    listed = capsys.readouterr().out
    assert all(name in listed for name in RECIPES)


def test_options_of_a_recipe_are_listed(capsys):
    assert main(["train", "kvae-box", "--help"]) == 0
    listed = re.sub(r"[\s│]+", " ", capsys.readouterr().out)
    assert "Fraccaro et al. 2017, figures 3a and 3b" in listed
    assert "--reconstruction-weight FLOAT weight on log p(x | a) in training" in listed
    assert "--frame-shape INT INT INT channels, height, width. (default: 1 32 32)" in listed
    assert "--mixture {lstm,mlp,fifo}" in listed


@pytest.mark.parametrize("words", ["recipes", "train sqair-small --help"])
def test_output_that_nobody_reads_is_no_error(words):
    command = [sys.executable, "-c", "import sys; from inference.cli import main; sys.exit(main())", *words.split()]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        process.stdout.close()  # as `head` does when it has read its lines
        assert process.stderr.read() == ""
    assert process.returncode == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("train kvae-bx", "there is no recipe 'kvae-bx'. Did you mean 'kvae-box'?"),
        ("trian", "there is no command 'trian'. Did you mean 'train'?"),
        ("compare", "runs: expected the folders of the runs to compare, got none"),
        ("train kvae-box --data nowhere", "nowhere"),
        ("evaluate .", "is no run"),
        ("render nowhere", "is not there"),
        ("compare nowhere elsewhere", "is not there"),
    ],
)
def test_mistakes_are_answered_in_one_line(words, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(words.split()) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.err.count("\n") == 1
    assert "Traceback" not in captured.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("", "Expected one of {demo, recipes"),
        ("train", "Expected one of {air, air-small"),
        ("train kvae-box --epoch 3", "Perhaps you meant: --epochs INT"),
        ("train kvae-box --epochs", "Missing value for argument '--epochs'"),
        ("train kvae-box 3", "Unrecognized options: 3"),
        ("train kvae-box --compile fast", "invalid choice 'fast' for argument '--compile'"),
        ("evaluate", "Missing from kinema evaluate: PATH folder of the run"),
        ("recipes kvae-box", "Unrecognized options: kvae-box"),
    ],
)
def test_words_that_no_command_takes_are_refused(words, message, capsys):
    assert main(words.split()) == 2
    assert message in re.sub(r"[\s│╭╮╰╯─•]+", " ", capsys.readouterr().err)


@pytest.mark.parametrize("words", ["", *(f"{command} " for command in COMMANDS)])
def test_every_command_has_help(words, capsys):
    assert main([*words.split(), "--help"]) == 0
    assert f"usage: kinema {words}" in capsys.readouterr().out


@pytest.mark.parametrize("words", ["train kvae-box", "evaluate .", "compare . ..", "render ."])
def test_devices_that_are_not_there_are_refused(words, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for device, message in (("gpu", "expected cpu or cuda, got 'gpu'"), ("cuda", "this machine has no CUDA device")):
        assert main([*words.split(), "--device", device]) == 2
        assert f"kinema: --device: {message}" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_trained_run_has_what_it_takes_to_repeat_it(run):
    config = json.loads((run / "config.json").read_text())
    assert config["recipe"] == "kvae-demo"
    assert config["fields"]["num_train"] == 16
    (entry,) = json.loads((run / "provenance.json").read_text())
    assert entry["seed"] == 0
    steps = [json.loads(line)["step"] for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert steps[-1] == 4


def test_finished_run_is_left_as_it_is(run, capsys):
    before = (run / "metrics.jsonl").read_bytes()
    assert main(["train", "kvae-demo", "--run", str(run), "--quiet", *TINY]) == 0
    assert (run / "metrics.jsonl").read_bytes() == before


def test_other_options_on_the_same_folder_are_refused(run, capsys):
    assert main(["train", "kvae-demo", "--run", str(run), "--quiet", *TINY, "--learning-rate", "0.1"]) == 2
    assert "learning_rate" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.ci
def test_evaluate_then_render(run, capsys):
    words = "--num-particles 6 --evidence-particles 32 --num-sequences 3 --num-masks 1".split()
    assert main(["evaluate", str(run), *words]) == 0
    printed = capsys.readouterr().out
    assert "smoothing" in printed
    evaluation = json.loads((run / "evaluation.json").read_text())
    bounds = evaluation["bounds"]
    assert bounds["elbo"] < bounds["importance_weighted"] < bounds["log_evidence"]  # six draws, eight filters of 32
    assert (bounds["verdict"], bounds["width"], bounds["pareto_k_above"]) == ("lower bound", None, None)
    assert re.fullmatch("particle filters, 8 repeats of up to 32 particles; .*; one rung only", bounds["reasons"])
    assert f"\nlower bound: {bounds['reasons']}\n" in printed
    weighted = f"importance-weighted  {bounds['importance_weighted']:10.2f}    bound of 6 draws, too few for k-hat\n"
    assert weighted in printed
    found = re.search(r"\nlower bound +(\S+) \+- (\S+) over 3 sequences, (\S+) s each\n", printed)
    stored = (bounds["log_evidence"], bounds["log_evidence_error"], bounds["seconds"])
    assert [float(number) for number in found.groups()] == pytest.approx(stored, rel=0.05)
    assert bounds["seconds"] > 0
    assert "log evidence" not in printed
    curves = {(curve["pattern"], curve["method"]): curve for curve in evaluation["scores"]["curves"]}
    assert set(curves) == {
        (pattern, method) for pattern in ("random", "gap") for method in ("smoothing", "filtering", "last frame")
    }
    smoothing, filtering = (
        next(
            curve
            for curve in evaluation["scores"]["curves"]
            if (curve["pattern"], curve["method"]) == ("random", method)
        )
        for method in ("smoothing", "filtering")
    )
    assert smoothing["errors"][-1] == pytest.approx(filtering["errors"][-1])  # nothing is seen after a gap without end
    assert main(["render", str(run)]) == 0
    pictures = capsys.readouterr().out.split()
    assert {Path(picture).name for picture in pictures} >= {"imputation-0.png", "imputation-0.gif", "codes.png"}
    assert all(Path(picture).stat().st_size > 1000 for picture in pictures)


def test_compare(run, capsys):
    few = "--evidence-particles 32 --num-sequences 3".split()
    assert main(["compare", str(run), str(run), *few]) == 2
    assert "same name" in capsys.readouterr().err
    other = run.with_name("other")
    assert main(["train", "kvae-demo", "--run", str(other), "--quiet", *TINY, "--seed", "1"]) == 0
    capsys.readouterr()
    picture = other.parent / "compare.png"
    assert main(["compare", str(run), str(other), *few, "--picture", str(picture)]) == 0
    assert picture.read_bytes().startswith(b"\x89PNG")
    printed = capsys.readouterr().out
    assert "tiny" in printed
    assert "other" in printed


def test_truncated_weights_are_named(run, tmp_path, capsys):
    import shutil

    broken = tmp_path / "broken"
    shutil.copytree(run, broken)
    for path in broken.rglob("*.safetensors"):
        path.write_bytes(path.read_bytes()[:100])
    with pytest.warns(UserWarning, match="not a whole file of weights"):
        assert main(["evaluate", str(broken)]) == 2
    assert "safetensors" in capsys.readouterr().err


@pytest.mark.slow
def test_interrupted_command_says_how_to_go_on_and_does(tmp_path):
    path = tmp_path / "run"
    words = ["train", "kvae-demo", "--run", str(path), "--quiet", *TINY, "--epochs", "200"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [sys.executable, "-m", "kinema", *words], cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 120
    while not (path / "metrics.jsonl").is_file() and time.monotonic() < deadline:
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, printed = process.communicate(timeout=60)
    assert process.returncode == 130
    assert f"resume with: kinema {' '.join(words)}\n" in printed
    assert main(words) == 0
    steps = [json.loads(line)["step"] for line in (path / "metrics.jsonl").read_text().splitlines()]
    assert steps[-1] == 400
    assert steps == sorted(set(steps))


@pytest.mark.slow
def test_demo(tmp_path, capsys):
    assert main(["demo", "--run", str(tmp_path / "demo"), "--num-train", "64"]) == 0
    printed = capsys.readouterr().out
    line = r"\n    log evidence( at least)? .* over 8 videos\n    (converged|lower bound): "
    bounded, verdict = re.search(line, printed).groups()
    assert (bounded is not None) == (verdict == "lower bound")
    assert "Kalman VAE, smoothing" in printed
    assert ".gif" in printed


def test_a_guide_of_point_masses_has_no_bound(tmp_path, capsys):
    path = tmp_path / "ae"
    words = (
        "--channels 2 --num-train 8 --num-validation 2 --num-test 2 --batch-size 4 --epochs 2 --pretraining-epochs 1"
    )
    assert main(["train", "ae-rnn-box", "--run", str(path), "--quiet", *words.split()]) == 0
    capsys.readouterr()
    assert main(["evaluate", str(path), "--num-masks", "1"]) == 0
    printed = capsys.readouterr().out
    for words in ("ELBO", "importance-weighted", "lower bound", "log evidence", "nats per sequence"):
        assert words not in printed
    assert "filtering" in printed
    assert read_evaluation(RunFolder.open(path)).bounds is None


BALLS = "--num-train 20 --num-validation 4 --num-test 6 --batch-size 10 --quiet".split()


@pytest.mark.parametrize(
    ("recipe", "options", "method", "picture", "verdict"),
    [
        pytest.param(
            "cannonballs-small",
            "--state-dim 8 --epochs 3 --frozen-epochs 1 --annealing-epochs 1",
            "first frames",
            "paths-interpolated.png",
            "lower bound",
            marks=pytest.mark.slow,
        ),
        (
            "ed-lstm-small",
            "--state-dim 8 --code-dim 4 --hidden-dim 6 --epochs 1",
            "autoregressive",
            "overlay-0.png",
            "exact",
        ),
    ],
)
def test_cannonballs_from_training_to_pictures(recipe, options, method, picture, verdict, tmp_path, capsys):
    path = tmp_path / "run"
    assert main(["train", recipe, "--run", str(path), *BALLS, *options.split()]) == 0
    few = "--num-particles 3 --evidence-particles 32 --num-sequences 2".split()
    assert main(["evaluate", str(path), *few]) == 0
    printed = capsys.readouterr().out
    names = {"lower bound": "lower bound", "exact": "log evidence"}
    assert [re.search(f"^{name}  +-", printed, re.MULTILINE) is not None for name in names.values()] == [
        verdict == "lower bound",
        verdict == "exact",
    ]
    assert re.search(f"^{verdict}: ", printed, re.MULTILINE)
    assert re.search(f"forecast +{method} +2", printed)
    assert ("R2 of positions" in printed) == (recipe == "cannonballs-small")
    folder = RunFolder.open(path)
    evaluation = read_evaluation(folder)
    assert evaluation.scores.get("trajectories").predictions[0].query == "forecast"
    bounds = evaluation.bounds
    assert bounds.verdict == verdict
    if verdict == "exact":
        assert bounds.width == 0
        assert bounds.log_evidence == pytest.approx(bounds.elbo) == pytest.approx(bounds.importance_weighted)
    write_evaluation(folder, evaluation)
    assert read_evaluation(folder) == evaluation
    assert main(["render", str(path)]) == 0
    pictures = [Path(line) for line in capsys.readouterr().out.split()]
    assert picture in {one.name for one in pictures}
    assert all(one.stat().st_size > 1000 for one in pictures)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--world box", "--world: expected cannonballs, got 'box'"),
        ("--data somewhere", "--data: expected none, since cannonballs are simulated, got somewhere"),
        ("--missing 0.5", "--missing: expected 0, got 0.5"),
        (
            "--num-frames 10",
            "--num-frames: expected more than 10, the number of observed frames in interpolation, got 10",
        ),
        ("--guide smoother", "invalid choice 'smoother' for argument '--guide'"),
        ("--epochs 3", "--frozen-epochs, --annealing-epochs: expected positive numbers whose sum is below epochs = 3"),
    ],
)
def test_options_that_cannonballs_do_not_have(words, message, tmp_path, capsys):
    assert main(["train", "cannonballs-small", "--run", str(tmp_path / "run"), *words.split(), "--quiet"]) == 2
    assert message in capsys.readouterr().err
