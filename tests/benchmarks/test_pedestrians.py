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
    """A square that crosses a scene twice in forty frames; the last ten of the first time are not scored."""
    folder = tmp_path_factory.mktemp("clip")
    clip = synthetic_clip(torch.Generator().manual_seed(0), 120, 90, 120, num_objects=0)
    times, left = torch.cat([torch.arange(40), torch.arange(70, 110)]), 2 * torch.arange(40).repeat(2)
    for time, start in zip(times.tolist(), left.tolist(), strict=True):
        clip[time, 30:60, start : start + 20] = 20
    boxes = torch.stack([left, *(torch.full((80,), size) for size in (30, 20, 30))], -1).double()
    scored = ((times < 30) | (times >= 70)).double()
    truth = Tracks(times, (times >= 70).long(), boxes, scored)
    write_tracks(folder / "truth.txt", truth)
    writer = cv2.VideoWriter(str(folder / "square.avi"), cv2.VideoWriter_fourcc(*"MJPG"), 10.0, (120, 90))
    for frame in clip.numpy():
        writer.write(frame[..., ::-1].copy())
    writer.release()
    return folder


@pytest.mark.slow
def test_trackers_are_scored_and_tabulated(folder, monkeypatch):
    output = folder / "pedestrians.json"
    run("pedestrians.py", folder / "square.avi", folder / "truth.txt", "--only", "blobs", "--output", output)
    record = json.loads(output.read_text())
    assert record["frames"] == 120
    whole, late = record["rows"]["whole"], record["rows"]["second half"]
    assert list(whole) == list(late)
    assert len(whole) == 3
    for row in whole.values():
        assert (row["scores"]["true_boxes"], row["scores_of_all"]["true_boxes"]) == (70, 80)
        assert row["scores_of_all"]["mota"] > 0.9 > row["scores"]["mota"]  # the last ten are false alarms
    assert all(row["scores"]["true_boxes"] == 40 and row["scores"]["mota"] > 0.9 for row in late.values())
    monkeypatch.syspath_prepend(PROGRAMS)
    lines = importlib.import_module("pedestrians_section").pedestrians_section(output)
    assert lines[0].startswith("| tracker | clip | MOTA | MOTP | IDF1 | HOTA | DetA | AssA | switches |")
    best = whole["blobs, Kalman filter, smoothed"]
    cells = next(line for line in lines if line.startswith("| blobs, Kalman filter, smoothed | whole |")).split(" | ")
    assert cells[2:5] == [f"{100 * best['scores'][key]:.1f}" for key in ("mota", "motp", "idf1")]
    assert f"{100 * best['scores_of_all']['mota']:.1f} / " in cells[-1]
    text = " ".join(lines)
    assert "70 true boxes of 2 people are scored. The last column also has the 10 boxes that" in text
    assert "(80 of 2 people)" in text


@pytest.mark.slow
def test_missing_files_are_named(tmp_path):
    complaint = run("pedestrians.py", tmp_path / "none.avi", tmp_path / "none.txt", status=1)
    assert complaint.startswith("tracks: expected a text file of MOTChallenge rows, got")
