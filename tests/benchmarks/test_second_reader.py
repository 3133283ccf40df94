"""What can be computed again from the committed records is, and compared: documents, scores, means, standard errors.

The means are taken by numpy from the rows of a record, and compared with the tables that people read.
"""

import json
import re
import shutil
from dataclasses import replace

import numpy as np
import pytest

from inference.scores.clip_tracking import summarize_clip_tracks
from tests.benchmarks.programs import PROGRAMS, run
from videos import read_tracks

ROOT = PROGRAMS.parent
RECORDS = ROOT / "results"
TRACKERS = json.loads((RECORDS / "trackers-variants.json").read_text())["rows"]


def record(name):
    return json.loads((RECORDS / name).read_text())


def cells(name, start):
    """The cells of the table row of a document that starts so."""
    lines = (RECORDS / name).read_text().splitlines()
    line = next(line for line in lines if line.startswith(f"| {start} |"))
    return [cell.strip() for cell in line.strip("|").split("|")][1:]


@pytest.mark.slow
@pytest.mark.ci
def test_documents_are_what_the_program_writes_from_the_records(tmp_path):
    shutil.copytree(RECORDS, tmp_path / "results")
    run("results.py", "--records", tmp_path / "results", "--output", tmp_path / "RESULTS.md")
    assert (tmp_path / "RESULTS.md").read_text() == (ROOT / "RESULTS.md").read_text()
    for page in RECORDS.glob("*.md"):
        assert (tmp_path / "results" / page.name).read_text() == page.read_text(), page.name


def test_records_name_no_folder_of_a_machine():
    for path in [ROOT / "RESULTS.md", *RECORDS.rglob("*.json"), *RECORDS.rglob("*.md")]:
        assert not re.search(r"/(home|root|tmp|work)/", path.read_text()), path


@pytest.mark.parametrize("setting", sorted({row["setting"] for row in TRACKERS}))
def test_means_over_seeds_of_trackers(setting):
    rows = [row for row in TRACKERS if row["setting"] == setting]
    kinds = {"air": "AIR", "find": "FIND", "rect-find": "RECT/FIND", "find-mot": "FIND/MOT", "vtssi": "VTSSI"}
    world, kind = setting.split(": ")
    found = cells("vtssi.md", f"{world}: {kinds[kind]}")
    columns = [100 * np.array([row["counted"] for row in rows])]
    names = ("inference",) if kind == "air" else ("inference", "prediction")
    columns += [
        100 * np.array([row["errors"][name]["mean"] / row["errors"]["frame_width"] for row in rows]) for name in names
    ]
    for text, values in zip(found, columns, strict=False):
        mean, *error = map(float, text.split(" ± "))
        assert mean == pytest.approx(values.mean(), abs=0.0051)
        if len(rows) > 1:
            assert error == pytest.approx([values.std(ddof=1) / len(rows) ** 0.5], abs=0.0051)
    assert found[-1] == ", ".join(str(row["seed"]) for row in rows)


def test_means_over_videos_of_evidence():
    for row in record("evidence.json")["rows"]:
        assert np.mean(row["each"]) == pytest.approx(row["log_evidence"], rel=1e-9)
        assert np.mean(row["importance_weighted_each"]) == pytest.approx(row["importance_weighted"], rel=1e-9)
        assert row["importance_weighted"] <= row["log_evidence"] + 3 * row["stated_error"]


@pytest.mark.slow
def test_the_calibration_of_indices(tmp_path):
    run("index_calibration.py", "--output", tmp_path / "found.json")
    found, stated = json.loads((tmp_path / "found.json").read_text()), record("index_calibration.json")
    assert found["indices"].keys() == stated["indices"].keys()
    for fault, expected in stated["indices"].items():
        for name, number in expected.items():
            assert found["indices"][fault][name] == pytest.approx(number, rel=1e-5), (fault, name)


@pytest.mark.slow
@pytest.mark.parametrize("only", ["blobs", "people, smoothed"])
def test_trackers_of_the_pedestrians(only, data_folder, tmp_path):
    clip = data_folder / "video" / "vtest.avi"
    run("pedestrians.py", clip, clip.with_name("vtest-truth.txt"), "--only", only, "--output", tmp_path / "found.json")
    found, stated = json.loads((tmp_path / "found.json").read_text()), record("pedestrians.json")
    assert found["rows"]["whole"]
    for part, rows in found["rows"].items():
        for name, row in rows.items():
            for scores in ("scores", "scores_of_all"):
                expected = stated["rows"][part][name][scores]
                for score in ("mota", "idf1", "hota", "motp"):  # other processors round the filters otherwise
                    assert row[scores][score] == pytest.approx(expected[score], abs=0.005), (part, name, score)
                assert row[scores]["true_boxes"] == expected["true_boxes"]


@pytest.mark.slow
def test_scores_agree_with_one_another(data_folder):
    """MOTA, by its definition, from the counts beside it."""
    truth = replace(read_tracks(data_folder / "video" / "vtest-truth.txt"), confidences=None)
    assert summarize_clip_tracks(truth, truth).mota == 1.0
    for rows in record("pedestrians.json")["rows"].values():
        for row in rows.values():
            for scores in (row["scores"], row["scores_of_all"]):
                faults = scores["misses"] + scores["false_alarms"] + scores["switches"]
                assert scores["mota"] == pytest.approx(1 - faults / scores["true_boxes"], abs=1e-12)
                assert scores["hota"] > 0
