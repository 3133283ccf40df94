"""These tests pin: a panel per pattern, ours apart from the published, the published numbers, and the messages."""

import numpy as np
import pytest
import torch

from inference.pictures import draw_errors_per_frame, draw_imputation_curves
from inference.recipes.published_curves import KALMAN_VAE_IMPUTATION
from inference.scores.imputation_curves import ImputationCurve

OURS = [
    ImputationCurve("random", "smoothing", (0.1, 0.5), (0.004, 0.006), (0.001, 0.001)),
    ImputationCurve("gap", "smoothing", (1.0, 3.0), (0.004, 0.006), (0.001, 0.001)),
]


def test_each_pattern_has_its_panel_with_ours_and_the_published(tmp_path):
    figure = draw_imputation_curves(OURS, KALMAN_VAE_IMPUTATION, title="box")
    left, right = figure.axes
    assert left.get_xlabel() == "probability that a frame is missing"
    assert right.get_xlabel() == "number of missing frames"
    assert left.get_ylim()[0] == 0
    assert left.get_ylim()[1] > 0.0279
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names[0] == "smoothing"
    assert names[1:] == [
        f"{method} (published)" for method in ("KVAE smoothing", "KVAE filtering", "AE-RNN", "VAE-RNN")
    ]
    dashed = [line for line in right.lines if line.get_linestyle() == "--"]
    np.testing.assert_allclose(dashed[0].get_xydata()[-1], (15, 0.0227))
    ours = right.containers[0].lines[0]
    np.testing.assert_allclose(ours.get_xydata(), [(1, 0.004), (3, 0.006)])
    assert ours.get_color() == dashed[0].get_color()
    figure.savefig(tmp_path / "curves.png")


def test_published_numbers_are_those_of_the_figure():
    curves = {(curve.pattern, curve.method): curve for curve in KALMAN_VAE_IMPUTATION}
    assert len(curves) == 8
    assert curves["random", "KVAE smoothing"].errors[0] == pytest.approx(0.0057)
    assert curves["random", "VAE-RNN"].errors[-1] == pytest.approx(0.0279)
    assert curves["gap", "AE-RNN"].errors[3] == pytest.approx(0.0175)
    for curve in curves.values():
        assert len(curve.levels) == len(curve.errors) == len(curve.standard_errors)
        assert list(curve.levels) == sorted(curve.levels)


def test_errors_per_frame_leave_out_what_was_not_scored():
    curve = torch.tensor([float("nan"), 0.1, 0.2, float("nan")])
    observed = torch.tensor([True, False, False, True])
    (axes,) = draw_errors_per_frame({"smoothing": curve, "filtering": 2 * curve}, observed, title="gap").axes
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["smoothing", "filtering"]
    np.testing.assert_allclose(axes.lines[0].get_xdata(), [1, 2, 3, 4])
    assert len(axes.patches) == 2
    assert axes.get_xlabel() == "frame (grey: seen)"


def test_wrong_arguments_are_named():
    with pytest.raises(ValueError, match="curves: expected at least one, got none"):
        draw_imputation_curves([])
    with pytest.raises(ValueError, match=r"curves: expected at least one, all of one shape \(time,\), got shapes \[\]"):
        draw_errors_per_frame({})
    with pytest.raises(ValueError, match=r"got shapes \[\(3,\), \(4,\)\]"):
        draw_errors_per_frame({"a": torch.rand(3), "b": torch.rand(4)})
