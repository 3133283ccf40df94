"""Films show each frame with its boxes in the colour of their identity; pictures show where each track went."""

import cv2
import numpy as np
import pytest
import torch
from PIL import Image, ImageColor

from inference.pictures import draw_paths, film_tracks
from inference.pictures.theme import IDENTITIES
from videos import Tracks
from videos.clips import read_frames

CLIP = torch.full((6, 96, 128, 3), 60, dtype=torch.uint8)
TRACKS = Tracks(
    torch.tensor([0, 1, 2, 2]),
    torch.tensor([3, 3, 3, 8]),
    torch.tensor([[20.0 + 20 * step, 30, 25, 40] for step in range(3)] + [[90.0, 40, 20, 20]]).double(),
)


def colour(identity):
    return np.array(ImageColor.getrgb(IDENTITIES[identity]))


def near(picture, identity, tolerance=60):
    """Pixels in about this colour."""
    return np.abs(picture.astype(int) - colour(identity)).max(-1) < tolerance


@pytest.mark.parametrize("name", ["film.mp4", "film.avi", "film.gif"])
def test_boxes_are_where_they_are_in_each_frame(tmp_path, name):
    clip = CLIP if name.endswith("gif") else CLIP.repeat(1, 1, 6, 1)  # codecs blur thin lines, of small frames
    path = film_tracks(tmp_path / "deep" / name, clip, TRACKS)
    if name.endswith("gif"):
        pages = []
        with Image.open(path) as film:
            for number in range(film.n_frames):
                film.seek(number)
                pages.append(np.asarray(film.convert("RGB")))
        assert len(pages) == 4  # a GIF merges equal frames
    else:
        pages = list(read_frames(path))
        assert len(pages) == 6
    assert pages[0].shape == clip.shape[1:]
    for step in range(3):
        columns = np.flatnonzero(near(pages[step], 3)[40:65].mean(0) > 0.6)
        assert abs(columns.min() - (20 + 20 * step)) <= 1
        assert abs(columns.max() - (45 + 20 * step)) <= 1
    assert near(pages[2], 8).sum() > 30
    assert not near(pages[1], 8).any()
    assert not near(pages[3], 3).any()


def test_long_gifs_leave_out_frames_and_are_small(tmp_path):
    clip = torch.randint(0, 255, (30, 10, 500, 3), dtype=torch.uint8)
    late = Tracks(torch.tensor([450]), torch.tensor([1]), torch.tensor([[1.0, 1, 5, 5]]).double())
    with Image.open(film_tracks(tmp_path / "film.gif", clip, late)) as film:
        assert film.n_frames == 10  # every third
        assert film.size == (384, 8)
        assert film.info["duration"] == 300


def test_paths_end_where_tracks_end():
    figure = draw_paths(CLIP[0], TRACKS, title="paths")
    axes = figure.axes[0]
    assert axes.get_title(loc="left") == "paths"
    assert {text.get_text(): text.xy for text in axes.texts} == {"3": (72.5, 70.0), "8": (100.0, 60.0)}
    lines = [line.get_xydata().tolist() for line in axes.lines if len(line.get_xdata()) == 3]
    assert lines == 2 * [[[32.5, 70.0], [52.5, 70.0], [72.5, 70.0]]]  # a dark line below a coloured one


def test_other_endings_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"film: expected a file ending in .mp4, .avi, .gif, got .*film.webm"):
        film_tracks(tmp_path / "film.webm", CLIP, TRACKS)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_encoder_is_named(tmp_path, monkeypatch):
    class Writer:
        def __init__(self, *_):
            pass

        def isOpened(self):
            return False

    monkeypatch.setattr(cv2, "VideoWriter", Writer)
    with pytest.raises(
        ValueError, match=r"film: expected a kind of film that this OpenCV can encode, .*; write a .gif"
    ):
        film_tracks(tmp_path / "film.mp4", CLIP, TRACKS)
