"""Boxes where objects are, titles that count."""

import pytest
import torch
from matplotlib.patches import Rectangle

from inference.pictures import draw_scenes
from pyro_models.components.scene import Scene


def test_boxes_and_titles():
    frames = torch.rand(3, 9, 11)
    scene = Scene(
        presence=torch.tensor([[1.0, 0.0], [1.0, 1.0], [0.0, 0.0]]),
        positions=torch.tensor([[[4.0, 3.0], [0.0, 0.0]]]).expand(3, 2, 2),
        box_sizes=torch.tensor([[[4.0, 2.0], [1.0, 1.0]]]).expand(3, 2, 2),
    )
    figure = draw_scenes(frames, 1 - frames, scene, torch.tensor([1, 1, 0]), columns=2)
    titles = [axes.get_title() for axes in figure.axes if axes.get_title()]
    assert titles == ["1", "2, not 1", "0"]
    boxes = [[patch for patch in axes.patches if isinstance(patch, Rectangle)] for axes in figure.axes]
    assert [len(found) for found in boxes] == [1, 2, 1, 2, 0, 0, 0, 0]
    assert boxes[0][0].get_xy() == (2.0, 2.0)
    assert (boxes[0][0].get_width(), boxes[0][0].get_height()) == (4.0, 2.0)
    assert boxes[1][0].get_edgecolor() != boxes[1][1].get_edgecolor()
    with pytest.raises(ValueError, match="scene: expected presence, positions and box sizes"):
        draw_scenes(frames, frames, Scene(presence=scene.presence))
