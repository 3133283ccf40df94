"""The guide of walking people against oracles, and what it is for: people who cross, and walk behind a post.

These tests pin: the Laplace approximation against a grid; the correlation map against direct sums; evidence of a
particle filter against quadrature; beliefs against the exact Kalman filter and smoother; identities through a crossing
and behind a post; missing frames; learning.
"""

import math
from functools import partial

import pyro.distributions as dist
import pytest
import torch

from guides import SilhouetteTrackingGuide
from guides.silhouette_tracking.correlation import CorrelationMap
from guides.silhouette_tracking.explanation import EMPTY, SEEN
from guides.silhouette_tracking.learning import fit_silhouettes
from guides.silhouette_tracking.refinement import Effort, refine
from guides.silhouette_tracking.tracking import smooth
from inference.estimators import FIVO
from pyro_models import WalkingPeople
from pyro_models.distributions import LinearGaussianSSM
from pyro_models.walking_people import ForegroundPixels, Silhouette
from pyro_models.walking_people.foreground import union


def tiny(slots: int = 1) -> WalkingPeople:
    """A frame of 8 x 10 pixels; sizes and widths hardly vary, so that evidence is an integral over positions."""
    size = (8, 10)
    silhouette = Silhouette(size, intercept=4.0, slope=0.1, knots=2, half_width=0.3)
    model = WalkingPeople((1, *size), num_slots=slots, silhouette=silhouette, pixels=ForegroundPixels(size, 0.1, 0.2))
    with torch.no_grad():
        silhouette.log_softness.fill_(math.log(0.15)), silhouette.log_edge.fill_(math.log(0.1))  # half a pixel
        model.motion.log_spread.fill_(math.log(1e-4))
        model.motion.log_sway.fill_(math.log(0.3))  # places are then found frame by frame, and weights even
        for logit, chance in (("enter", 0.4), ("hide", 0.2), ("reappear", 0.4), ("stay_inside", 0.8)):
            name = logit if logit == "stay_inside" else f"{logit}_logit"
            getattr(model.motion, name).fill_(math.log(chance / (1 - chance)))
    return model.double().requires_grad_(False).eval()


def drawn(model: WalkingPeople, place: torch.Tensor, seed: int = 0) -> torch.Tensor:
    """Masks (1, time, 1, height, width) of people at places (time, people, 4), drawn from the model's pixels."""
    cover = union(model.silhouette(place), torch.ones_like(place[..., 0]), -3)
    noise = torch.rand(cover.shape, generator=torch.Generator().manual_seed(seed), dtype=cover.dtype)
    return (noise < model.pixels.probability(cover)).to(cover.dtype)[None, :, None]


def grid_of(step: float) -> torch.Tensor:
    x, y = torch.meshgrid(torch.arange(-3, 13, step), torch.arange(-5, 16, step), indexing="ij")
    return torch.stack([x, y, 0 * x, 0 * x], -1).reshape(-1, 4).double()


def entries(model: WalkingPeople, grid: torch.Tensor) -> torch.Tensor:
    """Log density of (x, y) where people are first seen, written out."""
    motion = model.motion
    members = dist.Normal(motion.entry_means, motion.entry_scales).log_prob(grid[:, None, :2]).sum(-1)
    return (members + motion.entry_logits).logsumexp(-1)


def test_places_are_refined_to_the_mode_and_curvature_of_a_grid():
    model = tiny()
    with torch.no_grad():
        model.pixels.false_logit.fill_(-3.0), model.pixels.miss_logit.fill_(-3.0)
    truth = torch.tensor([[5.2, 6.1, 0.0, 0.0]]).double()
    image = drawn(model, truth[None])[0, 0, 0]
    prior = (
        torch.tensor([[5.0, 6.0, 0.0, 0.0]]).double(),
        torch.diag(torch.tensor([0.3, 0.3, 1e-8, 1e-8])).double()[None],
    )
    found = refine(model, image, torch.ones(1).double(), prior, how=Effort(20))
    step = 0.05
    grid = torch.stack(torch.meshgrid(torch.arange(3, 7, step), torch.arange(4, 8, step), indexing="ij"), -1).double()
    places = torch.cat([grid, torch.zeros_like(grid)], -1)
    density = model.pixels.log_prob(model.silhouette(places), image).sum((-2, -1))
    joint = density - 0.5 * ((grid - prior[0][0, :2]).square() / 0.3).sum(-1)
    best = grid.flatten(0, 1)[joint.argmax()]
    torch.testing.assert_close(found.mean[0, :2], best, rtol=0, atol=step)
    without = model.pixels.log_prob(torch.zeros_like(image), image).sum()
    exact = joint.logsumexp((0, 1)) + 2 * math.log(step) - math.log(2 * math.pi * 0.3) - without
    assert float(found.gain[0]) == pytest.approx(float(exact), abs=0.5)  # Laplace's method


def test_pixels_of_less_weight_say_less():
    model = street()
    place = walk(1, (20.0, 24.0, 0.0, 0.0))
    image = drawn(model, place)[0, 0, 0]
    prior = place[0], 100 * torch.eye(4)[None]
    whole, half = (refine(model, image, torch.ones(1), prior, how=Effort(8, weight)) for weight in (1.0, 0.5))
    torch.testing.assert_close(half.covariance, 2 * whole.covariance, rtol=0.05, atol=1e-3)
    torch.testing.assert_close(half.mean, whole.mean, rtol=0, atol=0.02)
    cover, blank = whole.cover[0], torch.zeros_like(image)
    ratio = (model.pixels.log_prob(cover, image) - model.pixels.log_prob(blank, image)).sum()
    # half of the ratio at the mode is lost; the posterior's volume is four times as large
    assert float(half.gain) == pytest.approx(float(whole.gain - 0.5 * ratio) + math.log(4), abs=0.3)


def test_the_map_is_the_gain_of_one_more_person():
    model = tiny()
    correlation = CorrelationMap(model)
    image = (torch.rand(2, 3, 8, 10) > 0.5).double()
    gain = correlation.gain(image, torch.ones_like(image))
    image = image[:, :, None, None]
    cover = model.silhouette(correlation.grid).expand(2, 3, -1, -1, -1, -1)
    direct = (model.pixels.log_prob(cover, image) - model.pixels.log_prob(0 * cover, image)).sum((-2, -1))
    torch.testing.assert_close(gain, direct)
    best = correlation.best(gain)[1, 2]
    row, column = (gain[1, 2] == gain[1, 2].max()).nonzero()[0]
    torch.testing.assert_close(best, correlation.grid[row, column])


def test_the_map_sees_what_others_explain():
    model = street()
    with torch.no_grad():
        model.silhouette.log_softness.fill_(-7.0), model.silhouette.log_edge.fill_(-7.0)
        model.silhouette.solid_logit.fill_(12.0)
    place = walk(1, (20.0, 24.0, 0.0, 0.0), (40.0, 26.0, 0.0, 0.0))
    image = drawn(model, place)[0, 0, 0]
    without = 1 - model.silhouette(place[0, 0])
    correlation = CorrelationMap(model)
    torch.testing.assert_close(correlation.best(correlation.gain(image, without))[:2], place[0, 1, :2])


def exact_evidence(model: WalkingPeople, images: torch.Tensor, step: float) -> float:
    """Log p(images) of two frames, by sums over presence and visibility and quadrature over positions, written out.

    With one slot or two: one person may enter in each frame, in the first slot that was empty before it.
    """
    motion, grid, cell = model.motion, grid_of(step), step**2
    blank = torch.zeros_like(images[0])
    nothing = [model.pixels.log_prob(blank, image).sum().exp() for image in images]
    cover = model.silhouette(grid)
    person = [model.pixels.log_prob(cover, image).sum((-2, -1)).exp() for image in images]
    enter, hide, back, appear = (
        getattr(motion, f"{name}_logit").sigmoid() for name in ("enter", "hide", "reappear", "appear")
    )
    stay, start = motion.stay_probability(grid), entries(model, grid).exp() * cell
    enter_seen = enter * appear * start
    # the velocity is integrated out: a step from the first place to the second
    tall = model.silhouette.mean_height(grid[:, 1])
    speed, push, sway = (getattr(motion, f"log_{name}").exp() * tall for name in ("speed", "push", "sway"))
    spread = (speed**2 + push**2 + sway**2).sqrt()
    moved = dist.Normal(grid[:, None, :2], spread[:, None, None]).log_prob(grid[None, :, :2]).sum(-1).exp() * cell
    total = (1 - enter) * nothing[0] * ((enter_seen * person[1]).sum() + (1 - enter * appear) * nothing[1])
    for visible, before in ((1, enter_seen * person[0]), (0, enter * (1 - appear) * start * nothing[0])):
        sight = 1 - hide if visible else back
        later = (before * stay * sight) @ moved  # weights of being seen at each place
        unseen = (before * (1 - stay * sight)).sum()
        if model.num_slots == 1:
            total = total + (later * person[1]).sum() + unseen * nothing[1]
            continue
        both = torch.stack(
            [model.pixels.log_prob(1 - (1 - cover) * (1 - one), images[1]).sum((-2, -1)).exp() for one in cover]
        )
        alone = (later * person[1]).sum() + unseen * nothing[1]
        total = total + (1 - enter * appear) * alone + later @ both @ enter_seen
        total = total + unseen * (enter_seen * person[1]).sum()
    return float(total.log())


@pytest.mark.parametrize(
    ("places", "slots", "step"),
    [
        ([[[5.0, 6.5]], [[4.6, 6.5]]], 1, 0.5),
        ([[[8.0, 5.5]], [[7.6, 5.6]]], 1, 0.5),
        pytest.param(
            [[[1.5, 6.5], [20.0, 20.0]], [[1.7, 6.5], [8.0, 6.0]]], 2, 0.5, marks=pytest.mark.slow
        ),  # a sum over pairs of places
    ],
    ids=["one", "near the edge", "two"],
)
def test_a_particle_filter_finds_the_evidence_of_quadrature(places, slots, step):
    model = tiny(slots)
    path = torch.nn.functional.pad(torch.tensor(places), (0, 2)).double()
    frames = drawn(model, path)
    exact = exact_evidence(model, frames[0, :, 0], step)
    found = FIVO(100).run(model, SilhouetteTrackingGuide(model), frames.expand(60, -1, -1, -1, -1)).log_evidence
    ratio = (found - exact).exp()
    error = float(ratio.std()) / math.sqrt(60)
    assert error < 0.1
    assert abs(float(ratio.mean()) - 1) < 4 * error + 0.02  # of the quadrature


def street(slots: int = 4, miss: float = 0.05) -> WalkingPeople:
    """A frame of 36 x 64 pixels with people 10 to 14 pixels tall."""
    size = (36, 64)
    silhouette = Silhouette(size, intercept=6.0, slope=0.25, knots=4, half_width=0.17)
    model = WalkingPeople((1, *size), num_slots=slots, silhouette=silhouette, pixels=ForegroundPixels(size, 0.01, miss))
    return model.requires_grad_(False).eval()


def walk(frames: int, *people: tuple[float, float, float, float]) -> torch.Tensor:
    """Places (time, people, 4) of people who start at (x, y) and walk (x, y) pixels per frame."""
    time = torch.arange(frames)[:, None, None]
    table = torch.tensor(people)
    return torch.cat([table[:, :2] + time * table[:, 2:], torch.zeros(frames, len(people), 2)], -1)


def slots_at(path, place):
    """The slot of the person seen nearest to a place, and how far away it is."""
    there = path.chances[0, :, EMPTY] < 0.5
    away = torch.where(there, (path.mean[0, :, :2] - place[:2]).norm(dim=-1), torch.inf)
    return int(away.argmin()), float(away.min())


def test_people_who_cross_keep_their_slots():
    model = street()
    place = walk(32, (6.0, 24.0, 1.3, 0.05), (58.0, 27.0, -1.3, -0.05))
    path = SilhouetteTrackingGuide(model).track(drawn(model, place))
    gaps = (place[:, 0, 0] - place[:, 1, 0]).abs()
    assert gaps.min() < 2  # less than half a person
    for person in range(2):
        first, last = slots_at(path[3], place[3, person]), slots_at(path[-1], place[-1, person])
        assert first[0] == last[0]
        assert max(first[1], last[1]) < 1.5
    assert [int((one.chances[0, :, EMPTY] < 0.5).sum()) for one in path[2:]] == [2] * 30


def test_a_person_behind_a_post_is_the_same_afterwards():
    model = street()
    place = walk(40, (6.0, 26.0, 1.3, 0.0))
    with torch.no_grad():
        model.pixels.miss_logit[:, 26:37] = 5.0  # wider than the person
    frames = drawn(model, place)
    path = SilhouetteTrackingGuide(model).track(frames)
    covered = ((place[:, 0, 0] > 28.5) & (place[:, 0, 0] < 34)).nonzero()[:, 0].tolist()
    assert len(covered) > 3
    slot = slots_at(path[3], place[3, 0])[0]
    for frame in (*covered, 39):
        assert slots_at(path[frame], place[frame, 0])[0] == slot
    assert min(float(path[frame].chances[0, slot, SEEN]) for frame in covered) < 0.99
    errors = [(one.mean[0, slot, :2] - place[frame, 0, :2]).norm() for frame, one in enumerate(smooth(path))]
    assert max(errors[2:]) < 1.5
    assert sum(int(one.entered.sum()) for one in path) == 1


def test_what_is_skipped_changes_nothing():
    model = street()
    place = walk(14, (24.0, 26.0, 1.3, 0.0), (50.0, 20.0, 0.5, 0.0))
    with torch.no_grad():
        model.pixels.miss_logit[:, 28:40] = 5.0  # a post: the first person is lost, and looked for again
    frames, guide = drawn(model, place), SilhouetteTrackingGuide(model)
    path, values = guide.track(frames), guide.complete(frames, method="filter")
    for number, beliefs in enumerate(path, 1):
        there = beliefs.chances[0, :, EMPTY] < 0.5
        assert torch.equal(values[f"presence_{number}"][:, 0] > 0, there)
        torch.testing.assert_close(
            values[f"place_{number}"][there, 0], beliefs.mean[0, there, :4], rtol=1e-3, atol=1e-3
        )


def test_empty_streets_are_empty():
    model = street()
    path = SilhouetteTrackingGuide(model).track(drawn(model, torch.zeros(10, 0, 4)))
    assert all(bool((one.chances[0, :, EMPTY] > 0.5).all()) for one in path)


def test_a_missing_frame_is_predicted():
    model = street()
    place = walk(16, (6.0, 26.0, 1.3, 0.0))
    frames, observed = drawn(model, place), torch.ones(1, 16, dtype=torch.bool)
    observed[0, 10:13] = False
    frames[0, 10:13] = torch.nan
    guide = SilhouetteTrackingGuide(model)
    path = guide.track(frames, observed)
    for frame in range(3, 16):
        assert slots_at(path[frame], place[frame, 0])[1] < 2.0
    spread = [float(one.covariance[0, 0, 0, 0]) for one in path]
    assert spread[9] < spread[10] < spread[11] < spread[12] > spread[13]


def test_beliefs_are_those_of_the_exact_filter_and_smoother():
    """With a line of heights that is flat, the chain is linear and Gaussian given readings of the place."""
    model = street(slots=1).double()
    with torch.no_grad():
        model.silhouette.line.copy_(torch.tensor([12.0, 0.0]))
    path = SilhouetteTrackingGuide(model).track(drawn(model, walk(12, (20.0, 26.0, 1.0, 0.0)).double()))
    assert path[0].entered[0, 0]
    # the reading of a frame: the Gaussian that takes the prediction to the belief
    readings, noises = [], []
    for one in path[1:]:
        before, after = one.predicted_covariance[0, 0, :4, :4].inverse(), one.covariance[0, 0, :4, :4].inverse()
        noise = (after - before).inverse()
        shift = after @ one.mean[0, 0, :4] - before @ one.predicted_mean[0, 0, :4]
        readings.append(noise @ shift), noises.append(noise)
    matrix = path[1].transition
    steps = model.motion.steps(path[0].mean[0, 0, :4])
    kick = torch.zeros(6, 6).double()
    kick[[0, 1], [4, 5]] = kick[[4, 5], [4, 5]] = steps.push
    noise = kick @ kick.T
    noise[[0, 1], [0, 1]] += steps.sway**2
    noise[[2, 3], [2, 3]] = steps.shape**2
    ssm = LinearGaussianSSM(
        initial_mean=path[1].predicted_mean[0, 0],
        initial_covariance=path[1].predicted_covariance[0, 0],
        transition_matrix=matrix.expand(10, 6, 6),
        transition_covariance=noise.expand(10, 6, 6),
        emission_matrix=torch.eye(6).double()[:4].expand(11, 4, 6),
        emission_covariance=torch.stack(noises),
    )
    for exact, found in ((ssm.filter, path), (ssm.smooth, smooth(path))):
        result = exact(torch.stack(readings))
        torch.testing.assert_close(
            torch.stack([one.mean[0, 0] for one in found[1:]]), result.mean, rtol=1e-4, atol=1e-4
        )
        covariances = torch.stack([one.covariance[0, 0] for one in found[1:]])
        torch.testing.assert_close(covariances, result.covariance, rtol=1e-3, atol=1e-5)


@pytest.mark.slow
def test_silhouettes_are_learned_without_labels():
    truth = street(miss=0.1)
    with torch.no_grad():
        truth.pixels.miss_logit[:, 31] = 3.0  # a post, narrower than a person
    frames = drawn(truth, walk(60, (4.0, 22.0, 1.0, 0.05), (60.0, 30.0, -1.0, 0.0)))
    model = street().requires_grad_(True)
    with torch.no_grad():
        model.silhouette.log_half_width.fill_(math.log(0.11))
        model.silhouette.line.copy_(torch.tensor([7.5, 22.0]))
    guide = SilhouetteTrackingGuide(model)
    fit_silhouettes(guide, frames, rounds=2, steps=60)
    middle = model.silhouette.log_half_width.exp()[1:3]
    torch.testing.assert_close(middle, torch.full((2,), 0.17), rtol=0.15, atol=0)
    y = torch.tensor([23.0, 30.0])
    torch.testing.assert_close(model.silhouette.mean_height(y), 6 + 0.25 * y, rtol=0.06, atol=0)
    rates = model.pixels.miss_logit.sigmoid()[18:28]
    assert rates[:, 31].mean() > 2 * rates[:, 10:20].mean()


def test_wrong_settings_are_refused():
    model = street()
    with pytest.raises(ValueError, match="refinements: expected a whole number of at least 1, got 0$"):
        SilhouetteTrackingGuide(model, refinements=0)
    with pytest.raises(ValueError, match=r"pixel_weight: expected a share in \(0, 1\], got 0"):
        SilhouetteTrackingGuide(model, pixel_weight=0.0)
    guide = SilhouetteTrackingGuide(model)
    with pytest.raises(ValueError, match="frames: expected one sequence, the whole clip, got 2"):
        fit_silhouettes(guide, torch.zeros(2, 3, 1, 36, 64))
    with pytest.raises(ValueError, match="rounds: expected at least 1, got 0"):
        fit_silhouettes(guide, torch.zeros(1, 3, 1, 36, 64), rounds=0)
    with pytest.raises(ValueError, match="frames: expected at least 10"):
        fit_silhouettes(guide, torch.zeros(1, 3, 1, 36, 64), rounds=1)
    hidden = torch.tensor([[True, False, True]])
    grey = torch.zeros(1, 3, 1, 36, 64)
    grey[:, 1] = 0.5
    for follow in (guide.track, partial(fit_silhouettes, guide)):
        with pytest.raises(ValueError, match="frames: expected masks of zeros and ones, .*, got 0.5 among others; "):
            follow(grey)
    assert len(guide.track(grey, hidden)) == 3
