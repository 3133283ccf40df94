"""Trackers of a clip are scored with and without boxes of confidence 0; the record becomes a section."""

import importlib
import json

import cv2
import pytest
import torch

from tests.benchmarks.programs import PROGRAMS, run
from videos import Tracks, synthetic_clip, write_tracks


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A square that crosses a scene in forty frames, the last ten of which are not scored."""
    folder = tmp_path_factory.mktemp("clip")
    clip = synthetic_clip(torch.Generator().manual_seed(0), 120, 90, 120, num_objects=0)
    left = 2 * torch.arange(40)
    for time, start in enumerate(left.tolist()):
        clip[time, 30:60, start : start + 20] = 20
    boxes = torch.stack([left, torch.full((40,), 30), torch.full((40,), 20), torch.full((40,), 30)], -1).double()
    scored = (torch.arange(40) < 30).double()
    truth = Tracks(torch.arange(40), torch.ones(40, dtype=torch.long), boxes, scored)
    write_tracks(folder / "truth.txt", truth)
    writer = cv2.VideoWriter(str(folder / "square.avi"), cv2.VideoWriter_fourcc(*"MJPG"), 10.0, (120, 90))
    for frame in clip.numpy():
        writer.write(frame[..., ::-1].copy())
    writer.release()
    return folder


@pytest.mark.slow
def test_trackers_are_scored_and_tabulated(folder, monkeypatch):
    output = folder / "pedestrians.json"
    run("pedestrians.py", folder / "square.avi", folder / "truth.txt", "--output", output)
    record = json.loads(output.read_text())
    assert record["frames"] == 120
    assert len(record["rows"]) == 3
    for row in record["rows"].values():
        assert (row["scores"]["true_boxes"], row["scores_of_all"]["true_boxes"]) == (30, 40)
        assert row["scores_of_all"]["mota"] > 0.9 > row["scores"]["mota"]  # the last ten are false alarms
    monkeypatch.syspath_prepend(PROGRAMS)
    lines = importlib.import_module("pedestrians_section").pedestrians_section(output)
    assert lines[0].startswith("| tracker | MOTA | MOTP | IDF1 | HOTA | DetA | AssA | switches |")
    best = record["rows"]["blobs, Kalman filter, smoothed"]
    cells = next(line for line in lines if line.startswith("| blobs, Kalman filter, smoothed |")).split(" | ")
    assert cells[1:4] == [f"{100 * best['scores'][key]:.1f}" for key in ("mota", "motp", "idf1")]
    assert f"{100 * best['scores_of_all']['mota']:.1f} / " in cells[-1]
    text = " ".join(lines)
    assert "30 true boxes of 1 people are scored. The last column also has the 10 boxes that" in text
    assert "(40 of 1 people)" in text


@pytest.mark.slow
def test_missing_files_are_named(tmp_path):
    complaint = run("pedestrians.py", tmp_path / "none.avi", tmp_path / "none.txt", status=1)
    assert complaint.startswith("tracks: expected a text file of MOTChallenge rows, got")
