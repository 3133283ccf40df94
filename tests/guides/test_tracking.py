"""Attention with a window where the dynamics predict an object: the filter by hand, and balls that cross."""

import pytest
import torch
from torch import nn

from guides.objects.predicted_windows import TrackedKeypoints
from inference.metrics import coefficient_of_determination, match_objects, swap_rate
from pyro_models.dynamics_from_pixels.ballistic_mixture import BallisticMixture, IndependentPositions
from videos import Cannonballs

UNIT = 32 / 6


class Told(nn.Module):
    """Logits that give the positions of the balls, in the first frames only."""

    def __init__(self, places, positions, frames):
        super().__init__()
        centred = (positions.permute(2, 0, 1, 3) - 15.5) / UNIT
        self.logits = -(places - centred.unsqueeze(-2)).square().sum(-1) / 0.2
        self.logits[:, :, frames:] = 0

    def forward(self, features):
        return self.logits


@pytest.fixture(scope="module")
def balls():
    simulator = Cannonballs(size=32, max_balls=2)
    return simulator.simulate(120, torch.Generator().manual_seed(0))


def tracked(videos, prior, frames=1):
    keypoints = TrackedKeypoints(3, (1, 32, 32), prior)
    keypoints.attention = Told(keypoints.places(), videos.positions, frames)
    presence = videos.presence[:, 0]
    features = torch.zeros(2, videos.num_sequences, videos.num_frames, 3)
    read = keypoints(features, videos.frames, presence.T)
    return read.permute(1, 2, 0, 3) * UNIT + 15.5


def falling():
    """Dynamics with gravity, about as large as in these videos, and little process noise."""
    prior = BallisticMixture(transition_variance=1e-4, emission_variance=0.01)
    with torch.no_grad():
        prior.offset[1] = 0.056
    return prior


def test_balls_keep_their_names_when_they_cross(balls):
    """Identities are given in the first frame only; a third of these pairs of balls overlap in some frame."""
    presence = balls.presence[:, 0]
    found = tracked(balls, falling())
    several = presence.sum(-1) == 2
    matched = match_objects(found, balls.positions, presence)
    assert coefficient_of_determination(matched, balls.positions, presence) > 0.98
    assert swap_rate(found[several], balls.positions[several], presence[several]) < 0.05


def test_without_dynamics_they_do_not(balls):
    presence = balls.presence[:, 0]
    several = presence.sum(-1) == 2
    found = tracked(balls.select(several), IndependentPositions())
    matched = match_objects(found, balls.positions[several], presence[several])
    assert coefficient_of_determination(matched, balls.positions[several], presence[several]) < 0.5


def test_the_filter_is_the_exact_one(balls):
    """Predictions and updates are those of the model's filter; variances are those of its innovations."""
    prior = falling()
    keypoints = TrackedKeypoints(3, (1, 32, 32), prior)
    filtering = keypoints.filtering(30)
    weights = prior.logits.softmax(-1)
    a = torch.randn(30, 2)
    path = prior.collapsed(weights, 30).filter(a)
    torch.testing.assert_close(path.predicted_mean[0], filtering.start)
    for step in range(30):
        before = path.predicted_mean[step]
        torch.testing.assert_close(path.mean[step], before + (a[step] - before[:2]) @ filtering.gains[step].mT)
        if step < 29:
            torch.testing.assert_close(
                path.predicted_mean[step + 1], path.mean[step] @ filtering.transition.mT + filtering.offset
            )
    spread = (prior.collapsed(weights, 30).filter(a).predicted_covariance[:, :2, :2] + 0.01 * torch.eye(2)).diagonal(
        dim1=-2, dim2=-1
    )
    torch.testing.assert_close(filtering.variances, spread)


def test_no_gradient_reaches_the_dynamics_and_it_looks_back_only(balls):
    prior = falling()
    videos = balls.select(slice(0, 6))
    keypoints = TrackedKeypoints(3, (1, 32, 32), prior)
    features = torch.randn(2, 6, 30, 3, requires_grad=True)
    presence = videos.presence[:, 0].T
    read = keypoints(features, videos.frames, presence)
    (gradient,) = torch.autograd.grad(read[:, :, 10].sum(), features, retain_graph=True)
    assert (gradient[:, :, 11:] == 0).all()
    assert (gradient[:, :, 0].abs().sum() > 0).all()
    unused = torch.autograd.grad(read.sum(), list(prior.parameters()), allow_unused=True)
    assert all(one is None for one in unused)


def test_in_the_first_frame_objects_take_one_ball_each(balls):
    """States are uninformative here; a mean over all light would lie between the balls."""
    presence = balls.presence[:, 0]
    apart = (balls.positions[:, 0, 0] - balls.positions[:, 0, 1]).norm(dim=-1) > 5
    videos = balls.select((presence.sum(-1) == 2) & apart)
    assert videos.num_sequences > 30
    keypoints = TrackedKeypoints(3, (1, 32, 32), falling())
    nn.init.normal_(keypoints.attention.weight, std=0.01)
    features = torch.randn(2, videos.num_sequences, 1, 3)
    read = keypoints(features, videos.frames[:, :1], videos.presence[:, 0].T).permute(1, 2, 0, 3) * UNIT + 15.5
    matched = match_objects(read, videos.positions[:, :1], videos.presence[:, 0])
    assert ((matched - videos.positions[:, :1]).norm(dim=-1) < 1).all()


def test_an_absent_object_takes_no_light(balls):
    """The first slot is empty: the second reads its ball as if it were alone."""
    videos = balls.select(balls.presence[:, 0].sum(-1) == 1)
    keypoints = TrackedKeypoints(3, (1, 32, 32), falling())
    features = torch.randn(2, videos.num_sequences, 1, 3)
    presence = torch.tensor([[False], [True]]).expand(2, videos.num_sequences)
    read = keypoints(features, videos.frames[:, :1], presence)[1]
    alone = keypoints(features[1:], videos.frames[:, :1], presence[1:])[0]
    torch.testing.assert_close(read, alone)
    truth = videos.positions[:, :1, 0]
    assert ((read * UNIT + 15.5 - truth).norm(dim=-1) < 1).all()


def test_videos_begin_with_their_first_frame_that_is_seen(balls):
    """Leading black frames do not change the readings after them, independently per sequence."""
    videos = balls.select(slice(0, 20))
    keypoints = TrackedKeypoints(3, (1, 32, 32), falling())
    features, presence = torch.randn(2, 20, 30, 3), videos.presence[:, 0].T
    missing = torch.arange(20) % 4
    dark = torch.arange(30) < missing[:, None]
    frames = torch.where(dark[:, :, None, None, None], 0.0, videos.frames)
    read = keypoints(features, frames, presence)
    for hidden in range(4):
        of = missing == hidden
        later = keypoints(features[:, of, hidden:], videos.frames[of, hidden:], presence[:, of])
        torch.testing.assert_close(read[:, of, hidden:], later)
