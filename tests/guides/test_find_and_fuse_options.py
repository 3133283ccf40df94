"""Exchangeable parts of the find-and-fuse guide: product fusion, two-way motions, another finder, matched slots."""

import pyro
import pytest
import torch
from torch.distributions import Normal, kl_divergence

from guides import FindAndFuseGuide, Rectifier, check_guide
from guides.find_and_fuse import CorrelationFinder, ProductFuser, TwoWayMotionFuser
from guides.find_and_fuse.correlation_finder import read_maps
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
    parts = {
        "rectifier": Rectifier(model.scenes, 3, units=5, hidden=(6,), matched=option == "matched"),
        "fuser": (TwoWayMotionFuser if option == "two-way" else ProductFuser)(model, units=6, head_units=5),
    }
    find = finder(model)
    if option == "correlation":
        find = CorrelationFinder(model, channels=2, side=3, kernel_units=(6,), hidden=(6,), head_units=5)
    return model, FindAndFuseGuide(model, encoder(model.scenes), find, **parts).double()


OPTIONS = ("product", "two-way", "correlation", "matched")


@pytest.mark.parametrize("option", OPTIONS)
def test_a_guide_with_another_part_fits_its_model(option):
    model, guide = exchanged(option)
    observed = torch.ones(3, 6, dtype=torch.bool)
    observed[0, 1:3] = observed[1, 4:] = observed[2, 0] = False
    for seen in (None, observed):
        check_guide(model, guide, video(), seen)


@pytest.mark.parametrize("option", ["two-way", "correlation"])
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
    read = read_maps(maps)
    torch.testing.assert_close(read.mean[0], torch.tensor([(2 * 5 + 1) / 8 - 1, (2 * 2 + 1) / 6 - 1]))
    torch.testing.assert_close(read.spread[0], torch.tensor([1e-3, 2 / 6]), rtol=0, atol=1e-4)
    assert read.peak[0] == 2
    assert read.mean[1].tolist() == [0, 0]  # nothing responds
    torch.testing.assert_close(read_maps(1e4 * maps).mean, read.mean, rtol=0, atol=1e-4)


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
