"""These tests pin: paths lie where their codes are, grids and maps agree about rows and columns, and the messages."""

import numpy as np
import pytest
import torch

from inference.pictures import code_grid, draw_code_trajectories, draw_weight_maps

EXTENT = (-3.0, 3.0, -1.0, 2.0)


def test_trajectories_have_a_panel_per_sequence_and_rings_where_frames_were_missing():
    paths = {"encoded": torch.randn(5, 7, 2), "smoothed": torch.randn(5, 7, 2)}
    observed = torch.ones(5, 7, dtype=torch.bool)
    observed[1, 2:4] = False
    figure = draw_code_trajectories(paths, {"smoothed": observed}, columns=3, title="codes")
    shown = [axes for axes in figure.axes if axes.axison]
    assert [axes.get_title() for axes in shown] == [f"sequence {number}" for number in range(1, 6)]
    line, dots, rings, start = shown[1].lines[4:]
    np.testing.assert_allclose(line.get_xydata(), paths["smoothed"][1])
    np.testing.assert_allclose(dots.get_xydata(), paths["smoothed"][1][observed[1]])
    np.testing.assert_allclose(rings.get_xydata(), paths["smoothed"][1, 2:4])
    np.testing.assert_allclose(start.get_xydata(), paths["smoothed"][1, :1])
    assert len(shown[1].lines[2].get_xydata()) == 0
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["encoded", "smoothed"]


def test_the_grid_has_the_first_code_along_its_columns():
    grid = code_grid(EXTENT, 5)
    assert grid.shape == (5, 5, 2)
    assert grid[0, -1].tolist() == [3.0, -1.0]
    assert grid[-1, 0].tolist() == [-3.0, 2.0]


def test_weight_maps_put_a_weight_where_its_code_is():
    grid = code_grid(EXTENT, 5)
    right = (grid[..., 0] > 1).float()
    figure = draw_weight_maps(torch.stack([right, 1 - right], -1), EXTENT, torch.randn(4, 6, 2), title="weights")
    first, second, bar = figure.axes
    assert (first.get_title(), second.get_title()) == ("dynamics 1", "dynamics 2")
    (image,) = first.images
    assert image.origin == "lower"
    assert tuple(image.get_extent()) == EXTENT
    np.testing.assert_allclose(image.get_array(), right)
    assert first.get_xlim() == EXTENT[:2]
    assert bar.get_ylabel() == "weight"
    assert len(first.lines[0].get_xydata()) == 24


def test_wrong_arguments_are_named():
    paths = {"encoded": torch.randn(5, 7, 2)}
    with pytest.raises(ValueError, match="trajectories: expected at least one, got none"):
        draw_code_trajectories({})
    with pytest.raises(
        ValueError, match=r"trajectories: expected .* \(sequences, time, 2\), got \(5, 7, 3\) for 'encoded'"
    ):
        draw_code_trajectories({"encoded": torch.randn(5, 7, 3)})
    with pytest.raises(ValueError, match="observed: expected names among encoded, got 'smoothed'"):
        draw_code_trajectories(paths, {"smoothed": torch.ones(5, 7, dtype=torch.bool)})
    with pytest.raises(ValueError, match=r"observed: expected bool .* \(5, 7\), got torch.bool \(5, 6\) for 'encoded'"):
        draw_code_trajectories(paths, {"encoded": torch.ones(5, 6, dtype=torch.bool)})
    with pytest.raises(ValueError, match=r"weights: expected \(rows, columns, component\), got \(5, 5\)"):
        draw_weight_maps(torch.rand(5, 5), EXTENT)
    with pytest.raises(ValueError, match=r"codes: expected \(\*batch, 2\), got \(4, 3\)"):
        draw_weight_maps(torch.rand(5, 5, 2), EXTENT, torch.randn(4, 3))
