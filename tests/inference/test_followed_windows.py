"""Windows that move with people: what an object shows stays where it is, and its box is that of its light."""

import pytest
import torch

from inference.experiments.followed_windows import lit_boxes, seen_from
from pyro_models import SequentialAttendInferRepeat
from pyro_models.components.glimpse_networks import GlimpseNetworks
from pyro_models.components.glimpses import Windows, paste_glimpses
from pyro_models.sqair.object_slots import ObjectSlots

SIZE = (30, 24)


def test_objects_stay_where_they_are_when_their_window_moves():
    torch.manual_seed(0)
    networks = GlimpseNetworks("mlp", 8)
    model = SequentialAttendInferRepeat((1, *SIZE), num_slots=2, what_dim=3, networks=networks, mean_image=False)
    slots = ObjectSlots(
        torch.ones(4, 2), torch.tensor([-1.5, -1.5, 0.0, 0.0]) + 0.2 * torch.randn(4, 2, 4), torch.randn(4, 2, 3)
    )
    moves = torch.tensor([[0, 0], [3, 0], [0, -4], [-2, 5]])
    moved = seen_from(slots, moves, SIZE)
    before, after = model.canvas(slots), model.canvas(moved)
    assert torch.equal(moved.where[0], slots.where[0])
    for canvas, other, (x, y) in zip(before, after, moves.tolist(), strict=True):
        there = canvas[max(0, y) : SIZE[0] + min(0, y), max(0, x) : SIZE[1] + min(0, x)]
        here = other[max(0, -y) : SIZE[0] - max(0, y), max(0, -x) : SIZE[1] - max(0, x)]
        torch.testing.assert_close(here, there, atol=1e-5, rtol=1e-5)
        assert there.abs().max() > 0.01


def test_objects_that_a_window_leaves_behind_are_dropped():
    where = torch.tensor([[[-1.0, -1.0, 0.5, 0.0], [-1.0, -1.0, -0.5, 0.0]]])
    moved = seen_from(ObjectSlots(torch.ones(1, 2), where, torch.zeros(1, 2, 3)), torch.tensor([[8, 0]]), SIZE)
    assert moved.presence.tolist() == [[1.0, 0.0]]
    assert bool(moved.where.isfinite().all())


@pytest.mark.parametrize("seed", range(4))
def test_a_box_is_that_of_the_light(seed):
    """As measured in a picture of a hundredfold pixels, where edges are where the light falls below the level."""
    generator = torch.Generator().manual_seed(seed)
    patch = torch.zeros(7, 5)
    patch[2:6, 1:4] = 0.3 + torch.rand(4, 3, generator=generator)
    windows = Windows(torch.tensor([0.5, 0.4]), torch.tensor([0.1, -0.2]))
    box = lit_boxes(patch, windows, SIZE, 0.2)
    fine = 40
    large = paste_glimpses(patch, windows, ((SIZE[0] - 1) * fine + 1, (SIZE[1] - 1) * fine + 1))
    rows, columns = ((large > 0.2).any(dim).nonzero()[:, 0] for dim in (1, 0))
    expected = torch.stack([columns.min(), rows.min(), columns.max(), rows.max()]) / fine + 0.5
    torch.testing.assert_close(box, expected, atol=1.5 / fine, rtol=0.0)


def test_a_dark_glimpse_has_the_box_of_its_window():
    windows = Windows(torch.tensor([0.5, 0.4]), torch.tensor([0.1, -0.2]))
    box = lit_boxes(torch.zeros(7, 5), windows, SIZE, 0.2)
    middle = windows.middles(*SIZE) + 0.5
    torch.testing.assert_close(0.5 * (box[:2] + box[2:]), middle)
    torch.testing.assert_close(box[2:] - box[:2], windows.scale * torch.tensor([23 * 5 / 4, 29 * 7 / 6]))
