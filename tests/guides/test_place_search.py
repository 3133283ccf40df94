"""The search for new objects on a map: by hand, on plain squares, and as a part of SQAIR's guide."""

import pytest
import torch

from guides import DiscoveryPropagationGuide, check_guide
from guides.discovery_propagation.object_draws import CompletionDraws
from guides.discovery_propagation.place_search import NEIGHBOURHOOD, PlaceMap, PlaceSearch, SearchOfFrame
from inference import SVI, VIMCO
from pyro_models import SequentialAttendInferRepeat
from pyro_models.sqair.object_slots import ObjectSlots
from tests.pyro_models.test_sqair import SMALL


def objects(presence, middles):
    """Objects with middles in pixels of 64 x 64."""
    shift = 2 * torch.tensor(middles) / 63 - 1
    where = torch.cat([torch.zeros_like(shift), shift.atanh()], -1)
    return ObjectSlots(torch.tensor(presence), where, torch.zeros(*where.shape[:-1], 3))


def squares(*corners, side=9):
    frames = torch.zeros(1, 1, 3, 64, 64)
    for channel, (left, top) in enumerate(corners):
        frames[0, 0, channel, top : top + side, left : left + side] = 1.0
    return frames


def test_a_fresh_search_finds_one_square_after_the_other():
    torch.manual_seed(0)
    search, middles = PlaceSearch((3, 64, 64)), torch.tensor([[14.0, 24.0], [44.0, 44.0], [50.0, 12.0]])
    places = search.survey(squares((10, 20), (40, 40), (46, 8)))
    assert places.evidence.shape == (1, 1, 16, 16)
    hunt = SearchOfFrame(search, PlaceMap(*(value[:, 0] for value in places)), objects([[0.0]], [[[20.0, 20.0]]]))
    found = []
    for _ in range(3):
        middle, seen = hunt.look()
        assert seen.shape == (1, search.feature_dim)
        pixel = 31.5 * (middle.tanh() + 1)
        distance = (middles - pixel).norm(dim=-1)
        assert distance.min() < 5
        found.append(int(distance.argmin()))
        hunt.take(objects([[1.0]], [pixel.tolist()]))
    assert sorted(found) == [0, 1, 2]


def test_places_move_with_the_picture():
    torch.manual_seed(0)
    search = PlaceSearch((3, 64, 64))
    nothing = objects([[0.0]], [[[20.0, 20.0]]])
    pixels = []
    for left in (24, 32):
        places = search.survey(squares((left, 28)))
        middle, _ = SearchOfFrame(search, PlaceMap(*(value[:, 0] for value in places)), nothing).look()
        pixels.append(31.5 * (middle.tanh() + 1)[0])
    torch.testing.assert_close(pixels[1] - pixels[0], torch.tensor([8.0, 0.0]), rtol=0, atol=1e-3)


def test_taken_places_and_a_look_by_hand():
    torch.manual_seed(0)
    search = PlaceSearch((1, 20, 28), channels=2)
    known = ObjectSlots(torch.tensor([[1.0, 0.0]]), torch.randn(1, 2, 4), torch.zeros(1, 2, 3))
    places = PlaceMap(torch.randn(1, 10, 14), torch.randn(1, 2, 10, 14))
    taken = search.taken(known)
    strength, reach = search.log_strength.exp(), search.log_reach.exp()
    x, y = known.where[0, 0, 2:].tanh()
    expected, left = torch.zeros(10, 14), torch.zeros(10, 14)
    points = [[(2 * 2 * column / 27 - 1, 2 * 2 * row / 19 - 1) for column in range(14)] for row in range(10)]
    for row in range(10):
        for column in range(14):
            u, v = points[row][column]
            expected[row, column] = strength * torch.exp(-((u - x) ** 2 + (v - y) ** 2) / (2 * reach**2))
            left[row, column] = places.evidence[0, row, column] - expected[row, column]
    torch.testing.assert_close(taken[0], expected)
    best = divmod(int(left.argmax()), 14)
    u, v = points[best[0]][best[1]]
    weights = torch.tensor(
        [[-((a - u) ** 2 + (b - v) ** 2) / (2 * NEIGHBOURHOOD**2) for a, b in line] for line in points]
    )
    weights = (left + weights).flatten().softmax(0)
    middle, seen = search.look(places, taken)
    torch.testing.assert_close(middle[0].tanh(), weights @ torch.tensor(points).flatten(0, 1))
    torch.testing.assert_close(seen[0], torch.cat([places.features[0].flatten(1) @ weights, left.max()[None]]))


def test_a_guide_with_a_map_is_a_guide():
    torch.manual_seed(0)
    model = SequentialAttendInferRepeat((1, 12, 12), **SMALL)
    guide = DiscoveryPropagationGuide(model, search="map", scale_bias=-1.0)
    frames = torch.rand(3, 2, 1, 12, 12)
    check_guide(model, guide, frames)
    check_guide(model, guide, frames, torch.tensor([[True, False]] * 3))
    parameters = [*model.parameters(), *guide.parameters()]
    SVI(model, guide, torch.optim.Adam(parameters, 1e-3), VIMCO(3)).step(frames)
    for name, parameter in guide.discovery.search.named_parameters():
        assert parameter.grad.abs().sum() > 0, name
    assert (guide.discovery.where[-1].bias[:2] < -0.9).all()
    with pytest.raises(ValueError, match="search: expected one of network, map, got 'heat'"):
        DiscoveryPropagationGuide(model, search="heat")


def test_a_fresh_guide_follows_a_square_and_keeps_its_looks():
    """Two squares, the second of which moves by four pixels; a slot without an object takes nothing."""
    torch.manual_seed(0)
    model = SequentialAttendInferRepeat((3, 64, 64), **SMALL)
    guide = DiscoveryPropagationGuide(model, search="map", gate_bias=8.0)
    context = guide.prepare(squares((10, 20), (44, 40)))
    before = objects([[1.0, 1.0, 0.0]], [[[14.0, 24.0], [44.0, 44.0], [14.0, 24.0]]])._replace(
        what=torch.randn(1, 3, 3)
    )
    memory = guide.propagation.first_memory.expand(1, 3, -1)
    with torch.no_grad():
        after, _ = guide.propagation(2, before, memory, context.look(0), CompletionDraws(None, 1))
    middles = 31.5 * (after.where[0, :2, 2:].tanh() + 1)
    expected = torch.tensor([[14.0, 24.0], [48.0, 44.0]])
    assert (middles - expected).norm(dim=-1).max() < 6
    torch.testing.assert_close(after.what[0, :2], before.what[0, :2], rtol=0, atol=0.01)
    assert (guide.propagation.gates.bias == 8).all()


def test_wrong_spreads_of_windows_are_refused():
    with pytest.raises(ValueError, match="where_scale: expected None for chained windows, whose spread is learned"):
        SequentialAttendInferRepeat((1, 12, 12), **SMALL, where_scale=(0.1, 0.1, 1.0, 1.0))
    with pytest.raises(ValueError, match=r"where_scale: expected a positive number, got 0.0$"):
        SequentialAttendInferRepeat((1, 12, 12), **SMALL, chained=False, where_scale=(0.1, 0.0, 1.0, 1.0))
    model = SequentialAttendInferRepeat((1, 12, 12), **SMALL, chained=False, where_scale=(0.1, 0.2, 1.0, 1.0))
    assert model.discovery.where_law(None, None)[1].tolist() == pytest.approx([0.1, 0.2, 1.0, 1.0])
