"""Exchangeable parts of the find-and-fuse guide: fusers, displacements, another finder, other places, matched slots."""

import math

import pyro
import pytest
import torch
from torch.distributions import Normal, kl_divergence

from guides import AIREncoder, FindAndFuseGuide, Rectifier, check_guide
from guides.find_and_fuse import (
    Convolution,
    CorrelationFinder,
    MapPlaces,
    MotionFuser,
    ProductFuser,
    TwoWayMotionFuser,
)
from guides.find_and_fuse.correlation_finder import read_maps
from guides.find_and_fuse.first_frames import spread_seen
from guides.find_and_fuse.places import Places
from guides.find_and_fuse.product_fuser import product
from guides.find_and_fuse.slot_matching import Looks, match_slots
from inference import FIVO, IWAE
from inference.programs.traces import importance_traces
from pyro_models import DisentangledStateSpaceModel, ObjectScenes
from pyro_models.vtssi.gaussians import Gaussian
from tests.guides.case_find_and_fuse import encoder, finder
from tests.guides.vtssi_pairs import pair, video


def exchanged(option):
    """A model and a guide with one part exchanged."""
    model, _ = pair("VTSSI")
    fuser = TwoWayMotionFuser if "two-way" in option else ProductFuser
    parts = {
        "rectifier": Rectifier(
            model.scenes, 3, units=5, hidden=(6,), matched=option in ("matched", "start"), spread=option == "spread"
        ),
        "fuser": fuser(model, units=6, head_units=5, displacements="displacements" in option),
        "finder_start": "proposed" if option == "start" else "nowhere",
        "finder_input": "predicted" if option == "predicted" else "found",
    }
    find, propose = finder(model), encoder(model.scenes)
    if option in ("correlation", "start", "predicted"):
        find = CorrelationFinder(model, channels=2, side=3, kernel_units=(6,), hidden=(6,), head_units=5)
    if "map" in option:
        places = MapPlaces(
            model.scenes, layers=(Convolution(3, 3, 2),), units=5, head_units=4, counts="counting" in option
        )
        propose = encoder(model.scenes, places)
    return model, FindAndFuseGuide(model, propose, find, **parts).double()


OPTIONS = (
    "product",
    "two-way, displacements",
    "correlation",
    "start",
    "predicted",
    "counting map",
    "matched",
    "spread",
)


@pytest.mark.parametrize("option", OPTIONS)
def test_a_guide_with_another_part_fits_its_model(option):
    model, guide = exchanged(option)
    observed = torch.ones(3, 6, dtype=torch.bool)
    observed[0, 1:3] = observed[1, 4:] = observed[2, 0] = False
    for seen in (None, observed):
        check_guide(model, guide, video(), seen)


@pytest.mark.parametrize(
    "option", ["two-way, displacements", "displacements", "start", "predicted", "counting map", "spread"]
)
def test_its_steps_are_the_whole(option):
    """Also under a filter, where states follow their ancestors; with all frames missing the guide is the model."""
    model, guide = exchanged(option)
    x, values = video(), []
    for loss in (FIVO(3, threshold=0.0), IWAE(3)):
        pyro.set_rng_seed(1)
        values.append(loss.loss(model, guide, x))
    assert values[0] == pytest.approx(values[1], rel=1e-12)
    result = FIVO(3, threshold=2.0).run(model, guide, x, torch.zeros(3, 6, dtype=torch.bool))
    torch.testing.assert_close(result.log_evidence, torch.zeros(3, dtype=torch.float64), rtol=0, atol=1e-10)


def test_a_product_by_hand():
    one = Gaussian(torch.tensor([0.0, 1.0]), torch.tensor([1.0, 0.5]))
    other = Gaussian(torch.tensor([1.0, 3.0]), torch.tensor([1.0, 1.0]))
    fused = product(one, other)
    torch.testing.assert_close(fused.loc, torch.tensor([0.5, 1.4]))
    torch.testing.assert_close(fused.scale, torch.tensor([0.5**0.5, 0.2**0.5]))
    grid = torch.linspace(-4, 6, 20001, dtype=torch.float64)
    density = (Normal(1.0, 0.5).log_prob(grid) + Normal(3.0, 1.0).log_prob(grid)).exp()
    assert (density * grid).sum() / density.sum() == pytest.approx(1.4, abs=1e-6)
    ignorant = product(one, Gaussian(other.loc, torch.full((2,), 1e4)))
    price = kl_divergence(Normal(*ignorant), Normal(*one))
    torch.testing.assert_close(price, torch.zeros(2), rtol=0, atol=1e-6)


def test_motions_of_a_two_way_fuser_read_later_frames_and_its_positions_do_not():
    model, guide = exchanged("two-way")
    guide.eval()
    x = video()
    y = x.clone()
    y[:, 5] = 1 - y[:, 5]
    laws = []
    for frames in (x, y):
        pyro.set_rng_seed(3)
        nodes = importance_traces(model, guide, (frames,), 1).guide.nodes
        laws.append({name: nodes[name]["fn"].mean for name in ("z_where_3", "z_motion_3", "z_where_4", "z_motion_5")})
    same = {name: torch.equal(law, laws[1][name]) for name, law in laws[0].items()}
    assert same == {"z_where_3": True, "z_motion_3": False, "z_where_4": False, "z_motion_5": False}
    # the position in frame 4 is fused with a prediction from the motion of frame 3, which was drawn another way


def test_a_map_is_read_by_hand():
    maps = torch.zeros(2, 6, 8)
    maps[0, 1, 5], maps[0, 3, 5] = 2.0, 2.0
    reach = torch.tensor(0.2)
    read = read_maps(maps, None, reach)
    torch.testing.assert_close(read.mean[0], torch.tensor([(2 * 5 + 1) / 8 - 1, (2 * 2 + 1) / 6 - 1]))
    torch.testing.assert_close(read.spread[0], torch.tensor([1e-3, 2 / 6]), rtol=0, atol=1e-4)
    assert read.peak[0] == 2
    assert read.mean[1].tolist() == [0, 0]  # nothing responds
    torch.testing.assert_close(read_maps(1e4 * maps, None, reach).mean, read.mean, rtol=0, atol=1e-4)
    # near (3 / 8, -1 / 2), where the first of the two responds: the other one is 2 / 3 = 10 / 3 reaches away
    near = read_maps(maps, torch.tensor([3 / 8, -1 / 2]), reach)
    other = math.exp(-0.5 * (10 / 3) ** 2)
    expected = torch.tensor([3 / 8, (-1 / 2 + other / 6) / (1 + other)])
    torch.testing.assert_close(near.mean, torch.stack([expected, torch.tensor([3 / 8, -1 / 2])]))


def test_rounding_below_zero_far_from_what_responds_is_no_weight():
    """A compiled step rounds the exponential of nothing in two ways; spreads were square roots of negative numbers."""
    maps = torch.full((6, 8), -1e-6)
    maps[0, 0] = 4.0
    far = torch.tensor([0.9, 0.9])
    read = read_maps(maps, far, torch.tensor(0.1))
    assert read.spread.isfinite().all()
    torch.testing.assert_close(read.mean, far, rtol=0, atol=1e-3)  # it stays


def test_a_correlation_finder_moves_with_the_picture():
    model = DisentangledStateSpaceModel(ObjectScenes((1, 20, 30), what_dim=3), first_motion=None)
    find = CorrelationFinder(model, channels=3, side=5, kernel_units=(6,), hidden=(6,), head_units=5)
    images = torch.zeros(1, 4, 20, 30)
    images[:, :, 6:10, 8:13] = torch.rand(4, 4, 5)
    what, before = torch.randn(2, 4, 3), torch.rand(2, 4, 2) - 0.5
    shift = torch.tensor([2 * 7 / 30, 2 * 3 / 20])
    found = find(find.look(images, what)[..., 0, :], before)
    moved = find(find.look(images.roll((3, 7), (-2, -1)), what)[..., 0, :], before + shift)
    torch.testing.assert_close(moved.loc, found.loc + shift, rtol=0, atol=1e-5)
    torch.testing.assert_close(moved.scale, found.scale, rtol=0, atol=1e-5)


def spots(*middles, size=32):
    """Frames of round spots, (frames, 1, size, size), each a little dimmer; middles (x, y) in pixels, of each frame."""
    y, x = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    frames = [
        sum(0.9**i * (-((x - a) ** 2 + (y - b) ** 2) / 8.0).exp() for i, (a, b) in enumerate(frame))
        for frame in middles
    ]
    return torch.stack(frames).unsqueeze(1)


def test_places_on_a_map_are_apart_and_move_with_the_picture():
    """Also before training: of two spots, each has a place once evidence follows the light."""
    scenes = ObjectScenes((1, 32, 32), what_dim=3)
    places = MapPlaces(scenes)
    with torch.no_grad():
        for weight in places.features.parameters():
            weight.abs_()
        places.evidence.weight.fill_(1.0)
    images = spots([(8, 10), (22, 20)], [(12, 14), (26, 24)])
    with torch.no_grad():
        brightest = places.evidence(places.features(images[0].unsqueeze(1))).max()
        places.evidence.weight.mul_(30 / brightest)
        places.log_strength.fill_(math.log(30.0))
    found = places(images)
    moved = found.position.loc[1] - found.position.loc[0]
    torch.testing.assert_close(moved, torch.full_like(moved, 2 * 4 / 32), rtol=0, atol=5e-3)  # tails end at edges
    pixels = (found.position.loc[0, :, 0] + 1) * 16 - 0.5
    assert (pixels[0] - pixels[1]).norm() > 10
    torch.testing.assert_close(found.scale.loc[0, 0, 0], scenes.size_mean, rtol=0, atol=0.05)
    with torch.no_grad():
        places.log_strength.fill_(-30.0)
    same = places(images).position.loc
    torch.testing.assert_close(same[:, 0], same[:, 1])


def test_frames_are_spread_over_those_that_are_seen():
    numbers = torch.arange(10.0).view(1, 10, 1, 1).expand(4, 10, 1, 1)
    images, valid = spread_seen(numbers, None, 5)
    assert images[:, 0, 0, 0].tolist() == [0, 2, 4, 7, 9]
    assert bool(valid.all())
    seen = torch.ones(4, 10, dtype=torch.bool)
    seen[1, 3:] = seen[2, ::2] = seen[3] = False
    images, valid = spread_seen(numbers, seen, 5)
    found = [images[valid[:, i], i, 0, 0].tolist() for i in range(4)]
    assert found == [[0, 2, 4, 7, 9], [0, 1, 2], [1, 3, 5, 7, 9], []]
    short, _ = spread_seen(numbers[:, :3], None, 5)
    assert short[:, 0, 0, 0].tolist() == [0, 1, 2]


def test_displacements_are_those_of_the_positions_found():
    model, _ = pair("VTSSI")
    fuser = MotionFuser(model, units=6, head_units=5, displacements=True).double()
    read = []
    fuser.recurrence.register_forward_pre_hook(lambda _, args: read.append(args[0][..., -2:]))
    path = torch.rand(4, 2, 3, 2, dtype=torch.float64)
    memory = fuser.start(path[0])
    for position in path:
        memory = fuser.follow(torch.rand(2, 3, 2).double(), torch.rand(2, 3, 3).double(), position, memory)
    expected = 10 * path.diff(dim=0, prepend=path[:1])
    torch.testing.assert_close(torch.stack(read).reshape(expected.shape), expected)


def test_slots_are_matched_to_those_of_the_first_frame():
    what = torch.randn(1, 3, 4, 5).expand(6, 3, 4, 5) + 0.01 * torch.randn(6, 3, 4, 5)
    scale = what[..., :2]
    order = torch.stack([torch.randperm(3) for _ in range(24)]).reshape(6, 4, 3).transpose(1, 2)
    order[0] = torch.arange(3)[:, None]

    def mixed(values):
        return values.gather(1, order.unsqueeze(-1).expand_as(values))

    count = Gaussian(torch.randn(6, 1, 4), torch.ones(6, 1, 4))
    given = Looks(count, Gaussian(mixed(scale), mixed(scale) + 1), Gaussian(mixed(what), mixed(what) + 1))
    assert not torch.equal(given.what.loc, what)
    matched = match_slots(given)
    assert torch.equal(matched.what.loc, what)
    assert torch.equal(matched.scale.scale, scale + 1)
    assert matched.count is count


class Corner(torch.nn.Module):
    """Places of the wrong shape."""

    counts = False

    def forward(self, images):
        where = Gaussian(torch.zeros(*images.shape[:2], 2), torch.ones(*images.shape[:2], 2))
        return Places(where, where)


def test_places_of_one_s_own_are_checked():
    scenes = ObjectScenes((1, 32, 32), what_dim=3)
    with pytest.raises(TypeError, match="places: expected a module with the attribute counts, .* got Linear without"):
        AIREncoder(scenes, torch.nn.Linear(2, 2))
    with pytest.raises(ValueError, match=r"places: expected .* = \(4, 2, 3, 2\) and count None, got \(4, 3, 2\), "):
        AIREncoder(scenes, Corner())(torch.rand(4, 3, 32, 32))
    silent = MapPlaces(scenes)
    silent.counts = True
    with pytest.raises(ValueError, match=r"and count \(4, 3, 2\), got .* and None; see Places"):
        AIREncoder(scenes, silent)(torch.rand(4, 3, 32, 32))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (
            lambda: Rectifier(ObjectScenes(num_objects=6), matched=True),
            "matched: expected at most 5 objects, .* got 6; le",
        ),
        (
            lambda: CorrelationFinder(pair("FIND")[0], side=4),
            "side: expected an odd number, got 4; the middle of an even",
        ),
        (
            lambda: MapPlaces(ObjectScenes(), layers=(Convolution(4, 4),)),
            "layers: expected odd kernels, got 4; the middle of an even kernel",
        ),
        (
            lambda: FindAndFuseGuide(
                (model := pair("FIND")[0]), encoder(model.scenes), finder(model), finder_start="proposed"
            ),
            "finder_start: expected 'nowhere' without a rectifier, .* got 'proposed'",
        ),
        (
            lambda: FindAndFuseGuide(
                (model := pair("RECT/FIND")[0]),
                encoder(model.scenes),
                finder(model),
                rectifier=Rectifier(model.scenes),
                finder_start="proposed",
            ),
            r"finder_start: expected 'nowhere' with a rectifier .* 'proposed', .* give it a Rectifier\(..., matched",
        ),
        (
            lambda: FindAndFuseGuide(
                (model := pair("FIND")[0]), encoder(model.scenes), finder(model), finder_start="p_0"
            ),
            "finder_start: expected nowhere or proposed, got 'p_0'; the paper's is 'nowhere'",
        ),
        (
            lambda: FindAndFuseGuide(
                (model := pair("VTSSI")[0]),
                encoder(model.scenes),
                finder(model),
                fuser=TwoWayMotionFuser(model),
                finder_input="fused",
            ),
            "finder_input: expected 'found' for a TwoWayMotionFuser, .* got 'fused'; give it a MotionFuser",
        ),
    ],
)
def test_options_that_cannot_be_are_refused(build, message):
    with pytest.raises(ValueError, match=message):
        build()
