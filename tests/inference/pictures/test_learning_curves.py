"""These tests pin: a line per run, its points, its name, and the messages."""

import numpy as np
import pytest

from inference.pictures import draw_learning_curves


def test_a_line_for_each_run_with_its_name():
    figure = draw_learning_curves(
        {"vimco": ([1.0, 2.0], [0.4, 0.9]), "graph": ([0.5, 2.5, 3.0], [0.3, 0.3, 0.8])}, label="counted right"
    )
    (axes,) = figure.axes
    assert axes.get_ylabel() == "counted right"
    assert [line.get_label() for line in axes.lines] == ["vimco", "graph"]
    np.testing.assert_allclose(axes.lines[1].get_xydata(), [[0.5, 0.3], [2.5, 0.3], [3.0, 0.8]])
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["vimco", "graph"]


def test_wrong_curves_are_named():
    with pytest.raises(ValueError, match="curves: expected at least one, got none"):
        draw_learning_curves({}, label="x")
    with pytest.raises(ValueError, match=r"curves\['a'\]: expected a score for each time, got 1 for 2"):
        draw_learning_curves({"a": ([1.0, 2.0], [0.1])}, label="x")
