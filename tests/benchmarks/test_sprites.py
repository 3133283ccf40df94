"""Sprites-MOT: blobs as masks by hand, the program from end to end, and its section."""

import importlib
import json

import pytest
import torch

from tests.benchmarks.programs import PROGRAMS, run
from videos import MovingSprites, Tracks

TINY = {
    "units": 8,
    "what_dim": 3,
    "glimpse_size": 4,
    "frame_size": 16,
    "num_frames": 4,
    "first_frames": 3,
    "growth_epochs": 1,
    "num_train": 8,
    "num_validation": 4,
    "num_test": 6,
    "batch_size": 4,
    "epochs": 2,
}


@pytest.fixture
def program(monkeypatch):
    monkeypatch.syspath_prepend(PROGRAMS)
    return importlib.import_module


def test_blobs_of_one_colour_are_nearly_the_sprites(program):
    sprites = program("sprites")
    videos = MovingSprites(10, 64, masks=True).simulate(12, torch.Generator().manual_seed(0))
    names = ("lit pixels, joined by overlap", "colours, joined by overlap")
    lit, colours = (sprites.followed(sprites.TRACKERS[name], videos)["scores"] for name in names)
    assert lit["mota"] < colours["mota"]
    assert 90 < colours["mota"] <= 100
    assert colours["motp"] > 95
    assert lit["misses"] > colours["misses"]


def test_pixels_of_two_boxes_belong_to_the_nearer(program):
    sprites = program("sprites")
    boxes = torch.tensor([[0.0, 0.0, 6.0, 4.0], [4.0, 0.0, 4.0, 4.0]], dtype=torch.float64)
    tracks = Tracks(torch.tensor([1, 1]), torch.tensor([7, 9]), boxes)
    lit = torch.ones(2, 4, 10, dtype=torch.bool)
    lit[1, 0] = False
    scene = sprites.masks_of_tracks(tracks, lit)
    assert scene.presence.tolist() == [[False, False], [True, True]]
    assert scene.masks[1].sum((-2, -1)).tolist() == [15, 9]  # columns 0 to 4, and 5 to 7: column 4 is as near to both
    assert not scene.masks[0].any()
    both = sprites.joined_scenes([scene, sprites.masks_of_tracks(tracks.select(tracks.identities == 9), lit)])
    assert both.masks.shape == (2, 2, 2, 4, 10)
    assert both.presence[1, 1].tolist() == [True, False]


@pytest.mark.slow
def test_the_program_and_its_section(tmp_path, program):
    options = ["--output", tmp_path, "--options", json.dumps(TINY)]
    printed = run("sprites.py", "sqair", "--seeds", 0, 1, *options)
    assert run("sprites.py", "sqair", "--seeds", 0, 1, *options) == printed
    assert "MOTA" in run("sprites.py", "blobs", "--only", "colours, joined", *options)
    record = json.loads((tmp_path / "sprites-sqair.json").read_text())
    assert [(row["seed"], row["frame_size"], row["num_test"]) for row in record["rows"]] == [(0, 16, 6), (1, 16, 6)]
    assert "--only: expected part of a name, got nobody" in run("sprites.py", "blobs", "--only", "nobody", status=1)
    refused = run(
        "sprites.py", "sqair", "--seeds", 0, "--options", '{"search": "heat"}', "--output", tmp_path / "a", status=1
    )
    assert "--search: expected" in refused
    section = program("sprites_section").sprites_section
    lines = section(tmp_path / "sprites-sqair.json", tmp_path / "sprites-blobs.json")
    text = "\n".join(lines)
    assert "| SQAIR, 2 seeds |" in text
    assert "| blobs of colours, joined by overlap |" in text
    assert "| ViMON (published) | 92.9 ± 0.2 | 91.8 ± 0.2 |" in text
    assert section(tmp_path / "none.json", tmp_path / "none.json") == []
