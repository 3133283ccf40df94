"""`kinema track RUN --video FILE`: what is refused by name; and, slowly, from training to tracks and a film."""

import json
import re

import cv2
import pytest
import torch

from inference.cli import main
from inference.experiments.runs import plain_config
from inference.experiments.sqair_tracker import SQAIRTracker
from inference.experiments.tracked_runs import tracker_of_run
from inference.recipes import RECIPES, on_videos
from tests.inference.recipes.test_pedestrians import TINY, tiny
from tests.inference.seeing_filter import untrained_pair
from tests.videos.test_background_subtraction import SUBTRACTION, moving_square
from videos import read_tracks


def write_clip(path, frames, rate=10.0):
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), rate, (frames.shape[2], frames.shape[1]))
    for frame in frames.numpy():
        writer.write(frame[..., ::-1].copy())
    writer.release()
    return path


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """A clip, one that is smaller, one that is slower, and folders of runs that have not been trained."""
    folder = tmp_path_factory.mktemp("clips")
    frames, _ = moving_square(num_frames=20)
    path = write_clip(folder / "clip.avi", frames)
    write_clip(folder / "small.avi", frames[:, ::2, ::2])
    write_clip(folder / "slow.avi", frames, rate=3.0)
    write_clip(folder / "fast.avi", frames, rate=30.0)
    small = RECIPES["sqair-pedestrians-small"]
    runs = {
        "kvae": RECIPES["kvae-box-cpu"],
        "digits": RECIPES["sqair-small"],
        "grey": on_videos(RECIPES["sqair-small"], path),
        "people": on_videos(tiny(small), path),
    }
    for name, recipe in runs.items():
        (folder / name).mkdir()
        (folder / name / "config.json").write_text(json.dumps(plain_config(recipe)))
    return folder


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("kvae --video clip.avi", "run: expected one of SQAIR on a clip, .* got a run of 'kvae-box-cpu', which"),
        ("digits --video clip.avi", "run: expected one that was trained on the moving regions .* of 'sqair-small' on"),
        ("grey --video clip.avi", "got a run of 'sqair-small' on whole frames in shades of grey"),
        ("people --video small.avi", "video: expected a clip of 160 x 120 pixels, .*, got 80 x 60; people would have"),
        ("people --video slow.avi", "video: expected a clip whose frame rate is near a multiple of 5 per .*, got 3;"),
        ("people --video none.avi", "clip: expected a video file, got none.avi, which is not a file"),
        ("people", "--video: expected the clip that run people is to track, got none"),
        ("people --video clip.avi --tracker people", "--tracker: expected none with --video, where run people tracks"),
        ("people --video clip.avi --least-area 20", "--least-area: expected with --tracker blobs or kalman, got 20 wi"),
        ("clip.avi --video clip.avi", "run: expected a folder, 'clip.avi' is a file"),
        ("clip.avi --tracker people --output small.avi", "--output: expected a file that is not there yet, got small"),
        ("clip.avi --film small.avi", "--film: expected a file that is not there yet, got small.avi; --overwrite"),
        ("clip.avi --output a.png --picture a.png", "--picture: expected a file other than the output, got a.png"),
    ],
)
def test_wrong_runs_and_clips_are_refused(words, message, clips, capsys, monkeypatch):
    monkeypatch.chdir(clips)
    before = sorted(clips.iterdir())
    assert main(["track", *words.split()]) == 2
    said = capsys.readouterr().err
    assert re.search(message, said)
    assert said.count("\n") == 1
    assert sorted(clips.iterdir()) == before


def test_settings_of_a_run_are_options(capsys):
    assert main(["track", "run", "--video", "clip.avi", "--help"]) == 0
    shown = re.sub(r"[\s│]+", " ", capsys.readouterr().out)
    assert "--num-particles INT particles in each window." in shown
    assert "--gate" not in shown
    assert "--stride" not in shown  # it follows from the run


def test_wrong_settings_are_refused():
    for setting, value, message in (
        ("num_particles", 1, "num_particles: expected at least 2, got 1"),
        ("stride", 0, "stride: expected at least 1, got 0"),
        ("level", 0.0, r"level: expected a share in \(0, 1\], got 0.0"),
        ("least_confidence", 1.5, r"least_confidence: expected a share in \(0, 1\], got 1.5"),
    ):
        with pytest.raises(ValueError, match=message):
            SQAIRTracker(*untrained_pair(num_slots=2), SUBTRACTION, **{"stride": 1, "invert": True, setting: value})


def test_a_moving_camera_is_refused_before_the_first_frame_is_seen():
    scene = torch.rand(30, 120, generator=torch.Generator().manual_seed(0)).repeat_interleave(4, 0)
    frames = torch.stack([scene[:, time : time + 90] for time in range(30)])
    clip = (255 * frames).to(torch.uint8)[..., None].expand(-1, -1, -1, 3)
    tracker = SQAIRTracker(*untrained_pair(num_slots=2), SUBTRACTION, 1, True)
    with pytest.raises(ValueError, match="clip: expected one of a static camera"):
        tracker.track(clip)


def test_frames_that_are_not_seen_have_boxes_in_between(monkeypatch):
    """Boxes at frames 0, 2 and 6, and two of somebody who is seen twice, which is too short."""
    rows = [(0, 5, 0.0), (2, 5, 2.0), (2, 9, 3.0), (4, 9, 3.0), (6, 5, 6.0)]
    boxes = [(frame, name, torch.tensor([x, 0, 10, 20, 0.5 + 0.01 * x]).double()) for frame, name, x in rows]
    monkeypatch.setattr(SQAIRTracker, "_boxes", lambda self, clip: iter(boxes))
    tracks = SQAIRTracker(*untrained_pair(num_slots=2), SUBTRACTION, 2, True).track("none.avi")
    assert tracks.frames.tolist() == list(range(7))
    assert tracks.identities.tolist() == [1] * 7
    expected = torch.tensor([[frame, 0.0, 10.0, 20.0] for frame in range(7)]).double()
    torch.testing.assert_close(tracks.boxes, expected, atol=0.2, rtol=0)  # the mean has a speed near 0 at first
    assert tracks.confidences is not None
    assert tracks.confidences.tolist() == pytest.approx([0.5, 0.51, 0.52, 0.53, 0.54, 0.55, 0.56])


@pytest.mark.slow
def test_from_training_to_tracks(clips, tmp_path, capsys):
    """A square that goes to the right is followed after a short training; a faster clip has a larger stride."""
    frames, left = moving_square(num_frames=70)
    clip = write_clip(tmp_path / "clip.avi", frames)
    run = tmp_path / "run"
    words = [*TINY, "--frames-per-second", "10", "--shares", "0.6", "0.2", "0.2", "--max-objects", "1"]
    more = [
        "--num-train",
        "2000",
        "--batch-size",
        "16",
        "--epochs",
        "4",
        "--units",
        "32",
        "--learning-rate",
        "0.002",
        "--first-frames",
        "4",
    ]
    train = ["train", "sqair-pedestrians-small", "--videos", str(clip), "--run", str(run), "--quiet"]
    assert main([*train, *words, *more]) == 0
    output = tmp_path / "tracks.txt"
    track = ["track", str(run), "--video", str(clip), "--output", str(output), "--film", str(tmp_path / "film.gif")]
    assert main(track) == 0
    assert main(track) == 2
    assert "--overwrite replaces it" in capsys.readouterr().err
    assert main([*track, "--overwrite", "--picture", str(tmp_path / "paths.png")]) == 0
    tracks = read_tracks(output)
    longest = tracks.identities.mode().values
    followed = tracks.select(tracks.identities == longest)
    assert len(followed) > 40
    middles = followed.boxes[:, 0] + 0.5 * followed.boxes[:, 2]
    assert (middles - left[followed.frames] - 8).abs().median() < 4
    assert tracker_of_run(run, write_clip(tmp_path / "fast.avi", frames, rate=30.0)).stride == 3
