"""Models that take videos apart, compared briefly: what is written, how it appears in RESULTS.md, what is refused."""

import argparse
import json
from dataclasses import dataclass, replace
from types import SimpleNamespace

import pytest

from inference.cli import main
from inference.recipes import RECIPES
from inference.recipes.growing_videos import LengtheningVideos
from tests.benchmarks.programs import PROGRAMS, SLOTS, results, run
from videos import TabletopScenes

VIDEOS = {
    "frame_size": 16,
    "balls": [2, 2],
    "test_balls": [2, 2],
    "num_train": 8,
    "num_validation": 2,
    "num_test": 3,
    "batch_size": 4,
    "epochs": 3,
    "test_frames": 6,
    "followed": 3,
}


@pytest.mark.slow
@pytest.mark.ci
def test_runs_meet_in_a_table(tmp_path):
    for name, recipe, own in (
        ("slots", "spatio-temporal-balls-small", SLOTS | {"num_frames": 4, "first_frames": 3, "growth_epochs": 1}),
        ("frames", "iodine-balls-small", SLOTS),
        ("nem", "relational-nem-small", {"state_dim": 6, "hidden": 8, "channels": [2, 3], "attention_dim": 4}),
    ):
        words = []
        for option, value in (VIDEOS | own).items():
            words += [f"--{option.replace('_', '-')}", *map(str, value if isinstance(value, list) else [value])]
        assert main(["train", recipe, "--run", str(tmp_path / name), "--quiet", *words]) == 0
    assert main(["evaluate", str(tmp_path / "slots"), "--num-particles", "2"]) == 0
    assert main(["render", str(tmp_path / "slots")]) == 0
    records = tmp_path / "records"
    words = ["--videos", 4, "--lengths", 3, 6, "--output", records / "segmentation-balls.json"]
    runs = [tmp_path / "slots", tmp_path / "frames", f"{tmp_path / 'frames'}:sequential", tmp_path / "nem"]
    printed = run("segmentation.py", *runs, *words)
    assert [line.split(":")[0] for line in printed.splitlines()[:4]] == [
        "Spatio-temporal",
        "IODINE",
        "IODINE (sequential)",
        "R-NEM",
    ]
    rows = json.loads((records / "segmentation-balls.json").read_text())["rows"]
    assert [len(row["predictions"]) for row in rows] == [3, 3, 3, 3]
    assert all(0 <= row["lengths"]["6"]["squared_error"]["mean"] < 2 for row in rows)
    run("segmentation.py", runs[0], "--balls", 3, 4, "--slots", 6, *words[:-1], records / "segmentation-more.json")
    text = results(records)
    assert "| IODINE (sequential): frames |" in text
    assert "6 slots" in text
    refused = run("segmentation.py", f"{runs[0]}:sequential", *words, status=1)
    assert "slots:sequential: method: expected one of 'prior', 'start' for SpatioTemporalRefinementGuide" in refused
    for wrong, message in (
        (["--slots", 0], "--slots: expected at least 1, got 0"),
        (["--lengths", 1, 6], "--lengths: expected at least 2 frames"),
        (["--balls", 3, 40], "max_balls: expected at most 10"),
        (["--palette", 5], "palette_size: expected 4 or 8, got 5"),
        (["--videos", 0], "num_sequences: expected a positive number, got 0"),
    ):
        assert message in run("segmentation.py", runs[0], *wrong, status=1)
    start = run("segmentation.py", f"{runs[1]}:start", *words[:-1], tmp_path / "start.json")
    assert start.startswith("IODINE (start): ARI")
    (other,) = json.loads((tmp_path / "start.json").read_text())["rows"]
    assert other["lengths"] == rows[1]["lengths"]  # nothing is missing there
    assert other["predictions"] != rows[1]["predictions"]


@dataclass(frozen=True, kw_only=True)
class TableVideos(LengtheningVideos):
    """Scenes on a table."""

    world: str = "tabletop"

    def simulator(self, split):
        return TabletopScenes(10, 16, masks=split == "test")

    def splits(self, recipe):
        raise NotImplementedError


def test_videos_are_those_of_the_first_run(monkeypatch):
    monkeypatch.syspath_prepend(PROGRAMS)
    import segmentation

    balls = RECIPES["spatio-temporal-balls-small"]
    recipes = {"a": balls, "b": replace(balls, videos=TableVideos()), "c": RECIPES["sqair-small"]}
    recipes["d"] = RECIPES["kvae-box-cpu"]
    monkeypatch.setattr(segmentation, "load_run", lambda path, _: SimpleNamespace(recipe=recipes[path]))

    def simulator(*runs, balls=None, palette=None):
        return segmentation.simulator_of(argparse.Namespace(runs=runs, balls=balls, palette=palette, lengths=[5, 20]))

    found = simulator("a:sequential", "b", balls=[5, 6], palette=8)
    assert (found.num_frames, found.min_balls, found.max_balls, found.palette_size, found.masks) == (20, 5, 6, 8, True)
    assert simulator("b") == TabletopScenes(20, 16, masks=True)
    for wrong, options, message in (
        ("b", {"palette": 8}, "--balls, --palette: expected a run on balls, got one on tabletop; leave them out"),
        ("c", {}, "c: expected a run on balls or scenes on a table, got moving-mnist"),
        ("d", {}, "d: expected a run on balls or scenes on a table, got box"),
    ):
        with pytest.raises(SystemExit, match=message):
            simulator(wrong, **options)
