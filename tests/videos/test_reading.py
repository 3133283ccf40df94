"""Videos of any kind come out the same: cut, resized, grey, and said; what is no video is refused by name."""

import logging

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from videos import BoxWorld, VideoBatch, VideoFormat, load_frames, load_video, load_videos, save_videos, synthetic_clip
from videos.reading import read_clips, whole_clips
from videos.sources import Source, natural

HEIGHT, WIDTH = 24, 32


@pytest.fixture(scope="module")
def clip():
    return synthetic_clip(torch.Generator().manual_seed(0), 24, HEIGHT, WIDTH, 2, noise=0.0).numpy()


def write_images(folder, frames, name="frame-{}.png"):
    folder.mkdir(parents=True, exist_ok=True)
    for number, frame in enumerate(frames):
        Image.fromarray(frame).save(folder / name.format(number))
    return folder


def write_video(path, frames, codec="MJPG"):
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*codec), 25, frames.shape[2:0:-1])
    for frame in frames:
        writer.write(np.ascontiguousarray(frame[..., ::-1]))
    writer.release()
    return path


def test_numbers_in_names_count(tmp_path, clip):
    write_images(tmp_path, clip[:12], "im{}.png")  # im10 comes before im2 by the alphabet
    torch.testing.assert_close(load_frames(tmp_path).frames, VideoBatch.from_array(clip[:12]).frames)
    assert sorted(["b2", "a10", "a9b", "a9"], key=natural) == ["a9", "a9b", "a10", "b2"]
    assert sorted(["m²2", "m²", "m10"], key=natural) == ["m10", "m²", "m²2"]  # a digit to Python, but no number


@pytest.mark.parametrize(
    ("name", "codec", "error"),
    [("clip.mp4", "mp4v", 0.04), ("clip.avi", "MJPG", 0.03), ("clip.gif", None, 0.05)],
)
def test_video_files_show_the_frames_that_were_written(tmp_path, clip, name, codec, error):
    path = tmp_path / name
    if codec is None:
        first, *rest = map(Image.fromarray, clip)
        first.save(path, save_all=True, append_images=rest)
    else:
        write_video(path, clip, codec)
    frames = load_video(path).frames
    assert frames.shape == (1, 24, 3, HEIGHT, WIDTH)
    assert (frames - VideoBatch.from_array(clip).frames).abs().mean() < error


def test_all_kinds_give_the_same_videos(tmp_path, clip, caplog):
    """The same two clips in an array of any name, as folders of images, and one as a folder of images alone."""
    form = VideoFormat(num_frames=5, stride=2, frame_size=(6, 8), grey=True)
    both = np.stack([clip[:12], clip[12:]])
    np.savez(tmp_path / "a.npz", weights=np.zeros(3), anything=both)
    np.save(tmp_path / "b.npy", both)
    for number in (0, 1):
        write_images(tmp_path / "clips" / str(number), both[number])
    with caplog.at_level(logging.INFO, logger="videos.reading"):
        expected = load_videos(tmp_path / "a.npz", form).frames
    assert expected.shape == (8, 5, 1, 6, 8)
    assert "a.npz: 2 clips of 12 frames, 32 x 24 pixels in colour -> 8 x 6 pixels in grey" in caplog.text
    assert "a.npz: cut into 8 sequences of 5 frames" in caplog.text
    torch.testing.assert_close(load_videos(tmp_path / "b.npy", form).frames, expected)
    torch.testing.assert_close(load_videos(tmp_path / "clips", form).frames.sort(0)[0], expected.sort(0)[0])
    torch.testing.assert_close(load_videos(tmp_path / "clips" / "1", form).frames, expected[1::2])


def test_resizing_and_grey_are_means():
    """Against Pillow's filter, and the weights of ITU-R BT.601."""
    colours = torch.rand(1, 2, 3, 16, 20, generator=torch.Generator().manual_seed(0))
    for size in ((4, 5), (7, 11), (24, 30)):
        resized = VideoFormat(frame_size=size).shaped(colours)
        image = Image.fromarray(colours[0, 1, 2].numpy(), "F")
        expected = np.array(image.resize(size[::-1], Image.Resampling.BILINEAR))
        np.testing.assert_allclose(resized[0, 1, 2].numpy(), expected, atol=1e-5)
    grey = VideoFormat(grey=True).shaped(colours)
    torch.testing.assert_close(
        grey[:, :, 0], 0.299 * colours[:, :, 0] + 0.587 * colours[:, :, 1] + 0.114 * colours[:, :, 2]
    )
    assert VideoFormat(grey=False).shaped(grey).shape == colours.shape
    sharp = VideoFormat(threshold=0.5, invert=True).shaped(grey)
    assert torch.equal(sharp, (grey < 0.5).float())


def test_truth_moves_with_the_pixels(tmp_path):
    videos = BoxWorld(num_frames=9, masks=True).simulate(3, torch.Generator().manual_seed(0))
    save_videos(tmp_path / "box.npz", videos)
    half = load_videos(tmp_path / "box.npz", VideoFormat(frame_size=16, num_frames=4, stride=5))
    assert half.num_sequences == 6
    whole = [videos.between(0, 4), videos.between(5, 9)]
    for place in (0, 1):
        rows = slice(3 * place, 3 * place + 3)
        torch.testing.assert_close(half.positions[rows], 0.5 * whole[place].positions - 0.25)
        torch.testing.assert_close(half.velocities[rows], 0.5 * whole[place].velocities)
    rows, columns = torch.meshgrid(torch.arange(16.0), torch.arange(16.0), indexing="ij")
    mask = half.masks[:, :, 0].float()
    centre = torch.stack([(mask * grid).sum((2, 3)) / mask.sum((2, 3)) for grid in (columns, rows)], -1)
    assert (centre - half.positions[:, :, 0]).abs().max() < 1
    with pytest.raises(ValueError, match="every: expected 1 for videos with velocities, hits, got 2"):
        load_videos(tmp_path / "box.npz", VideoFormat(every=2))


def test_frames_are_left_out(tmp_path, clip):
    np.savez(tmp_path / "clip.npz", clip=clip)
    thinned = load_videos(tmp_path / "clip.npz", VideoFormat(every=5)).frames
    assert torch.equal(thinned, VideoBatch.from_array(clip[::5]).frames)
    images = load_frames(write_images(tmp_path / "images", clip), VideoFormat(every=5)).frames
    torch.testing.assert_close(images, thinned)


@pytest.mark.parametrize(
    ("number", "length", "num_frames", "expected"),
    [
        (1, 60, 5, [(1, 42), (1, 6), (1, 12)]),  # 70, 10 and 20 % of the time
        (4, 30, 10, [(4, 10), (4, 10), (4, 10)]),  # held-out parts are at least as long as a sequence
        (10, 20, 10, [(7, 20), (1, 20), (2, 20)]),  # too short: the last clips
        (3, 20, 20, [(1, 20), (1, 20), (1, 20)]),
    ],
)
def test_no_frame_is_in_two_parts(tmp_path, number, length, num_frames, expected):
    frames = np.arange(number * length, dtype=np.float32).reshape(number, length, 1, 1) / 1e4
    np.savez(tmp_path / "clips.npz", clips=frames)
    layout = "sequences time height width"
    parts = read_clips(tmp_path / "clips.npz", VideoFormat(num_frames=num_frames), layout).split((0.7, 0.1, 0.2))
    sizes = [(sum(part.num_sequences for part in one.parts), one.parts[0].num_frames) for one in parts]
    assert sizes == expected
    seen = [set(one.cut(stride=1).frames.flatten().tolist()) for one in parts]
    assert not seen[0] & seen[1]
    assert not (seen[0] | seen[1]) & seen[2]
    assert set().union(*seen) == set(frames.flatten().tolist())


def test_clips_too_short_to_hold_some_out_are_refused(tmp_path):
    np.savez(tmp_path / "clips.npz", clips=np.zeros((2, 50, 8, 8)))
    message = (
        "num_frames: expected clips of at least 60 frames, .* got 2 of 50 frames in .*give num_frames = 16 or fewer"
    )
    with pytest.raises(ValueError, match=message):
        read_clips(tmp_path / "clips.npz", VideoFormat(num_frames=20)).split((0.7, 0.1, 0.2))


def test_what_is_no_video_is_refused(tmp_path, clip):
    def refused(path, message, form=None, error=ValueError, read=load_videos):
        with pytest.raises(error, match=message):
            read(path, form)

    (tmp_path / "empty").mkdir()
    refused(tmp_path / "empty", "path: expected a folder of images .*, got .*empty: it is empty")
    refused(tmp_path / "none.mp4", "path: expected .*none.mp4, which is not there", error=FileNotFoundError)
    write_images(tmp_path / "mixed", clip[:2])
    Image.fromarray(clip[0, :10]).save(tmp_path / "mixed" / "frame-7.png")
    refused(
        tmp_path / "mixed", r"images of one size .*, got \(24, 32, 3\) in .*frame-0.png and \(10, 32, 3\) in .*frame-7"
    )
    write_video(tmp_path / "both" / "clip.avi", clip)
    write_images(tmp_path / "both", clip[:2])
    refused(tmp_path / "both", "and of one kind only, got .*both: it holds clip.avi, frame-0.png, frame-1.png")
    (tmp_path / "text.mp4").write_text("not a video")
    refused(tmp_path / "text.mp4", "text.mp4, which OpenCV cannot read; it is not a video")
    refused(tmp_path / "mixed" / "frame-0.png", "expected videos, got one image, .*; give the folder of the images")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "1.png").write_bytes(b"no image")
    refused(tmp_path / "broken", "path: expected an image, got .*1.png, which cannot be read")
    Image.fromarray(clip[0, :, :, 0].astype(np.uint16)).save((tmp_path / "deep").with_suffix(".png"))
    (tmp_path / "sixteen").mkdir()
    (tmp_path / "deep.png").rename(tmp_path / "sixteen" / "deep.png")
    refused(tmp_path / "sixteen", "expected images of 8 bits a channel, got .*deep.png in Pillow's mode 'I;16'")
    np.savez(tmp_path / "two.npz", left=clip, right=clip)
    refused(tmp_path / "two.npz", r"got .*two.npz with left \(24, 24, 32, 3\) uint8, right .*; save one of them alone")
    np.savez(tmp_path / "bytes.npz", light=clip.astype(np.float32))
    refused(tmp_path / "bytes.npz", "light of .*bytes.npz: expected values from 0 .*: divide by 255")
    write_video(tmp_path / "clip.avi", clip)
    refused(
        tmp_path / "clip.avi", "at most the frames of the shortest clip of .*, 24, got 25", VideoFormat(num_frames=25)
    )
    refused(tmp_path / "clip.avi", "path: expected a folder of images, got .*clip.avi; load_videos", read=load_frames)
    with pytest.raises(ValueError, match="layout: expected None for .*clip.avi, which is no array"):
        load_videos(tmp_path / "clip.avi", layout="time height width")
    write_video(tmp_path / "sizes" / "1.avi", clip)
    write_video(tmp_path / "sizes" / "2.avi", clip[:, :16, :16])
    refused(tmp_path / "sizes", r"frame_size: expected a size for clips of different sizes .*16 x 16 \(3\), 32 x 24")
    assert load_videos(tmp_path / "sizes", VideoFormat(frame_size=8)).frames.shape == (2, 24, 3, 8, 8)


def test_videos_that_would_not_fit_into_memory_are_refused_before_they_are_read(tmp_path, clip, monkeypatch):
    small = VideoFormat(max_gigabytes=1e-5)
    message = (
        "at most 1e-05 GB, got 0.0 GB: .*, 24 frames of 3 x 24 x 32 values; give a smaller frame_size, a larger every"
    )
    np.savez(tmp_path / "clip.npz", clip=clip)
    write_images(tmp_path / "images", clip)
    write_video(tmp_path / "clip.avi", clip)
    for name in ("clip.npz", "images", "clip.avi"):
        with pytest.raises(ValueError, match=message):
            load_videos(tmp_path / name, small)
    assert load_videos(tmp_path / "clip.avi", VideoFormat(max_gigabytes=1e-5, frame_size=4)).num_frames == 24
    with pytest.raises(ValueError, match="20 sequences of 5 frames, 100 frames of 3 x 4 x 4"):
        load_videos(tmp_path / "clip.avi", VideoFormat(max_gigabytes=1e-5, frame_size=4, num_frames=5, stride=1))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_frames": 0}, "num_frames: expected at least 1, got 0"),
        ({"frame_size": (8, 0)}, "frame_size: expected at least 1, got 0"),
        ({"threshold": 1.0}, "threshold: expected from 0 to below 1"),
        ({"max_gigabytes": 0.0}, "max_gigabytes: expected a positive number"),
    ],
)
def test_formats_out_of_range_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        VideoFormat(**options)


def test_fingerprints_change_with_a_pixel_and_not_with_a_copy(tmp_path, clip):
    first = Source.of(write_images(tmp_path / "one", clip[:3])).fingerprint()
    second = Source.of(write_images(tmp_path / "two", clip[:3])).fingerprint()
    assert first["sha256"] == second["sha256"]
    assert first["path"] == str((tmp_path / "one").resolve())
    assert first["bytes"] == sum(path.stat().st_size for path in (tmp_path / "one").iterdir())
    changed = clip[:3].copy()
    changed[1, 0, 0] ^= 1
    assert Source.of(write_images(tmp_path / "two", changed)).fingerprint()["sha256"] != first["sha256"]


def test_whole_clips_are_files_or_bytes(tmp_path, clip):
    path = write_video(tmp_path / "clips" / "a.avi", clip)
    assert whole_clips(tmp_path / "clips") == (path,)
    (frames,) = whole_clips(write_images(tmp_path / "images", clip))
    assert torch.equal(frames, torch.from_numpy(clip))
    np.savez(tmp_path / "grey.npz", light=clip[..., 0] / np.float32(255))
    (frames,) = whole_clips(tmp_path / "grey.npz")
    assert torch.equal(frames, torch.from_numpy(clip[..., :1]).expand(-1, -1, -1, 3))
