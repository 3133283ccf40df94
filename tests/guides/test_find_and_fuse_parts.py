"""The parts of VTSSI's guide against numbers by hand: fusion, consensus, convolutions; and parts that do not fit."""

import pytest
import torch
from torch.distributions import kl_divergence
from torch.nn.functional import conv2d

from guides import AIREncoder, FindAndFuseGuide, Finder, MotionFuser, Rectifier
from guides.find_and_fuse.finder import correlate, in_groups, one_by_one
from guides.find_and_fuse.motion import weighted_sum
from guides.find_and_fuse.parts import check_parts
from guides.find_and_fuse.places import RecurrentPlaces
from guides.find_and_fuse.rectifier import consensus
from guides.find_and_fuse.slot_matching import Looks
from pyro_models import ObjectScenes
from pyro_models.vtssi.gaussians import Gaussian
from tests.guides.case_find_and_fuse import encoder, finder
from tests.guides.vtssi_pairs import pair, video


def normal(loc, scale):
    return Gaussian(*(torch.as_tensor(value, dtype=torch.float64).reshape(-1) for value in (loc, scale)))


def price(weight, prediction, inferred):
    """KL of what is drawn from against the prediction."""
    return kl_divergence(weighted_sum(weight, prediction, inferred).distribution(), prediction.distribution())


def test_a_weighted_sum_is_that_of_independent_draws():
    fused = weighted_sum(torch.tensor(0.5), normal(0.0, 1.0), normal(1.0, 1.0))
    assert fused.loc.item() == 0.5
    assert fused.scale.item() == pytest.approx(0.707107, abs=1e-6)
    one, other = normal([0.3, -1.0], [0.2, 2.0]), normal([0.8, 4.0], [0.1, 0.5])
    assert all(torch.equal(a, b) for a, b in zip(weighted_sum(torch.tensor(1.0), one, other), one, strict=True))
    assert all(torch.equal(a, b) for a, b in zip(weighted_sum(torch.tensor(0.0), one, other), other, strict=True))


@pytest.mark.parametrize(
    ("weight", "prediction", "inferred", "nats"),
    [
        (1.0, (0.2, 0.1), (0.3, 0.1), 0.0),
        (0.5, (0.2, 0.1), (0.2, 0.1), 0.096574),
        (0.25, (0.2, 0.1), (0.2, 0.1), 0.047502),
        (0.75, (0.2, 0.1), (0.2, 0.1), 0.047502),
        (0.5, (0.2, 0.1), (0.2, 0.1 * 3**0.5), 0.0),
        (0.5, (0.2, 0.1), (0.3, 0.1), 0.221574),
        (0.75, (0.2, 0.1), (0.3, 0.1), 0.078752),
    ],
)
def test_what_a_fused_draw_costs(weight, prediction, inferred, nats):
    assert price(torch.tensor(weight), normal(*prediction), normal(*inferred)).item() == pytest.approx(nats, abs=1e-6)


def test_what_random_weights_cost_on_average():
    weights = torch.linspace(0.01, 0.99, 4001, dtype=torch.float64)[:, None]
    same = Gaussian(torch.zeros_like(weights), torch.ones_like(weights))
    assert price(weights, same, same).mean().item() == pytest.approx(0.0489, abs=1e-4)


def looks(frames, sequences=4, objects=2, what=3):
    def some(*shape):
        return Gaussian(torch.randn(frames, *shape), 0.1 + torch.rand(frames, *shape))

    return Looks(some(1, sequences), some(objects, sequences, 2), some(objects, sequences, what))


def test_a_consensus_by_hand():
    proposals = Gaussian(torch.randn(5, 4, 2), 0.1 + torch.rand(5, 4, 2))
    for frame in range(5):
        one = torch.zeros(5, 1, 1)
        one[frame] = 1
        agreed = consensus(one, proposals)
        torch.testing.assert_close(agreed, proposals.at(frame))
    equal = Gaussian(torch.randn(5, 4), torch.full((5, 4), 3.0))
    agreed = consensus(torch.full((5, 1), 0.2), equal)
    torch.testing.assert_close(agreed.scale, torch.full((4,), 3 * 0.447214))
    torch.testing.assert_close(agreed.loc, equal.loc.mean(0))
    weights, order = torch.rand(5, 4).softmax(0), torch.tensor([3, 1, 4, 0, 2])
    permuted = Gaussian(equal.loc[order], equal.scale[order])
    torch.testing.assert_close(consensus(weights[order], permuted), consensus(weights, equal))


def test_one_frame_needs_no_consensus():
    proposals = looks(1)
    rectifier = Rectifier(ObjectScenes((1, 8, 8), what_dim=3, glimpse_size=4), 1)
    agreed = rectifier(proposals, torch.ones(1, 4, dtype=torch.bool))
    for one, other in zip(agreed, proposals, strict=True):
        torch.testing.assert_close(one, other.at(0))


def test_frames_share_one_weight_and_missing_ones_have_none():
    proposals = looks(5)
    rectifier = Rectifier(ObjectScenes((1, 8, 8), what_dim=3, glimpse_size=4), 5)
    valid = torch.ones(5, 4, dtype=torch.bool)
    valid[3:, 1] = False
    weights = rectifier.weights(proposals, valid)
    torch.testing.assert_close(weights.sum(0), torch.ones(4))
    assert torch.equal(weights > 0, valid)
    agreed = rectifier(proposals, valid)
    torch.testing.assert_close(agreed.count.loc[0], (weights * proposals.count.loc[:, 0]).sum(0))
    torch.testing.assert_close(agreed.what.loc[1], (weights[..., None] * proposals.what.loc[:, 1]).sum(0))
    nothing = rectifier.weights(proposals, torch.zeros_like(valid))
    torch.testing.assert_close(nothing, torch.full((5, 4), 0.2))


def test_responses_to_kernels_are_those_of_one_object_after_the_other():
    images, kernels = torch.randn(3, 4, 9, 8), torch.randn(5, 4, 6, 3, 3)
    responses = correlate(images, kernels)
    assert responses.shape == (5, 4, 3, 6, 7, 6)
    for look in range(5):
        for sequence in range(4):
            alone = conv2d(images[:, sequence].unsqueeze(1), kernels[look, sequence].unsqueeze(1))
            torch.testing.assert_close(responses[look, sequence], alone)


def test_one_convolution_in_groups_is_many():
    images, kernels = torch.randn(3, 4, 9, 8), torch.randn(4, 6, 1, 3, 3)
    torch.testing.assert_close(in_groups(images, kernels), one_by_one(images, kernels))


def test_features_of_an_object_are_its_own():
    """With particles in front or not, of all objects and frames at once or one at a time."""
    find = pair("FIND")[1].finder
    images, what = torch.rand(3, 4, 8, 8).double(), torch.randn(5, 1, 2, 4, 3).double()
    features = find.look(images, what)
    assert features.shape == (5, 1, 2, 4, 3, 5)
    alone = find.look(images[1:2, 2:3], what[3, 0, 1:2, 2:3])
    torch.testing.assert_close(features[3, 0, 1, 2, 1], alone[0, 0, 0])


def test_glimpses_are_read_of_each_object_frame_and_particle():
    read = pair("AIR")[1].encoder
    images = torch.rand(3, 4, 8, 8).double()
    scale, position = 0.2 + torch.rand(5, 3, 2, 4, 2).double(), torch.rand(5, 3, 2, 4, 2).double() - 0.5
    whole = read.look(images, scale, position)
    alone = read.look(images[1:2, 2:3], scale[4, 1:2, 1:2, 2:3], position[4, 1:2, 1:2, 2:3])
    torch.testing.assert_close(whole.at(4).at(1).at(1).at(2), alone.at(0).at(0).at(0))


class Elsewhere(torch.nn.Module):
    """A finder whose positions are of the wrong shape."""

    def look(self, images, what):
        return what.unsqueeze(-2).expand(*what.shape[:-1], len(images), -1)

    def forward(self, features, previous):
        return Gaussian(features[..., :1], features[..., :1].exp())


def moving(**options):
    return pair("VTSSI", **options)[0]


def check(model, **replaced):
    """Parts for a small model, some of them replaced."""
    own = moving()
    parts = {
        "encoder": encoder(own.scenes),
        "finder": finder(own),
        "rectifier": Rectifier(own.scenes),
        "fuser": MotionFuser(own),
    }
    check_parts(model, **(parts | replaced))


class Other(torch.nn.Module):
    """No part at all."""


@pytest.mark.parametrize(
    ("replaced", "error", "message"),
    [
        (
            {"encoder": None},
            TypeError,
            "encoder: expected an AIREncoder, got NoneType; .*a rectifier makes its consensus",
        ),
        ({"finder": Other()}, TypeError, "finder: expected a module with the methods look and forward, got Other; see"),
        ({"rectifier": Other()}, TypeError, "rectifier: expected a Rectifier or None, got Other; write Rectifier"),
        ({"fuser": Other()}, TypeError, "fuser: expected a MotionFuser or None, got Other; write MotionFuser"),
        (
            {"fuser": None},
            ValueError,
            "fuser: expected a MotionFuser for a model with motion from frame 3 on, got None",
        ),
        (
            {"rectifier": Rectifier(ObjectScenes())},
            ValueError,
            "rectifier: expected one with what_dim = 3, as the model has, got 20; make it",
        ),
    ],
)
def test_parts_of_another_kind_are_refused(replaced, error, message):
    check(moving())
    with pytest.raises(error, match=message):
        check(moving(), **replaced)


def test_parts_of_another_model_are_refused():
    with pytest.raises(
        ValueError, match="fuser: expected None for a model without motion, got a MotionFuser; leave it"
    ):
        check(pair("FIND")[0])
    with pytest.raises(
        ValueError, match="encoder: expected one with num_objects = 3, as the model has, got 2; make it"
    ):
        check(moving(num_objects=3))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: MotionFuser(pair("FIND")[0]), "model: expected one with a motion to fuse with, got first_motion=None"),
        (
            lambda: MotionFuser(moving(), weights=(0.9, 0.1)),
            r"weights: expected .* got \(0.9, 0.1\); \(0.5, 0.5\) fixes",
        ),
        (
            lambda: Rectifier(ObjectScenes(), 0),
            "frames: expected a whole number of at least 1, got 0$",
        ),
        (lambda: Finder(moving()), "kernels: expected an image that holds its kernel of 10 x 10 .* got 8 x 8 left of"),
        (
            lambda: AIREncoder(moving().scenes),
            "count_layers, layer 3: expected an image that holds .* got 1 x 1 left of",
        ),
        (
            lambda: RecurrentPlaces(ObjectScenes(), dropout=1.0),
            "dropout: expected a share from 0 to below 1, got 1.0; 0 turns",
        ),
    ],
)
def test_parts_that_cannot_be_are_refused(build, message):
    with pytest.raises(ValueError, match=message):
        build()


def test_guides_that_cannot_be_are_refused():
    model = pair("FIND")[0]
    with pytest.raises(
        ValueError, match="finder_input: expected found, fused or predicted, got 'w'; the paper's is 'found'"
    ):
        FindAndFuseGuide(model, encoder(model.scenes), finder(model), finder_input="w")
    guide = FindAndFuseGuide(model, encoder(model.scenes).double(), Elsewhere())
    with pytest.raises(
        ValueError, match=r"finder: expected means .* = \(2, 3, 2\), got \(2, 3, 1\), \(2, 3, 1\); Else"
    ):
        guide(video())
