"""These tests pin: evidences of all prefixes of a video are unbiased, by filters and by masks, with their errors."""

import pytest
import torch

from inference.estimators.particle_filter import ParticleFilter, Resampling
from inference.predictive.prefixes import FilterWeights, prefix_evidence
from inference.predictive.steps_ahead import StepsAhead
from tests.inference.linear_video import GAPS, STEPS, LinearGuide, LinearVideo, exact_prefixes, mask, videos, whole
from tests.oracles.monte_carlo import assert_mean_within


@pytest.mark.parametrize("blind", [False, True])
def test_filters_estimate_the_evidence_of_every_prefix_without_bias(blind):
    """2,000 filters of 3 particles: the mean of p_hat(x_1, ..., x_t) is that of the dense joint, for every t."""
    frames, model = videos(3), LinearVideo()
    found, words = prefix_evidence(
        model, LinearGuide(model, blind), (frames, GAPS, None), num_particles=3, num_repeats=2000, seed=0
    )
    truth = exact_prefixes(frames, GAPS)
    assert words == "2000 particle filters of 3 particles"
    assert found.shape == (2000, STEPS, 3)
    assert found.std(0).max() > 0.2  # noise that there is to average
    assert_mean_within((found - truth).exp(), torch.ones_like(truth))


@pytest.mark.parametrize("threshold", [0.0, 0.5, 1.1])
def test_totals_of_a_filter_are_the_evidences_of_shorter_videos(threshold):
    """With the same draws: the guide does not look ahead, and nothing is resampled after the last frame."""
    frames, model, resampling = videos(40), LinearVideo(), Resampling(threshold=threshold)
    guide, weights = LinearGuide(model, blind=True), FilterWeights()

    def run(some, watch=None):
        torch.manual_seed(0)
        with torch.no_grad():
            return ParticleFilter(6, resampling).run(model, guide, (some,), watch=watch)

    result = run(frames, weights)
    shares = result.resampled[:-1].double().mean(1)
    assert bool(((shares > 0) & (shares < 1)).any()) is (threshold == 0.5)
    expected = torch.stack([run(frames[:, : last + 1]).log_evidence for last in range(STEPS)])
    torch.testing.assert_close(weights.totals(result), expected, rtol=1e-12, atol=1e-12)


def test_scores_go_from_one_seen_frame_to_the_next():
    """Prefixes that end at a missing frame are not read."""
    prefixes = torch.tensor([[1.0, torch.nan, 4.0, 9.0], [torch.nan, 2.0, torch.nan, torch.nan]]).double().T
    seen = torch.tensor([[True, False, True, True], [False, True, False, False]])
    ahead = StepsAhead(prefixes.expand(3, 4, 2), seen)
    score = ahead.score(seen)
    expected = torch.tensor([[1, torch.nan, 3, 5], [torch.nan, 2, torch.nan, torch.nan]]).double()
    torch.testing.assert_close(score.by_frame, expected, equal_nan=True)
    assert score.totals.tolist() == pytest.approx([9, 2])
    assert score.monte_carlo.tolist() == pytest.approx([0, 0], abs=1e-12)
    assert ahead.spread == pytest.approx(0, abs=1e-12)


def test_without_steps_prefixes_are_weighed_one_by_one():
    frames, programs = videos(3), whole(LinearVideo())
    found, words = prefix_evidence(*programs, (frames, GAPS, None), num_particles=5, num_repeats=1000, seed=0)
    truth = exact_prefixes(frames, GAPS)
    assert words == "differences of log evidences, 1000 times 5 draws of the guide for each prefix"
    assert found.std(0).max() > 0.1
    assert_mean_within((found - truth).exp(), torch.ones_like(truth))
    nothing = torch.zeros(3, STEPS, dtype=torch.bool)
    nothing[:, 1] = True
    some, _ = prefix_evidence(*programs, (frames, nothing, None), num_particles=5, num_repeats=2, seed=0)
    assert some.isnan().all(0).all(1).tolist() == [True, False, True, True, True]


def test_errors_of_sums_are_those_that_repeats_have():
    """By 250 groups of eight filters; the frames of a video share draws, so their errors do not add up squared."""
    frames, model = videos(2, seed=1), LinearVideo()
    found, _ = prefix_evidence(
        model, LinearGuide(model, True), (frames, None, None), num_particles=20, num_repeats=2000, seed=0
    )
    everything, last = torch.ones(2, STEPS, dtype=torch.bool), mask(2, 3, 4)
    for frames_scored in (everything, last):
        groups = [StepsAhead(group, everything).score(frames_scored) for group in found.split(8)]
        spread = torch.stack([group.totals for group in groups]).std(0)
        stated = torch.stack([group.monte_carlo for group in groups]).square().mean(0).sqrt()
        assert bool(((stated / spread - 1).abs() < 0.25).all())
