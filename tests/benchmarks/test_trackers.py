"""Trackers compared briefly: what is written, how it appears in RESULTS.md, what is refused."""

import json
import shutil

import pytest

from inference.cli import main
from tests.benchmarks.programs import results, run

VIDEOS = {
    "frame_size": 26,
    "num_frames": 7,
    "first_frames": 6,
    "growth_epochs": 1,
    "digit_scale": 0.3,
    "speed": [0.4, 2.0],
    "num_train": 8,
    "num_validation": 4,
    "num_test": 6,
    "batch_size": 4,
    "epochs": 4,
}
PARTS = {"glimpse_size": 5, "kernel_size": 4, "what_dim": 3, "frame_epochs": 1, "count_epochs": [1, 2]}


@pytest.mark.slow
def test_variants_and_parts_meet_in_tables(tmp_path):
    options = ["--output", tmp_path, "--options", json.dumps(VIDEOS | PARTS)]
    for plan, name in (("variants", "linear, overlap yes"), ("parts", "matched")):
        printed = run("trackers.py", plan, "--only", name, "--seeds", 0, 1, *options)
        again = run("trackers.py", plan, "--only", name, "--seeds", 0, 1, *options)
        assert again == printed
    record = json.loads((tmp_path / "trackers-variants.json").read_text())
    assert len(record["rows"]) == 10
    finished = tmp_path / "finished"
    finished.mkdir()
    shutil.copy(tmp_path / "trackers-parts.json", finished)
    assert run("trackers.py", "parts", "--only", name, "--seeds", 0, 1, "--output", finished) == printed
    assert len(list(finished.iterdir())) == 1  # a row of the record is not trained again
    assert {row["seed"] for row in record["rows"]} == {0, 1}
    assert {row["provenance"]["seed"] for row in record["rows"]} == {0, 1}
    assert [point["step"] for point in record["rows"][0]["curve"]] == [0, 8]
    assert "--only: expected part of a name, got nobody" in run("trackers.py", "parts", "--only", "nobody", status=1)
    records = tmp_path / "records"
    records.mkdir()
    folders = [tmp_path / f"linear--overlap-yes-{variant}-0" for variant in ("vtssi", "find", "air")]
    overlapping = ["--number", 60, "--frames", 7, "--output", records / "overlaps.json"]
    printed = run("overlaps.py", *folders, *overlapping)
    assert [line.split(":")[0] for line in printed.splitlines()[:3]] == ["VTSSI", "FIND", "AIR"]
    assert (records / "overlaps-overlap.png").is_file()
    assert "expected at least the 5 that overlap, got 4" in run("overlaps.py", folders[0], "--frames", 4, status=1)
    assert "--number: num_sequences: expected a positive number" in run(
        "overlaps.py", folders[0], "--number", 0, status=1
    )
    run("trackers.py", "variants", "--only", "elliptic, overlap yes: find", "--seeds", 0, *options)
    other = tmp_path / "elliptic--overlap-yes-find-0"
    refused = run("overlaps.py", folders[0], other, status=1)
    assert "expected a run on linear-mnist, as the first one, got elliptic-mnist" in refused
    written = sorted(tmp_path.glob("trackers-*.json"))
    text = results(records, *written)
    assert "counted from the overlap" in text
    assert "| linear, overlap yes: RECT/FIND |" in text
    assert "\n| slots matched |" in text
    assert "Claims" not in text  # flavours were left out


@pytest.mark.slow
def test_trackers_are_drawn_beyond_their_training(tmp_path):
    world = "--world moving-mnist --prefix 3 --long-frames 24 --quiet".split()
    for name, recipe, own in (
        ("a", "vtssi-find-mot-small", PARTS | {"gain": 1.5, "first_motion": 3}),
        ("b", "sqair-tracked-small", {"units": 8, "check_epochs": 3}),
    ):
        words = []
        for option, value in (VIDEOS | own).items():
            words += [f"--{option.replace('_', '-')}", *map(str, value if isinstance(value, list) else [value])]
        assert main(["train", recipe, "--run", str(tmp_path / name), *words, *world]) == 0
    (tmp_path / "records").mkdir()
    record = tmp_path / "records" / "horizons-x.json"
    runs = [f"{tmp_path / 'a'}", f"{tmp_path / 'a'}:finder", f"{tmp_path / 'b'}:kept"]
    printed = run("horizons.py", *runs, "--prefix", 3, "--num-long", 6, "--output", record)
    assert printed.count("prediction after 3") == 3
    rows = json.loads(record.read_text())["rows"]
    assert [row["label"] for row in rows] == ["FIND/MOT", "FIND/MOT (finder)", "MLP-SQAIR (kept)"]
    assert len(rows[2]["errors"]["predicted_curve"]["means"]) == 24
    assert "FIND/MOT (finder): a |" in results(record.parent)
    assert record.with_name("horizons-x-tracked.png").is_file()
    assert "a:x: method: expected one of 'modes', 'finder' for" in run("horizons.py", f"{runs[0]}:x", status=1)
