"""These tests pin: a film has every frame at its speed, shows the pixels it was given, and says what is missing."""

import numpy as np
import pytest
import torch
from PIL import Image

from inference.pictures import write_film
from inference.pictures.films import HEADER

VIDEOS = {"truth": torch.zeros(6, 1, 8, 8), "smoothing": torch.ones(6, 1, 8, 8)}


def test_a_film_has_all_frames_and_repeats(tmp_path):
    videos = {name: video.clone() for name, video in VIDEOS.items()}
    videos["truth"][:, 0, 0, 0] = torch.linspace(0, 1, 6)  # GIFs merge equal frames
    path = write_film(tmp_path / "deep" / "film.gif", videos, frames_per_second=5.0)
    with Image.open(path) as film:
        assert film.n_frames == 6
        assert film.info["duration"] == 200
        assert film.info["loop"] == 0
        page = np.asarray(film.convert("RGB"))
    half = page.shape[1] // 2
    assert page[HEADER + 25, half // 2].max() == 0
    assert page[HEADER + 25, half + half // 2].min() == 255


def test_missing_frames_have_a_coloured_border(tmp_path):
    observed = torch.tensor([True, False, True, True, True, True])
    with Image.open(write_film(tmp_path / "film.gif", VIDEOS, observed)) as film:
        pages = []
        for time in range(2):
            film.seek(time)
            pages.append(np.asarray(film.convert("RGB")).reshape(-1, 3).astype(int))
    colourful = [(np.ptp(page, axis=1) > 100).any() for page in pages]
    assert colourful == [False, True]


def test_wrong_arguments_are_named(tmp_path):
    with pytest.raises(ValueError, match=r"outlines: expected names of videos \(truth, smoothing\), got slot 1"):
        write_film(tmp_path / "film.gif", VIDEOS, outlines={"slot 1": "red"})
    with pytest.raises(ValueError, match="scale: expected at least 1, got 0"):
        write_film(tmp_path / "film.gif", VIDEOS, scale=0)
    with pytest.raises(ValueError, match=r"frames_per_second: expected a speed in \(0, 50\], got 60"):
        write_film(tmp_path / "film.gif", VIDEOS, frames_per_second=60.0)
