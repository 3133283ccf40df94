"""Curves by horizon: means and bands, the two lines, units, gaps, and the messages."""

import numpy as np
import pytest
import torch

from inference.metrics import DistanceCurve
from inference.pictures import draw_horizon_curves


def curve(time=8, prefix=3, width=40.0, seed=0):
    means, errors = torch.rand(2, time, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return DistanceCurve(means, 0.1 * errors, torch.full((time,), 5), prefix, width)


def words(axes):
    return [text.get_text() for text in axes.texts]


def test_means_with_bands_and_lines_where_observation_and_training_end(tmp_path):
    ours, longer, still = curve(), curve(time=12, seed=1), curve(seed=2)
    figure = draw_horizon_curves(
        {"ours": ours, "longer": longer}, {"hold last": still}, training_length=6, title="lines"
    )
    (axes,) = figure.axes
    lines = {line.get_label(): line for line in axes.lines}
    for name, drawn in (("ours", ours), ("longer", longer), ("hold last", still)):
        np.testing.assert_allclose(lines[name].get_xdata(), range(1, len(drawn.means) + 1))
        np.testing.assert_allclose(lines[name].get_ydata(), drawn.means)
    band = axes.collections[0].get_paths()[0].vertices
    frame_2 = band[band[:, 0] == 2, 1]
    assert frame_2.min() == pytest.approx(float(ours.means[1] - ours.standard_errors[1]))
    assert frame_2.max() == pytest.approx(float(ours.means[1] + ours.standard_errors[1]))
    upright = [line.get_xdata()[0] for line in axes.lines if len(line.get_xdata()) == 2]
    assert upright == [3.5, 6.5]
    assert words(axes) == ["predicted →", "beyond training →"]
    assert axes.patches[0].get_x() + axes.patches[0].get_width() == 3.5
    assert axes.get_xlim() == (0.5, 12.5)
    assert axes.get_ylim()[0] == 0
    assert axes.get_ylabel() == "position error, pixels"
    assert axes.get_xlabel() == "frame (grey: observed)"
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["ours", "longer", "hold last"]
    assert lines["hold last"].get_linestyle() == "--" != lines["ours"].get_linestyle()
    assert lines["ours"].get_color() != lines["longer"].get_color() != lines["hold last"].get_color()
    figure.savefig(tmp_path / "curves.png")


def test_units_and_words_are_those_of_the_curves():
    (axes,) = draw_horizon_curves({"ours": curve().in_frame_widths}).axes
    assert axes.get_ylabel() == "position error, widths of the frame"
    assert words(axes) == ["predicted →"]
    (axes,) = draw_horizon_curves({"ours": curve()}, tracking=True, training_length=8).axes
    assert axes.get_xlabel() == "frame (grey: objects are matched)"
    assert words(axes) == []  # nothing is predicted, and no frame is beyond training
    (axes,) = draw_horizon_curves({"ours": curve(prefix=8)}).axes
    assert words(axes) == []


def test_frames_without_objects_and_errors_that_are_unknown_are_left_out(tmp_path):
    of_one = curve()
    of_one.means[4:6] = of_one.standard_errors[:] = torch.nan
    figure = draw_horizon_curves({}, {"hold last": of_one})
    figure.savefig(tmp_path / "curves.png")
    assert np.isnan(figure.axes[0].lines[-1].get_ydata()).sum() == 2


def test_words_over_lines_that_are_near_do_not_collide():
    for training_length, apart in ((4, 12), (7, 0)):
        (axes,) = draw_horizon_curves({"ours": curve()}, training_length=training_length).axes
        first, second = axes.texts
        assert second.get_position()[1] - first.get_position()[1] == apart


def test_wrong_arguments_are_named():
    with pytest.raises(ValueError, match="curves: expected at least one, got none; take PrefixMatches.error_by_frame"):
        draw_horizon_curves({})
    with pytest.raises(ValueError, match=r"curves, baselines: expected one prefix for all, got \[3, 5\]; observe the"):
        draw_horizon_curves({"a": curve()}, {"b": curve(prefix=5)})
    with pytest.raises(ValueError, match=r"expected one frame width for all, got \[1.0, 40.0\]; take in_frame_widths"):
        draw_horizon_curves({"a": curve(), "b": curve().in_frame_widths})
    with pytest.raises(ValueError, match="baselines: expected other names than those of curves, got 'a'; rename one"):
        draw_horizon_curves({"a": curve()}, {"a": curve()})
    with pytest.raises(ValueError, match="training_length: expected a positive number of frames, got 0; give None if"):
        draw_horizon_curves({"a": curve()}, training_length=0)
