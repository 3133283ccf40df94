"""These tests pin: what is drawn where, which frames are outlined, how time becomes shade, and the messages."""

import pytest
import torch

from inference.pictures import draw_shaded_videos, draw_strips
from inference.pictures.strips import shade
from inference.pictures.theme import MISSING, colours_of

VIDEOS = {"truth": torch.rand(6, 1, 5, 4), "smoothing": torch.rand(6, 1, 5, 4)}
OBSERVED = torch.tensor([True, True, False, True, True, False])


def test_strips_show_every_frame_in_its_row_and_outline_what_was_missing(tmp_path):
    figure = draw_strips(VIDEOS, OBSERVED, title="one video")
    (axes,) = figure.axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["truth", "smoothing"]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["1", "2", "3", "4", "5", "6"]
    assert len(axes.images) == 12
    torch.testing.assert_close(torch.as_tensor(axes.images[7].get_array())[..., 0], VIDEOS["smoothing"][1, 0])
    thick = [patch.get_linewidth() > 1 for patch in axes.patches]
    assert thick == 2 * (~OBSERVED).tolist()
    assert MISSING in {_hex(patch) for patch in axes.patches[:6]}
    assert colours_of(["smoothing"])["smoothing"] in {_hex(patch) for patch in axes.patches[6:]}
    assert axes.get_title(loc="left") == "one video"
    figure.savefig(tmp_path / "strips.png")
    assert (tmp_path / "strips.png").stat().st_size > 1000


def _hex(patch):
    return "#" + "".join(f"{round(255 * part):02X}" for part in patch.get_edgecolor()[:3])


def test_strips_may_skip_frames_and_have_colour():
    figure = draw_strips({"truth": torch.rand(6, 3, 5, 4)}, every=2)
    (axes,) = figure.axes
    assert [label.get_text() for label in axes.get_xticklabels()] == ["1", "3", "5"]
    assert axes.get_xlabel() == "frame"


def test_a_strip_may_have_an_outline_and_columns_may_have_names():
    videos = VIDEOS | {"a name that is long": torch.rand(6, 1, 5, 4)}
    names = ["a", "b", "c", "d", "e", "f"]
    figure = draw_strips(videos, OBSERVED, every=2, outlines={"smoothing": "#56B4E9"}, columns=names, across="letter")
    (axes,) = figure.axes
    assert [label.get_text() for label in axes.get_xticklabels()] == ["a", "c", "e"]
    assert axes.get_xlabel() == "letter (outlined: missing, so imputed)"
    assert [_hex(patch) for patch in axes.patches[3:6]] == ["#56B4E9"] * 3
    assert [_hex(patch) == MISSING for patch in axes.patches[:3]] == [False, True, False]
    figure.draw_without_rendering()
    assert all(label.get_window_extent().x0 >= 0 for label in axes.get_yticklabels())


def test_outlines_and_columns_are_checked():
    with pytest.raises(ValueError, match=r"outlines: expected names of videos \(truth, smoothing\), got slot 1"):
        draw_strips(VIDEOS, outlines={"slot 1": "red"})
    with pytest.raises(ValueError, match="columns: expected one for each of 6 frames, got 2"):
        draw_strips(VIDEOS, columns=["a", "b"])


def test_shade_puts_later_frames_over_earlier_ones_and_greys_what_stays():
    video = torch.zeros(3, 1, 2, 2)
    video[:, 0, 0, 0] = 1  # a wall
    video[0, 0, 0, 1] = 1
    video[2, 0, 0, 1] = 1
    video[1, 0, 1, 0] = 1
    image = shade(video)
    torch.testing.assert_close(image[0, 0], torch.full((3,), 0.6))
    torch.testing.assert_close(image[1, 1], torch.ones(3))
    late, middle = image[0, 1], image[1, 0]
    assert late.sum() < middle.sum() < 3


def test_shaded_videos_have_a_panel_each_and_one_bar():
    figure = draw_shaded_videos(
        {f"video {number}": torch.rand(6, 1, 5, 4) for number in range(5)}, columns=3, title="five"
    )
    titles = [axes.get_title() for axes in figure.axes if axes.get_title()]
    assert titles == [f"video {number}" for number in range(5)]
    assert figure.axes[-1].get_ylabel() == "frame"
    assert figure.get_suptitle() == "five"


def test_methods_keep_their_colours_from_picture_to_picture():
    first, second = colours_of(["KVAE smoothing", "mine"]), colours_of(["smoothed", "other", "more"])
    assert first["KVAE smoothing"] == second["smoothed"]
    assert len(set(second.values())) == 3
    four = colours_of(["VAE-RNN filtering", "AE-RNN filtering", "KVAE filtering", "DMM filtering"])
    assert len(set(four.values())) == 4


def test_wrong_arguments_are_named():
    with pytest.raises(ValueError, match="videos: expected at least one video, got none"):
        draw_strips({})
    with pytest.raises(
        ValueError, match=r"videos: expected one shape .* got \(5, 1, 5, 4\) for 'b' beside \(6, 1, 5, 4\)"
    ):
        draw_strips({"a": torch.rand(6, 1, 5, 4), "b": torch.rand(5, 1, 5, 4)})
    with pytest.raises(ValueError, match=r"observed: expected bool \(time,\) = \(6,\), got torch.bool \(5,\)"):
        draw_strips(VIDEOS, OBSERVED[:5])
    with pytest.raises(ValueError, match="every: expected at least 1, got 0"):
        draw_strips(VIDEOS, every=0)
