"""These tests pin: overlaps of boxes by hand, where they end, and the two rules of half."""

import math

import torch

from inference.metrics.boxes import box_overlaps, is_visible, near_distance


def test_overlaps_by_hand():
    """A box of 4 x 2: itself, shifted by half its width, inside one of 8 x 2, beside, and apart."""
    positions, sizes = torch.tensor([[10.0, 5.0]]), torch.tensor([[4.0, 2.0]])
    others = torch.tensor([[10.0, 5.0], [12.0, 5.0], [10.0, 5.0], [14.0, 5.0], [30.0, 5.0]])
    other_sizes = torch.tensor([[4.0, 2.0], [4.0, 2.0], [8.0, 2.0], [4.0, 2.0], [4.0, 2.0]])
    expected = torch.tensor([[1.0, 4 / 12, 8 / 16, 0.0, 0.0]])
    torch.testing.assert_close(box_overlaps(positions, sizes, others, other_sizes), expected)
    torch.testing.assert_close(box_overlaps(others, other_sizes, positions, sizes), expected.T)


def test_boxes_without_area_are_in_no_gate():
    nothing = torch.zeros(1, 2)
    overlap = box_overlaps(nothing, nothing, nothing, nothing)
    assert math.isnan(overlap.item())
    assert not bool((overlap >= 0).any())


def test_near_is_half_the_mean_side_of_the_boxes_that_are_there():
    sizes = torch.tensor([[[4.0, 8.0], [100.0, 100.0]], [[12.0, 16.0], [100.0, 100.0]]])
    presence = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    assert near_distance(sizes, presence) == 5.0


def test_half_a_box_is_visible():
    assert is_visible(torch.tensor([0.0, 0.499, 0.5, 1.0])).tolist() == [False, False, True, True]
