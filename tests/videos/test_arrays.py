"""Arrays of any layout become videos; layouts that would be a guess, and values that are no light, are refused."""

import numpy as np
import pytest
import torch

from videos import VideoBatch
from videos.arrays import default_layout

VIDEO = torch.arange(2 * 4 * 3 * 5 * 6).reshape(2, 4, 3, 5, 6) / 720  # sequences, time, channels, height, width
GREY = VIDEO[:, :, :1]


@pytest.mark.parametrize("convert", [lambda tensor: tensor, lambda tensor: tensor.numpy()], ids=["torch", "numpy"])
@pytest.mark.parametrize(
    ("array", "layout", "expected"),
    [
        (VIDEO, None, VIDEO),
        (VIDEO.permute(0, 1, 3, 4, 2), None, VIDEO),
        (VIDEO[0].permute(0, 2, 3, 1), None, VIDEO[:1]),
        (GREY[:, :, 0], None, GREY),
        (GREY[0, :, 0], None, GREY[:1]),
        (VIDEO[0], "time channels height width", VIDEO[:1]),
        (VIDEO.permute(4, 3, 2, 1, 0), "width height channels time sequences", VIDEO),
        (VIDEO[:, 0], "sequences, channels, height, width", VIDEO[:, :1]),
        (GREY[0, :, 0].permute(1, 2, 0), "height width time", GREY[:1]),
    ],
)
def test_axes_are_named_or_told_by_their_sizes(array, layout, expected, convert):
    assert torch.equal(VideoBatch.from_array(convert(array), layout).frames, expected)


@pytest.mark.parametrize(
    ("shape", "layout"),
    [
        ((7, 9, 8), "time height width"),
        ((7, 9, 8, 3), "time height width channels"),
        ((7, 9, 8, 8), "sequences time height width"),
        ((7, 9, 1, 8, 8), "sequences time channels height width"),
        ((7, 9, 8, 8, 3), "sequences time height width channels"),
    ],
)
def test_default_layouts(shape, layout):
    assert default_layout(shape) == layout


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        (
            (7, 3, 8, 8),
            "frames .7, 3, 8, 8., which may be 'time channels height width' or 'sequences time height width'",
        ),
        ((7, 3, 8, 3), "may be 'time channels height width' or 'time height width channels'; name it"),
        ((7, 9, 3, 8, 3), "may be 'sequences time channels height width' or 'sequences time height width channels'"),
        ((8, 8, 3), "may be 'height width channels' or 'time height width'; name it"),
        ((7, 9, 8, 8, 4), "frames: expected 1 or 3 channels as the third or the last of five axes, got .*8, 4.; name"),
        ((8, 8), "frames: expected 3 dims .time, height, width., 4 .*, or 5 .*, got 2 in .8, 8."),
        ((2,) * 6, "got 6 in"),
    ],
)
def test_layouts_that_would_be_a_guess_are_refused(shape, message):
    with pytest.raises(ValueError, match=message):
        VideoBatch.from_array(np.zeros(shape))


@pytest.mark.parametrize(
    ("layout", "message"),
    [
        ("time height depth", "layout: expected different words of sequences, time, channels, height, width, .* got"),
        ("time height height", "layout: expected different words"),
        ("sequences time height", "height and width among them, got 'sequences time height'"),
        ("time channels height width", r"layout: expected one word for each of the 3 axes of frames \(7, 8, 9\), got"),
        (
            "channels height width",
            r"frames: expected 1 channel \(grey\) or 3 .*, got 7 in \(7, 8, 9\), layout 'channels ",
        ),
    ],
)
def test_layouts_that_do_not_fit_are_refused(layout, message):
    with pytest.raises(ValueError, match=message):
        VideoBatch.from_array(np.zeros((7, 8, 9)), layout)


@pytest.mark.parametrize(
    ("values", "light"),
    [
        (np.array([0, 51, 255], dtype=np.uint8), [0.0, 0.2, 1.0]),
        (np.array([0, 1, 1], dtype=np.uint8), [0.0, 1.0, 1.0]),
        (np.array([False, True, True]), [0.0, 1.0, 1.0]),
        (np.array([0.0, 0.25, 1.0]), [0.0, 0.25, 1.0]),
        (np.array([0.0, 0.25, 1.0], dtype=np.float16), [0.0, 0.25, 1.0]),
        (torch.tensor([0.0, 0.25, 1.0], dtype=torch.bfloat16), [0.0, 0.25, 1.0]),
    ],
)
def test_bytes_booleans_and_shares_are_light(values, light):
    frames = VideoBatch.from_array(values[None, None, :], "time height width").frames
    assert frames.dtype == torch.float32
    torch.testing.assert_close(frames.flatten(), torch.tensor(light))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([0.0, 128.0, 255.0], r"from 0 \(black\) to 1 \(white\), got 0 to 255; these look like bytes: divide by 255"),
        ([0.0, 60000.0], "got 0 to 60000; divide by 60000, or by their white"),
        ([0.0, np.nan, np.nan], r"expected finite values from 0 to 1, got NaN \(2 of 3 are not finite\); replace them"),
        ([0.0, np.inf], r"got infinite values \(1 of 2 are not finite\)"),
        ([-1.0, 1.0], r"got -1 to 1; map them to light, such as with \(frames - low\) / \(high - low\)"),
    ],
)
def test_values_that_are_no_light_are_refused_with_the_remedy(values, message):
    with pytest.raises(ValueError, match=message):
        VideoBatch.from_array(np.array(values)[None, None, :], "time height width")


@pytest.mark.parametrize(
    ("array", "error", "message"),
    [
        (np.zeros((7, 8, 9), dtype=np.int64), ValueError, r"got int64; values from 0 to 255 .* \.astype\('uint8'\)"),
        (
            np.zeros((7, 8, 9), dtype=np.uint16),
            ValueError,
            "expected uint8 from 0 to 255, bool, or floating .*, got uint16",
        ),
        (torch.zeros(7, 8, 9, dtype=torch.complex64), ValueError, "got complex64"),
        (
            [[[0.0]]],
            TypeError,
            "frames: expected a numpy array or a torch.Tensor, got list; convert it with np.asarray",
        ),
        (np.zeros((0, 8, 9)), ValueError, r"frames: expected at least one frame and one pixel, got \(0, 8, 9\)"),
    ],
)
def test_other_kinds_of_arrays_are_refused(array, error, message):
    with pytest.raises(error, match=message):
        VideoBatch.from_array(array)
