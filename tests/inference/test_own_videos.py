"""`kinema train RECIPE --videos PATH`: every kind of videos ends in a trained run, or in one sentence on why not."""

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.videos.test_reading import write_images, write_video
from videos import BoxWorld, synthetic_clip

ROOT = Path(__file__).parents[2]
STEPS = "--num-train 8 --batch-size 4 --epochs 2"
KVAE = f"kvae-demo {STEPS} --frozen-epochs 1 --num-frames 6"
GREY = f"{KVAE} --likelihood gaussian"
VRNN = f"vrnn-small {STEPS} --growth-epochs 1"
SLOTS = f"spatio-temporal-balls-colour-small {STEPS} --epochs 4 --scale-epochs 1 2 --entropy-epochs 1 2"
PEOPLE = (
    f"sqair-pedestrians-small {STEPS} --growth-epochs 1 --warm-up 40 --width 80 --height 60 --frame-size 24 "
    "--least-area 8 --num-frames 4 --units 10 --what-dim 3 --glimpse-size 6 4 --num-particles 2 --num-validation 4 "
    "--num-test 12"
)

DRAWN = ("uint8, grey", "mp4, single frames", "mp4, with others for tests", "bright things that move")
TRAINED = {
    "uint8": ("uint8.npz", KVAE + " --threshold 0.5"),
    "uint8, grey": ("uint8.npz", GREY),
    "black and white": ("own_names.npz", KVAE),
    "40 x 40, networks of layers": ("40x40.npz", KVAE + " --network mlp"),
    "40 x 40, resized": ("40x40.npz", KVAE + " --frame-size 32 --threshold 0.5"),
    "40 x 40, another recipe": ("40x40.npz", VRNN),
    "a folder of PNGs": ("images", GREY),
    "a folder of PNGs in colour": ("images", f"{SLOTS} --num-frames 2"),
    "a folder of AVIs": ("avis", VRNN),
    "mp4": ("clip.mp4", VRNN),
    "mp4, single frames": ("clip.mp4", f"air-small {STEPS} --epochs 3 --annealing-epochs 1"),
    "mp4, with others for tests": ("clip.mp4", VRNN + " --test avis"),
    "two seconds of five frames": ("two_seconds.avi", VRNN),
    "dark things that move": ("static.avi", PEOPLE),
    "bright things that move": ("negative.avi", PEOPLE),
    "one of several arrays, of its own layout": ("layout.npy", VRNN + " --layout 'time channels height width'"),
}
REFUSED = {
    "bytes in floats": ("floats.npz", KVAE, "frames of", "got 0 to 255; these look like bytes: divide by 255"),
    "several arrays": (
        "several.npz",
        KVAE,
        "expected one array of 3 to 5 dims that can be frames",
        "left (9, 8, 32, 32)",
    ),
    "grey, binary model": (
        "uint8.npz",
        KVAE,
        "--videos: expected frames that are black and white",
        "--likelihood gaussian",
    ),
    "40 x 40, convolutions": (
        "40x40.npz",
        KVAE,
        "--frame-size: expected one that the networks of kvae-demo take",
        "40",
    ),
    "a moving camera": ("pan.avi", PEOPLE, "clip: expected one of a static camera", "the background moves"),
    "two seconds of 20 frames": (
        "two_seconds.avi",
        VRNN + " --num-frames 20",
        "num_frames: expected clips of",
        "16 or fewer",
    ),
    "two seconds of warm-up": ("two_seconds.avi", PEOPLE + " --warm-up 60", "warm_up: expected fewer frames", "60"),
    "an order of axes to guess": ("layout.npy", VRNN, "layout: expected the order of the axes", "name it"),
    "no video": ("text.mp4", VRNN, "which OpenCV cannot read", "text.mp4"),
    "an empty folder": ("empty", VRNN, "--videos: expected a folder of images", "it is empty"),
}


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("videos")
    box = BoxWorld(num_frames=8).simulate(9, torch.Generator().manual_seed(0)).frames[:, :, 0].numpy()
    clip = synthetic_clip(torch.Generator().manual_seed(1), 200, 90, 120, 5).numpy()
    np.savez(folder / "uint8.npz", videos=(205 * box + 25).astype(np.uint8))
    np.savez(folder / "floats.npz", frames=255 * box)
    np.savez(folder / "own_names.npz", balls=box > 0, weights=np.zeros(3))
    np.savez(folder / "several.npz", left=box, right=box)
    np.savez(
        folder / "40x40.npz", frames=BoxWorld(num_frames=8, size=40).simulate(9, torch.Generator()).frames[:, :, 0]
    )
    np.save(folder / "layout.npy", box.reshape(72, 1, 32, 32))
    write_images(folder / "images", clip[:60])
    for number in range(3):
        write_video(folder / "avis" / f"{number}.avi", clip[40 * number : 40 * number + 40])
    write_video(folder / "clip.mp4", clip, "mp4v")
    write_video(folder / "two_seconds.avi", clip[:50])
    write_video(folder / "static.avi", clip)
    write_video(folder / "negative.avi", 255 - clip)
    wide = synthetic_clip(torch.Generator().manual_seed(2), 1, 90, 600, 60, noise=0.0)[0].numpy()
    write_video(folder / "pan.avi", np.stack([wide[:, 2 * time : 2 * time + 120] for time in range(200)]))
    (folder / "text.mp4").write_text("no video")
    (folder / "empty").mkdir()
    return folder


def kinema(words, folder):
    """Run a command in a folder."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-W", "ignore", "-m", "kinema", *words]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)


def split(words):
    return shlex.split(words)


@pytest.mark.slow
@pytest.mark.parametrize("row", TRAINED)
def test_it_ends_in_a_trained_run(row, videos, tmp_path):
    path, words = TRAINED[row]
    name, *options = split(words)
    result = kinema(["train", name, "--videos", path, "--run", str(tmp_path / "run"), "--quiet", *options], videos)
    assert result.returncode == 0, result.stderr
    assert "best validation bound" in result.stdout
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["sources"]["videos"]["path"] == str((videos / path).resolve())
    if "bright" in row or "dark" in row:
        kind = "brighter" if "bright" in row else "darker"
        assert f"moving things are {kind} than the background" in result.stderr
    if row not in DRAWN:
        return
    drawn = kinema(["render", str(tmp_path / "run")], tmp_path)
    assert drawn.returncode == 0, drawn.stderr
    assert list((tmp_path / "run" / "pictures").glob("*.png"))


@pytest.mark.slow
@pytest.mark.parametrize("row", REFUSED)
def test_it_ends_in_one_sentence(row, videos, tmp_path):
    path, words, *parts = REFUSED[row]
    name, *options = split(words)
    result = kinema(["train", name, "--videos", path, "--run", str(tmp_path / "run"), "--quiet", *options], videos)
    assert result.returncode == 2, result.stderr
    assert "Traceback" not in result.stderr
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("kinema: ")]
    assert all(part in line for part in parts), line
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_run_on_given_videos_is_resumed_evaluated_and_scored_on_others(videos, tmp_path):
    run = str(tmp_path / "run")
    words = ["train", *split(VRNN), "--videos", "clip.mp4", "--run", run, "--quiet"]
    assert kinema(words, videos).returncode == 0
    again = kinema(words, videos)
    assert again.returncode == 0, again.stderr
    few = "--num-particles 2 --evidence-particles 32 --num-sequences 2".split()
    own = kinema(["evaluate", run, *few], videos)
    assert own.returncode == 0, own.stderr
    assert "left out, since the test videos come without presence" in own.stderr
    other = kinema(["evaluate", run, *few, "--test", "avis"], videos)
    assert other.returncode == 0, other.stderr
    (videos / "clip.mp4").rename(videos / "away.mp4")
    try:
        gone = kinema(["evaluate", run, *few], videos)
        assert gone.returncode == 2
        assert "clip.mp4, which is not there any more" in gone.stderr
    finally:
        (videos / "away.mp4").rename(videos / "clip.mp4")
