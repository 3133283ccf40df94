"""Identities stay with boxes that overlap those of the previous frame, and with no others."""

import pytest
import torch

from inference.trackers import OverlapTracker

BOX = torch.tensor([[10.0, 20.0, 30.0, 60.0]]).double()
NOTHING = torch.zeros(0, 4).double()


def moved(*shifts):
    return torch.cat([BOX + torch.tensor([shift, 0.0, 0.0, 0.0]) for shift in shifts])


def test_identities_follow_the_boxes_that_overlap_most():
    tracks = OverlapTracker().follow([moved(0, 100), moved(103, 5), moved(8, 106)])
    assert tracks.frames.tolist() == [0, 0, 1, 1, 2, 2]
    assert tracks.identities.tolist() == [1, 2, 1, 2, 1, 2]
    assert tracks.boxes[tracks.identities == 1, 0].tolist() == [10.0, 15.0, 18.0]


def test_there_is_no_memory():
    assert OverlapTracker().follow([BOX, NOTHING, BOX]).identities.tolist() == [1, 2]
    assert OverlapTracker().follow([BOX, moved(40), moved(41)]).identities.tolist() == [1, 2, 2]


def test_the_gate_is_an_overlap():
    """Boxes 30 pixels wide, 10 pixels apart: 20 of 40."""
    for gate, identities in ((0.49, [1, 1]), (0.51, [1, 2])):
        assert OverlapTracker(min_overlap=gate).follow([BOX, moved(10)]).identities.tolist() == identities


def test_nothing_is_found_where_nothing_is():
    assert len(OverlapTracker().follow([NOTHING] * 3)) == 0
    assert len(OverlapTracker().follow([])) == 0


@pytest.mark.parametrize("value", [0.0, 1.5])
def test_settings_out_of_range_are_named(value):
    with pytest.raises(ValueError, match=rf"min_overlap: expected a share in \(0, 1\], got {value}"):
        OverlapTracker(min_overlap=value)
