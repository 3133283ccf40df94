"""What `kinema clip` prints about a clip, and how it refuses other files."""

import sys

import cv2
import pytest
import torch

from inference.cli import main
from inference.scores.clips import clip_table, fullest, summarize_clip
from videos import BackgroundSubtraction, Surveillance, VideoBatch, synthetic_clip

OPTIONS = "--warm-up 40 --width 120 --height 90 --frame-size 40 --frames-per-second 12 --num-sequences 30".split()


@pytest.fixture(scope="module")
def clip():
    return synthetic_clip(torch.Generator().manual_seed(0), num_frames=180, height=90, width=120, num_objects=6)


@pytest.fixture(scope="module")
def film(clip, tmp_path_factory):
    path = tmp_path_factory.mktemp("clips") / "walkers.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 12.0, (120, 90))
    for frame in clip.numpy():
        writer.write(frame[..., ::-1].copy())
    writer.release()
    return path


def test_windows_and_objects_are_counted(clip):
    subtraction = BackgroundSubtraction(warm_up=40, width=120, height=90)
    source = Surveillance(clip, subtraction, size=40, shares=(0.5, 0.25, 0.25), max_objects=2)
    videos = source.simulate(50, torch.Generator().manual_seed(0))
    summary = summarize_clip(source, videos)
    assert summary.frames == 70
    assert summary.windows == (70 - 4) * 81 * 51
    assert summary.accepted / summary.windows == pytest.approx(source.acceptance)
    counts = [float((videos.presence.sum(-1) == number).double().mean()) for number in range(3)]
    assert summary.counts == pytest.approx(counts)
    table = clip_table({"train": summary}).split("\n")
    assert table[1].split() == [
        "train",
        "70",
        str(summary.windows),
        f"{source.acceptance:.1%}",
        *(f"{share:.1%}" for share in counts),
    ]
    assert len(table[0]) == len(table[1])


def test_videos_without_truth_are_refused(clip):
    source = Surveillance(clip, BackgroundSubtraction(warm_up=40, width=120, height=90), size=40)
    frames = VideoBatch(torch.zeros(2, 5, 1, 40, 40))
    with pytest.raises(ValueError, match="videos: expected presence, got a batch without; take them from"):
        summarize_clip(source, frames)
    with pytest.raises(ValueError, match="videos: expected presence"):
        fullest(frames)


def test_the_fullest_video_is_shown():
    presence = torch.zeros(3, 2, 2, dtype=torch.bool)
    presence[1] = True
    presence[2, 0] = True
    assert fullest(VideoBatch(torch.zeros(3, 2, 1, 4, 4), presence=presence)) == 1


def test_a_clip_is_cut_up(film, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["clip", str(film), *OPTIONS]) == 0
    lines = capsys.readouterr().out.split("\n")
    assert [line.split()[0] for line in lines[1:4]] == ["train", "validation", "test"]
    assert [int(line.split()[1]) for line in lines[1:4]] == [98, 14, 28]
    assert lines[4] == "walkers.png"
    assert (tmp_path / "walkers.png").read_bytes().startswith(b"\x89PNG")
    assert main(["clip", str(film), *OPTIONS, "--picture", "other.png"]) == 0
    assert (tmp_path / "other.png").is_file()


def cut_off(film, path):
    path.write_bytes(film.read_bytes()[: film.stat().st_size // 2])


@pytest.mark.parametrize(
    ("make", "words", "message"),
    [
        (lambda film, path: None, "", "which is not there; check the folder"),
        (lambda film, path: path.touch(), "", "which is empty; copy it again"),
        (lambda film, path: path.write_text("a letter\n" * 100), "", "which OpenCV cannot read"),
        (cut_off, "", "the file is truncated or damaged"),
        (lambda film, path: path.symlink_to(film), "--warm-up 200", "warm_up: expected fewer frames than the clip has"),
        (lambda film, path: path.symlink_to(film), "--num-frames 50", "num_frames = 50 frames for 'validation'"),
        (lambda film, path: path.symlink_to(film), "--least-area 9999", "expected at least 100 windows with 1 to 3"),
        (lambda film, path: None, "--recipe kvae-box", "--recipe: expected one that learns from clips, got 'kvae-box'"),
    ],
    ids=[
        "missing",
        "empty",
        "no video",
        "cut off",
        "short",
        "too short for a block",
        "empty scene",
        "recipe",
    ],
)
def test_what_cannot_be_is_said(make, words, message, film, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make(film, tmp_path / "clip.avi")
    assert main(["clip", "clip.avi", *OPTIONS, *words.split()]) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.err.count("\n") == 1
    assert not (tmp_path / "clip.png").exists()


def test_without_opencv_the_extra_is_named(film, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "cv2", None)
    assert main(["clip", str(film), *OPTIONS, "--warm-up", "41"]) == 2
    assert "install the extra `video`" in capsys.readouterr().err


def test_an_option_that_the_videos_lack_is_answered_with_its_nearest(capsys):
    assert main(["clip", "clip.avi", "--widht", "3"]) == 2
    printed = capsys.readouterr().err
    assert "Unrecognized options: --widht" in printed
    assert "--width INT" in printed
    assert main(["clip", "clip.avi", "--recipe", "sqair-pedestrian"]) == 2
    assert "Did you mean 'sqair-pedestrians'?" in capsys.readouterr().err
