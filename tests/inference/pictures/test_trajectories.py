"""Paths in the plane of a frame, predicted frames over true ones."""

import pytest
import torch

from inference.pictures import draw_overlays, draw_trajectories

PRESENCE = torch.tensor([[True, True], [True, False], [True, True]])


def test_a_panel_for_each_video_and_a_path_for_each_object():
    frames = torch.rand(3, 6, 1, 9, 11)
    truth = torch.rand(3, 6, 2, 2) * 8
    observed = torch.ones(3, 6, dtype=torch.bool)
    observed[:, 2:4] = False
    figure = draw_trajectories(frames, {"truth": truth, "forecast": truth + 1}, PRESENCE, observed, columns=2)
    panels = [axes for axes in figure.axes if axes.axison]
    assert len(panels) == 3
    # of each object: the truth, a thin line, frames that were seen, frames that were not, the beginning
    assert [len(axes.lines) for axes in panels] == [10, 5, 10]
    assert panels[0].get_ylim() == (8.5, -0.5)
    hollow = [line for line in panels[1].lines if line.get_markerfacecolor() == "white"]
    assert [len(line.get_xdata()) for line in hollow] == [2]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["truth", "forecast"]


def test_what_agrees_is_white():
    truth, predicted = torch.zeros(7, 1, 4, 5), torch.zeros(7, 1, 4, 5)
    truth[:, :, 0, 0] = predicted[:, :, 0, 0] = 1
    truth[:, :, 1, 1] = 1
    predicted[:, :, 2, 2] = 1
    observed = torch.arange(7) < 3
    figure = draw_overlays(truth, {"forecast": predicted, "interpolated": truth}, observed, every=3)
    assert [axes.get_title() for axes in figure.axes][:3] == ["1", "4", "7"]
    assert len(figure.axes) == 6
    image = figure.axes[0].images[0].get_array()
    assert image[0, 0].tolist() == [1, 1, 1]
    assert image[1, 1].tolist() == [0, 1, 1]
    assert image[2, 2].tolist() == [1, 0, 0]
    assert figure.axes[0].spines["left"].get_linewidth() < figure.axes[1].spines["left"].get_linewidth()


def test_wrong_shapes_are_refused():
    frames = torch.rand(3, 6, 1, 9, 11)
    with pytest.raises(ValueError, match="paths: expected"):
        draw_trajectories(frames, {"truth": torch.rand(3, 5, 2, 2)}, PRESENCE)
    with pytest.raises(ValueError, match="predicted: expected"):
        draw_overlays(frames[0], {"forecast": frames[0, :3]}, torch.ones(6, dtype=torch.bool))
