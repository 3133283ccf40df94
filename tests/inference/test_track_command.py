"""`kinema track` writes tracks, a film and a picture of a clip; `kinema score` compares them with the true ones."""

import json
import re
from typing import get_args, get_type_hints

import cv2
import pytest
import torch

from inference.cli import main
from inference.cli.track import Tracking
from inference.trackers import TRACKERS
from videos import Tracks, read_tracks, synthetic_clip, write_tracks

FRAMES = 120  # the squares are gone after a third of them


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    """Two squares that cross a noisy scene, and their true boxes, in a folder."""
    folder = tmp_path_factory.mktemp("clips")
    clip = synthetic_clip(torch.Generator().manual_seed(0), FRAMES, 90, 120, num_objects=0)
    rows = []
    for time in range(40):
        for identity, (left, top) in enumerate(((2 * time, 10), (90 - 2 * time, 50)), 1):
            clip[time, top : top + 30, left : left + 20] = 20
            rows.append((time, identity, left, top, 20, 30))
    table = torch.tensor(rows)
    write_tracks(folder / "truth.txt", Tracks(table[:, 0], table[:, 1], table[:, 2:].double()))
    writer = cv2.VideoWriter(str(folder / "squares.avi"), cv2.VideoWriter_fourcc(*"MJPG"), 10.0, (120, 90))
    for frame in clip.numpy():
        writer.write(frame[..., ::-1].copy())
    writer.release()
    return folder / "squares.avi"


@pytest.mark.parametrize("tracker", ["blobs", "kalman"])
def test_a_clip_is_tracked_drawn_and_scored(film, tmp_path, capsys, monkeypatch, tracker):
    monkeypatch.chdir(tmp_path)
    words = f"{film} --tracker {tracker} --output made/tracks.txt --film made/f.gif --picture made/paths.png"
    assert main(["track", *words.split(), "--least-area", "5000"]) == 2  # larger than the squares
    assert list(tmp_path.iterdir()) == []
    assert main(["track", *words.split()]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"2 tracks, \d\d boxes; \d+\.\d s, \d+ frames per second of a clip with 10", printed[0])
    assert printed[1:] == ["made/tracks.txt", "made/f.gif", "made/paths.png"]
    assert all((tmp_path / path).stat().st_size > 1000 for path in printed[1:])
    tracks = read_tracks("made/tracks.txt")
    assert tracks.frames.max() == 39
    assert main(["score", "made/tracks.txt", str(film.with_name("truth.txt"))]) == 0
    table = capsys.readouterr().out
    assert main(["score", "made/tracks.txt", str(film.with_name("truth.txt")), "--json"]) == 0
    scores = json.loads(capsys.readouterr().out)
    assert scores["mota"] > 0.9
    assert scores["true_boxes"] == 80
    assert f"MOTA            {100 * scores['mota']:9.2f} %" in table
    assert f"switches        {scores['switches']:9}\n" in table


def test_settings_of_a_tracker_are_options(film, tmp_path, capsys):
    output = tmp_path / "tracks.txt"
    few = ["track", str(film), "--output", str(output), "--tracker", "kalman", "--min-hits", "41"]
    assert main(few) == 2
    assert "expected something that moves, found nothing; nothing was written" in capsys.readouterr().err
    assert not output.exists()
    assert main(["track", "--tracker=blobs", "--help"]) == 0
    shown = re.sub(r"[\s│]+", " ", capsys.readouterr().out)
    assert "--min-overlap FLOAT minimum intersection over union of boxes that are joined. (default: 0.3)" in shown
    assert "--max-misses" not in shown


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("track none.avi", "clip: expected a video file, got none.avi, which is not a file"),
        ("track none.avi --film film.webm", "film: expected a file ending in .mp4, .avi, .gif, got film.webm"),
        ("track none.avi --picture paths.txt", "--picture: expected a file ending in .png, .pdf, .svg, got paths.txt"),
        ("track none.avi --output .", "--output: expected a file to write, got the folder ."),
        ("track none.avi --film none.avi", "--film: expected a file other than the clip, got none.avi"),
        ("track none.avi --least-area 0", "least_area: expected at least 1, got 0"),
        ("track none.avi --gate 2", "gate: expected a share in (0, 1), got 2.0"),
        ("score none.txt none.txt", "tracks: expected a text file of MOTChallenge rows, got none.txt"),
        (
            "score none.txt none.txt --curve none.jpg",
            "--curve: expected a file ending in .png, .pdf, .svg, got none.jpg",
        ),
        ("score none.png none.txt --curve none.png", "--curve: expected a file other than the tracks, got none.png"),
        ("score none.txt none.txt --min-overlap 50", "--min-overlap: expected a share in (0, 1], got 50"),
    ],
)
def test_mistakes_are_answered_in_one_line(words, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(words.split()) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_every_tracker_is_offered():
    hints = get_type_hints(Tracking)
    assert set(get_args(hints["tracker"])) == {*TRACKERS, "people"}


def test_an_unknown_tracker_is_refused(capsys):
    assert main(["track", "none.avi", "--tracker", "kalmann"]) == 2
    assert "invalid choice 'kalmann' for argument '--tracker'" in re.sub(r"[\s│╭╮╰╯─•]+", " ", capsys.readouterr().err)


def test_tracks_of_another_clip_are_noticed(film, tmp_path, capsys):
    truth = read_tracks(film.with_name("truth.txt"))
    write_tracks(tmp_path / "far.txt", Tracks(truth.frames, truth.identities, truth.boxes + 5000))
    assert main(["score", str(tmp_path / "far.txt"), str(film.with_name("truth.txt"))]) == 0
    shown = capsys.readouterr().out
    assert "no box overlaps a true one by 0.5: are both files of the same clip, in its pixels?" in shown
    assert "MOTP                  nan" in shown
    assert main(["score", str(tmp_path / "far.txt"), str(film.with_name("truth.txt")), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["motp"] is None


def test_precision_and_recall_are_drawn_where_confidences_differ(film, tmp_path, capsys):
    truth = read_tracks(film.with_name("truth.txt"))
    paths = tmp_path / "tracks.txt", film.with_name("truth.txt"), tmp_path / "made" / "curve.png"
    words = ["score", str(paths[0]), str(paths[1]), "--curve", str(paths[2])]
    write_tracks(paths[0], truth)
    assert main(words) == 2
    assert f"--curve: expected tracks with different confidences, got {paths[0]}, all alike" in capsys.readouterr().err
    chances = torch.linspace(0.2, 1.0, len(truth)).double()
    write_tracks(paths[0], Tracks(truth.frames, truth.identities, truth.boxes, chances))
    assert main(words) == 0
    assert "average precision  100.00 %" in capsys.readouterr().out
    assert paths[2].stat().st_size > 1000
    assert main([*words, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["average_precision"] == 1.0


@pytest.mark.slow
def test_people_are_tracked(data_folder, tmp_path, capsys):
    """Of OpenCV's clip of pedestrians, against its annotations; without prediction identities are lost."""
    scores = {}
    for tracker in ("blobs", "kalman"):
        output = tmp_path / f"{tracker}.txt"
        assert (
            main(["track", str(data_folder / "video" / "vtest.avi"), "--tracker", tracker, "--output", str(output)])
            == 0
        )
        capsys.readouterr()
        assert main(["score", str(output), str(data_folder / "video" / "vtest-truth.txt"), "--json"]) == 0
        scores[tracker] = json.loads(capsys.readouterr().out)
    assert (scores["kalman"]["true_boxes"], scores["kalman"]["left_out"]) == (4476, 174)
    assert scores["kalman"]["mota"] > 0.55
    assert scores["kalman"]["idf1"] > 0.55
    assert scores["blobs"]["idf1"] < 0.4
    assert scores["kalman"]["switches"] < scores["blobs"]["switches"] / 3
