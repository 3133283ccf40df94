"""Files are read in the right colours or refused by name; the synthetic clip is a static scene in which things move."""

import sys

import cv2
import numpy as np
import pytest
import torch

from videos import synthetic_clip
from videos.clips import background_of, frame_rate, frames_at, read_frames


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def red_film(tmp_path):
    """Twenty frames, 12 a second, ever brighter red."""
    path = tmp_path / "red.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 12.0, (64, 48))
    for number in range(20):
        frame = np.zeros((48, 64, 3), dtype=np.uint8)
        frame[..., 2] = 10 * number  # OpenCV's third channel
        writer.write(frame)
    writer.release()
    return path


def test_a_file_is_read_in_red_green_blue(red_film):
    frames = np.stack(list(read_frames(red_film)))
    assert frames.shape == (20, 48, 64, 3)
    assert frames.dtype == np.uint8
    assert np.abs(frames[..., 0].mean((1, 2)) - 10 * np.arange(20)).max() < 4
    assert frames[..., 1:].mean() < 4
    assert frame_rate(red_film) == 12.0
    assert frame_rate(torch.from_numpy(frames)) is None
    assert np.array_equal(frames_at(str(red_film), [7, 3]).numpy(), frames[[7, 3]])


@pytest.mark.parametrize("num_frames", [1, 5, 25])
def test_what_moves_is_not_in_the_background(num_frames):
    """A square passes over each pixel in 4 of 40 frames; one frame or two show it somewhere."""
    clip = torch.full((40, 20, 50, 3), 90, dtype=torch.uint8)
    for time in range(40):
        clip[time, 5:15, time : time + 4] = 250
    differs = (background_of(clip, num_frames) != 90).any()
    assert differs == (num_frames == 1)
    with pytest.raises(ValueError, match="num_frames: expected at least 1, got 0"):
        background_of(clip, 0)


def test_frames_that_a_clip_lacks_are_named(red_film):
    for numbers in ([20], [-1, 2]):
        with pytest.raises(ValueError, match=r"numbers: expected frames that the clip has, got \["):
            frames_at(red_film, numbers)


def test_what_is_no_video_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"clip: expected a video file, got .*none.avi, which is not a file"):
        list(read_frames(tmp_path / "none.avi"))
    (tmp_path / "empty.avi").touch()
    with pytest.raises(ValueError, match=r"empty.avi, which is empty"):
        list(read_frames(tmp_path / "empty.avi"))
    (tmp_path / "text.avi").write_text("a letter, not a film\n" * 100)
    with pytest.raises(ValueError, match=r"text.avi, which OpenCV cannot read"):
        list(read_frames(tmp_path / "text.avi"))


def test_a_file_that_was_cut_off_is_refused(data_folder, tmp_path):
    whole = (data_folder / "video" / "vtest.avi").read_bytes()
    (tmp_path / "cut.avi").write_bytes(whole[:500_000])
    with pytest.raises(
        ValueError, match=r"expected the 795 frames that .*cut.avi announces, .*, got \d\d; the file is trunc"
    ):
        list(read_frames(tmp_path / "cut.avi"))


@pytest.mark.parametrize(
    "frames",
    [torch.rand(4, 6, 5, 3), torch.zeros(4, 6, 5, dtype=torch.uint8), torch.zeros(0, 6, 5, 3, dtype=torch.uint8)],
    ids=["floating point", "grey", "no frames"],
)
def test_frames_in_memory_of_another_kind_are_refused(frames):
    with pytest.raises(ValueError, match=r"clip: expected uint8 \(time, height, width, 3\), got "):
        list(read_frames(frames))


def test_without_opencv_the_extra_is_named(red_film, monkeypatch):
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(ImportError, match="install the extra `video`"):
        list(read_frames(red_film))
    assert len(list(read_frames(torch.zeros(2, 4, 4, 3, dtype=torch.uint8)))) == 2


def test_the_synthetic_clip_moves_where_it_is_said_to():
    clip = synthetic_clip(generator(), num_frames=40, height=60, width=80, num_objects=2)
    assert clip.shape == (40, 60, 80, 3)
    assert clip.dtype == torch.uint8
    assert torch.equal(clip, synthetic_clip(generator(), num_frames=40, height=60, width=80, num_objects=2))
    assert not torch.equal(clip, synthetic_clip(generator(1), num_frames=40, height=60, width=80, num_objects=2))
    dark = clip.float().mean(-1) < 120
    assert (dark.sum((1, 2)) > 60).all()
    assert not torch.equal(dark[0], dark[20])


def test_without_objects_the_synthetic_clip_is_noise_about_one_picture():
    clip = synthetic_clip(generator(), num_frames=60, height=40, width=50, num_objects=0, noise=2.0).float()
    assert clip.std(0).mean() == pytest.approx(2.0, rel=0.05)
    assert (clip - clip.mean(0)).abs().max() < 15
    assert clip.mean(0).std() > 5  # the picture has a pattern
    still = synthetic_clip(generator(), num_frames=3, num_objects=0, noise=0.0)
    assert torch.equal(still[0], still[2])


@pytest.mark.parametrize(("name", "value"), [("num_frames", 0), ("width", -1), ("num_objects", -1), ("noise", -0.1)])
def test_settings_out_of_range_are_named(name, value):
    with pytest.raises(ValueError, match=f"{name}: expected .*, got {value}"):
        synthetic_clip(generator(), **{name: value})
