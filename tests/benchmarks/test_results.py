"""Records of runs are copied into `results/`, and RESULTS.md is written from them."""

import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from inference.experiments.evaluation import Bounds, Evaluation, write_evaluation
from inference.experiments.runs import plain_config
from inference.recipes import RECIPES
from inference.runs.folder import RunFolder
from inference.scores.imputation_curves import PATTERNS, ImputationCurve
from inference.scores.trajectories import TrajectoryScores

PROGRAM = Path(__file__).parents[2] / "benchmarks" / "results.py"
RECORDS = Path(__file__).parents[2] / "results"


OLD = Bounds(-80.0, 1.0, -60.0, 1.0, 1000, 100, 0.5)  # of version 0.1.0
NEW = replace(OLD, num_particles=100, importance_weighted=-65.0, reasons="why", seconds=2.0)
HEADINGS = ("log evidence", "importance-weighted bound (K)", "k-hat > 0.7")
CONVERGED, LOWER = (
    replace(NEW, verdict="converged", width=0.05),
    replace(NEW, verdict="lower bound", log_evidence=-61.0),
)


def evaluated_run(path, recipe, errors, bounds=OLD, **scores):
    """A run folder whose imputation curves start from given errors."""
    run = RunFolder.start(path, plain_config(RECIPES[recipe]), seed=0)
    for step in (1, 2):
        run.append_metrics({"step": step, "loss": 0.0}, seconds=60.0 * step)
    curves = []
    for pattern in PATTERNS:
        levels = tuple(PATTERNS[pattern][2])
        for method, error in errors.items():
            values = tuple(error + 0.001 * place for place in range(len(levels)))
            curves.append(ImputationCurve(pattern, method, levels, values, (0.0001,) * len(levels)))
    fits = {"affine": 0.99, "quadratic": 0.99}
    scores |= {"position_r2": fits, "curves": tuple(curves)}
    write_evaluation(run, Evaluation(recipe, 2, bounds, 20, scores))
    (run.path / "checkpoints" / "best.safetensors").write_bytes(b"heavy")
    return run.path


@pytest.fixture
def write_results(tmp_path):
    def call(*runs):
        output = tmp_path / "RESULTS.md"
        command = [sys.executable, PROGRAM, *runs, "--records", tmp_path / "results", "--output", output]
        subprocess.run([str(word) for word in command], check=True, capture_output=True)
        pages = sorted((tmp_path / "results").glob("*.md"))
        return "\n".join(page.read_text() for page in [output, *pages])

    return call


@pytest.mark.slow
@pytest.mark.ci
def test_runs_of_two_days_meet_in_one_document(tmp_path, write_results):
    kalman = evaluated_run(tmp_path / "kvae-box-cpu-0", "kvae-box-cpu", {"smoothing": 0.004, "filtering": 0.006})
    first = write_results(kalman)
    assert "| C1 smoothing is no worse than filtering | holds | +0.0020 |" in first
    assert "beats the" not in first
    rival = evaluated_run(tmp_path / "vae-rnn-box-cpu-0", "vae-rnn-box-cpu", {"filtering": 0.003})
    second = write_results(rival)
    assert "| C2 smoothing beats the VAE-RNN | fails | -0.0010 |" in second
    assert write_results() == second
    assert not list((tmp_path / "results").rglob("*.safetensors"))


@pytest.mark.parametrize(
    ("group", "cells"),
    [
        ([OLD], ["", "-60.00 ± 1.00 (1000)", "50%"]),
        ([replace(OLD, pareto_k_above=0.01)], ["", "-60.00 ± 1.00 (1000)", "1%"]),
        ([replace(OLD, pareto_k_above=0.0)], ["-60.00 ± 1.00", "", "0%"]),
        ([replace(OLD, pareto_k_above=0.0, num_particles=10)], ["", "-60.00 ± 1.00 (10)", "?"]),
        ([CONVERGED], ["-60.00 ± 1.00", "-65.00 (100)", "50%"]),
        ([replace(CONVERGED, verdict="certified", pareto_k_above=None)], ["-60.00 ± 1.00", "-65.00 (100)", "?"]),
        ([replace(CONVERGED, verdict="exact", pareto_k_above=0.0)], ["-60.00 ± 1.00", "-65.00 (100)", "0%"]),
        ([LOWER], ["≥ -61.00 ± 1.00", "-65.00 (100)", "50%"]),
        ([replace(LOWER, pareto_k_above=0.0)], ["≥ -61.00 ± 1.00", "-65.00 (100)", "0%"]),
        ([CONVERGED, CONVERGED], ["-60.00", "-65.00 (100)", "50%"]),
        ([CONVERGED, LOWER], ["≥ -60.50", "-65.00 (100)", "50%"]),
        ([OLD, LOWER], ["", "-62.50 (100 to 1000)", "50%"]),
        ([replace(OLD, pareto_k_above=0.0), LOWER], ["≥ -60.50", "-62.50 (100 to 1000)", "25%"]),
    ],
)
def test_what_is_called_evidence(group, cells, monkeypatch):
    monkeypatch.syspath_prepend(PROGRAM.parent)
    from records import EVIDENCE, evidence_cells

    assert EVIDENCE == HEADINGS
    assert evidence_cells(group) == cells


def test_evidence_of_a_frame(monkeypatch):
    monkeypatch.syspath_prepend(PROGRAM.parent)
    from records import evidence_cells

    assert evidence_cells([LOWER], per=20, digits=3) == ["≥ -3.050 ± 0.050", "-3.250 (100)", "50%"]
    assert evidence_cells([OLD], per=20, digits=3) == ["", "-3.000 ± 0.050 (1000)", "50%"]


def columns(text, heading):
    """Cells of the tables that have a column, by the row's first cell and the column."""
    found, names = {}, []
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if not line.startswith("|"):
            names = []
        elif not names:
            names = cells
        elif heading in names and not line.startswith("|---"):
            found[cells[0]] = dict(zip(names, cells, strict=True))
    return found


def test_every_section_calls_the_same_numbers_evidence(tmp_path, write_results):
    """Runs of all kinds, evaluated by version 0.1.0 and since."""
    positions = TrajectoryScores({1: 0.9}, {1: 0.5}, {}, None, None, (0.0, 0.03), None, ())
    sections = {"kvae-box-cpu": {}, "air-small": {"counting": 0.9}, "sqair-small": {}}
    sections |= {"cannonballs-small": {"trajectories": positions}, "dmm-pendulum": {}}
    kinds = {"old": OLD, "converged": CONVERGED, "lower": LOWER}
    runs = [
        evaluated_run(tmp_path / f"{recipe}-{kind}", recipe, {}, bounds, **scores)
        for recipe, scores in sections.items()
        for kind, bounds in kinds.items()
    ]
    text = write_results(*runs)
    rows = columns(text, "log evidence")
    found = {name: tuple(row[heading] for heading in HEADINGS) for name, row in rows.items()}
    assert found == {
        "kvae-box-cpu-old": ("", "-60.00 ± 1.00 (1000)", "50%"),
        "kvae-box-cpu-converged": ("-60.00 ± 1.00", "-65.00 (100)", "50%"),
        "kvae-box-cpu-lower": ("≥ -61.00 ± 1.00", "-65.00 (100)", "50%"),
        "air-small-old": ("", "-60.0 ± 1.0 (1000)", "50%"),
        "air-small-converged": ("-60.0 ± 1.0", "-65.0 (100)", "50%"),
        "air-small-lower": ("≥ -61.0 ± 1.0", "-65.0 (100)", "50%"),
        "sqair-small-old": ("", "-3.00 ± 0.05 (1000)", "50%"),
        "sqair-small-converged": ("-3.00 ± 0.05", "-3.25 (100)", "50%"),
        "sqair-small-lower": ("≥ -3.05 ± 0.05", "-3.25 (100)", "50%"),
        "cannonballs-small-old": ("", "-60.0 ± 1.0 (1000)", "50%"),
        "cannonballs-small-converged": ("-60.0 ± 1.0", "-65.0 (100)", "50%"),
        "cannonballs-small-lower": ("≥ -61.0 ± 1.0", "-65.0 (100)", "50%"),
        "dmm-pendulum": ("", "-3.17 (100 to 1000)", "50%"),  # means of all three
    }
    assert "Log evidence is given where it is exact or its estimates have converged" in text


@pytest.mark.slow
@pytest.mark.ci
def test_guides_that_version_0_1_0_scored_have_no_evidence(tmp_path, write_results):
    path = evaluated_run(tmp_path / "kvae-box-cpu-0", "kvae-box-cpu", {"smoothing": 0.004, "filtering": 0.006})
    score = {"guide": "joint", "missing": "none", "elbo": -80.0, "elbo_error": 1.0, "log_evidence": -60.0}
    score |= {"log_evidence_error": 2.0, "effective_sample_size": 4.5, "pareto_k_above": 0.25}
    machine = {"cpu": "one", "threads": 1, "gpu": []}
    record = {"provenance": {"command": ["x"], "git": None, "machine": machine}, "scores": [score]}
    (path / "guides.json").write_text(json.dumps(record | {"num_particles": 1000, "num_sequences": 32}))
    row = columns(write_results(path), "effective draws")["joint"]
    assert row["log evidence"] == ""
    assert row["importance-weighted bound (K)"] == "-60.00 ± 2.00 (1000)"
    assert (row["evidence minus ELBO"], row["effective draws"], row["k-hat > 0.7"]) == ("≥ 20.00", "4.5", "25%")


@pytest.mark.slow
@pytest.mark.ci
def test_a_run_that_was_not_evaluated_is_left_out(tmp_path, write_results):
    run = RunFolder.start(tmp_path / "run", plain_config(RECIPES["kvae-box-cpu"]), seed=0)
    (tmp_path / "results").mkdir()
    assert "| run |" in write_results(run.path)
    assert [path.name for path in (tmp_path / "results").iterdir()] == ["commands.md"]


@pytest.mark.slow
@pytest.mark.ci
def test_pictures_of_a_measurement_come_along(tmp_path, write_results):
    shutil.copy(RECORDS / "overlaps.json", tmp_path)
    for way in ("frame", "overlap"):
        (tmp_path / f"overlaps-{way}.png").write_bytes(way.encode())
    text = write_results(tmp_path / "overlaps.json")
    assert "![Tracks from the overlap](overlaps-overlap.png)" in text
    assert (tmp_path / "results" / "overlaps-overlap.png").read_bytes() == b"overlap"


def test_pictures_of_the_pages_are_there():
    pages = [RECORDS.parent / "RESULTS.md", *RECORDS.glob("*.md")]
    linked = [page.parent / name for page in pages for name in re.findall(r"!\[[^]]*\]\(([^)]+)\)", page.read_text())]
    assert len(linked) > 10
    assert [str(path) for path in linked if not path.is_file()] == []
