"""These tests pin: a pixel is on above the threshold, not at it; wrong and shared pixels are counted by hand."""

import torch

from inference.metrics.pixels import shared_pixels, wrong_pixels


def test_wrong_and_shared_pixels_by_hand():
    frames = torch.tensor([[0.2, 0.5, 0.6, 0.9]]).reshape(1, 1, 1, 4)
    truth = torch.tensor([[0.0, 1.0, 1.0, 0.0]]).reshape(1, 1, 1, 4)
    assert wrong_pixels(frames, truth).flatten().tolist() == [False, True, False, True]
    assert [count.tolist() for count in shared_pixels(frames, truth)] == [[1], [3]]
    assert wrong_pixels(frames, truth, 0.1).flatten().tolist() == [True, False, False, True]
    assert [count.tolist() for count in shared_pixels(frames, truth, 0.1)] == [[2], [4]]
