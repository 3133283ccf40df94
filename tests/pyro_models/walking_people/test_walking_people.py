"""The model of walking people against oracles.

These tests pin: silhouettes and their slopes; the union of people as a mean over who is in sight; the transition as two
Gaussian steps; the chain of presence; what starts from blobs; identities and boxes of scenes; refusals.
"""

import itertools

import pyro.distributions as dist
import pytest
import torch

from pyro_models import WalkingPeople
from pyro_models.walking_people import ForegroundPixels, Silhouette
from pyro_models.walking_people.foreground import union
from pyro_models.walking_people.heights import fit_heights
from pyro_models.walking_people.motion import Walkers

SIZE = (20, 24)
PLACE = torch.tensor([[10.3, 15.2, 0.1, 0.2], [3.0, 8.4, -0.2, -0.1]], dtype=torch.float64)


def silhouette() -> Silhouette:
    made = Silhouette(SIZE, intercept=5.0, slope=0.3, knots=5).double()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return made


def test_slopes_are_the_derivatives_of_silhouettes():
    made = silhouette()
    slopes = made.with_slopes(PLACE)
    torch.testing.assert_close(slopes.cover, made(PLACE))
    derivatives = torch.func.jacrev(made)(PLACE)
    for index, slope in enumerate(slopes[1:]):
        own = torch.stack([derivatives[person, :, :, person, index] for person in range(2)])
        torch.testing.assert_close(slope, own)


def test_a_place_that_is_no_number_spoils_its_own_silhouette_alone():
    """Trajectories of annealing may diverge; they are rejected by their density."""
    made = silhouette()
    lost = PLACE.clone()
    lost[0, 1] = torch.nan
    found, whole = made.with_slopes(lost), made.with_slopes(PLACE)
    for slope, expected in zip(found, whole, strict=True):
        assert slope[0].isnan().any()
        assert torch.equal(slope[1], expected[1])


def test_a_silhouette_is_as_tall_and_wide_as_is_said():
    made = Silhouette((60, 60), intercept=10.0, slope=0.5, half_width=0.2)
    with torch.no_grad():
        made.log_softness.fill_(-6.0), made.log_edge.fill_(-6.0), made.solid_logit.fill_(9.0)
        place = torch.tensor([30.0, 49.5, 0.1, 0.3])
        inside = made(place) > 0.5
        middle, size = made.box(place)
    height = (10 + 0.5 * 49.5) * torch.tensor(0.1).exp()
    assert inside.any(1).sum() == pytest.approx(float(height), abs=1)
    assert inside.any(0).sum() == pytest.approx(float(0.4 * height * torch.tensor(0.3).exp()), abs=1)
    rows = inside.any(1).nonzero()[:, 0]
    assert rows.max() == 49  # the feet
    torch.testing.assert_close(middle, torch.tensor([30.0, 49.5 - 0.5 * float(height)]))
    torch.testing.assert_close(size, torch.tensor([0.4 * height * 2.718281828**0.3, height]), rtol=0.05, atol=0)


def test_weights_are_the_mean_over_who_is_in_sight():
    pixels = ForegroundPixels((3, 4), 0.05, 0.2).double()
    cover, weight = torch.rand(3, 3, 4, dtype=torch.float64), torch.tensor([0.3, 0.9, 0.5], dtype=torch.float64)
    total = 0
    for sight in itertools.product((0.0, 1.0), repeat=3):
        present = torch.tensor(sight, dtype=torch.float64)
        share = (weight * present + (1 - weight) * (1 - present)).prod()
        missed = torch.where(present[:, None, None] > 0, 1 - cover, torch.ones_like(cover)).prod(0)
        total = total + share * (missed * 0.05 + (1 - missed) * 0.8)
    torch.testing.assert_close(pixels.probability(union(cover, weight, -3)), total, rtol=1e-6, atol=1e-7)


def test_scores_and_posteriors_of_pixels():
    pixels = ForegroundPixels((3, 4), 0.05, 0.2).double()
    cover = torch.rand(3, 4, dtype=torch.float64, requires_grad=True)
    image = (torch.rand(3, 4) > 0.5).double()
    density = pixels.log_prob(cover, image)
    torch.testing.assert_close(density.sum(), pixels(cover).log_prob(image[None]))
    (slope,) = torch.autograd.grad(density.sum(), cover)
    odds = pixels.odds(cover, image)
    torch.testing.assert_close(odds.score, slope)
    # the mean square of the score over both values of a pixel
    on, off = (pixels.odds(cover, value * torch.ones_like(cover)).score for value in (1.0, 0.0))
    chance = pixels.probability(cover)
    torch.testing.assert_close(odds.information, chance * on.square() + (1 - chance) * off.square())
    likelihood = torch.where(image > 0.5, torch.tensor(0.8).double(), torch.tensor(0.2).double())
    torch.testing.assert_close(pixels.covered(cover, image), cover * likelihood / density.exp(), rtol=1e-6, atol=1e-7)


def test_the_transition_is_a_step_of_the_velocity_and_one_of_the_place():
    motion = WalkingPeople((1, *SIZE), num_slots=1).double().motion
    place = torch.tensor([[[10.0, 12.0, 0.1, -0.1]]], dtype=torch.float64)
    velocity = torch.tensor([[[1.0, -0.5]]], dtype=torch.float64)
    one = torch.ones(1, 1, dtype=torch.float64)
    before = Walkers(one, one, place, velocity)
    new = torch.tensor([[[10.7, 12.3, 0.08, 0.05]]], dtype=torch.float64)
    faster = torch.tensor([[[0.8, 0.2]]], dtype=torch.float64)
    found = motion.place_distribution(before).log_prob(new) + motion.velocity_distribution(before, new).log_prob(faster)
    tall = motion.steps(place).push / motion.log_push.exp()
    push, sway = motion.log_push.exp() * tall, motion.log_sway.exp() * tall
    expected = dist.Normal(velocity, push).log_prob(faster) + dist.Normal(place[..., :2] + faster, sway).log_prob(
        new[..., :2]
    )
    memory, spread = motion.memory, motion.log_spread.exp()
    shape = dist.Normal(memory * place[..., 2:], spread * (1 - memory**2).sqrt()).log_prob(new[..., 2:])
    torch.testing.assert_close(found, expected.sum(-1) + shape.sum(-1))


def test_who_leaves_the_frame_does_not_stay_long():
    motion = WalkingPeople((1, 60, 80)).requires_grad_(False).motion
    inside, outside = torch.tensor([40.0, 40.0, 0.0, 0.0]), torch.tensor([-20.0, 40.0, 0.0, 0.0])
    assert motion.stay_probability(inside) == pytest.approx(float(motion.stay_inside.sigmoid()), abs=1e-3)
    assert motion.stay_probability(outside) == pytest.approx(float(motion.stay_outside.sigmoid()), abs=1e-3)


def test_heights_are_fitted_through_blobs_of_two_and_of_half():
    feet = torch.linspace(20, 90, 200)
    heights = 3 + 0.25 * feet + 0.3 * torch.randn(200)
    heights[::5] *= 1.8
    heights[1::9] *= 0.5
    assert fit_heights(feet, heights) == pytest.approx((3, 0.25), abs=0.5)


def test_it_starts_from_blobs():
    model = WalkingPeople((1, 96, 128))
    masks = torch.zeros(12, 96, 128)
    for index in range(12):
        bottom = 40 + 4 * index
        tall = round(4 + 0.2 * bottom)
        masks[index, bottom - tall : bottom, 30 : 30 + tall // 3] = 1
        masks[index, :30, 100:] = 1  # touches the edge
    model.start_from(masks)
    assert float(model.silhouette.mean_height(torch.tensor(60.0)).detach()) == pytest.approx(16, abs=1)
    with pytest.raises(ValueError, match="frames: expected at least 10 blobs of the shape of a person, found 1"):
        model.start_from(masks[:1])


def test_a_slot_that_is_filled_again_has_a_new_identity():
    model = WalkingPeople((1, *SIZE), num_slots=2)
    presence = torch.tensor([[1.0, 0.0], [1.0, 1.0], [0.0, 1.0], [1.0, 1.0]])[..., None]
    values = {f"presence_{number}": one for number, one in enumerate(presence, 1)}
    values |= {f"place_{number}": torch.tensor([[[5.0, 9.0, 0.0, 0.0]]]).expand(2, 1, 4) for number in range(1, 5)}
    scene = model.scene(values)
    assert scene.identities is not None
    assert scene.box_sizes is not None
    assert scene.identities[0].tolist() == [[0, -1], [0, 1], [-1, 1], [2, 1]]
    assert scene.box_sizes.shape == (1, 4, 2, 2)


def test_wrong_settings_are_refused():
    with pytest.raises(ValueError, match="frame_shape: expected 1 channel, got 3"):
        WalkingPeople((3, 20, 24))
    with pytest.raises(ValueError, match="num_slots: expected a whole number of at least 1, got 0$"):
        WalkingPeople((1, 20, 24), num_slots=0)
    with pytest.raises(ValueError, match=r"miss_rate: expected a share of pixels in \(0, 0.5\), got 0.7"):
        ForegroundPixels((20, 24), miss_rate=0.7)
    with pytest.raises(ValueError, match="knots: expected at least 2 heights, got 1"):
        Silhouette((20, 24), intercept=5.0, slope=0.0, knots=1)
    with pytest.raises(ValueError, match="half_width: expected a positive share"):
        Silhouette((20, 24), intercept=5.0, slope=0.0, half_width=0.0)
