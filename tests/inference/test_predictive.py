"""These tests pin: predictive scores against exact conditionals of a linear-Gaussian model and of bits, in the stated
units; held-out frames are never read."""

import itertools
import math
from dataclasses import asdict

import pytest
import torch

from guides import NoLatentsGuide, RecurrentGuide
from inference import Budget, log_evidence, predictive_scores
from inference.predictive.record import FrameScore
from pyro_models import DeepMarkovModel, EncoderDecoderLSTM
from tests.contracts.registry import unsettle
from tests.inference.linear_video import (
    GAPS,
    SIZE,
    STEPS,
    LinearGuide,
    LinearVideo,
    P,
    exact,
    exact_prefixes,
    mask,
    oracle,
    parameters,
    videos,
    whole,
)
from tests.inference.metrics.test_proper_scores import crps_of_a_gaussian
from tests.inference.two_coins import ExactCoin, TwoCoins, coin_likelihoods, coin_posterior
from tests.oracles.monte_carlo import assert_mean_within

QUICK = Budget(particles=32)


@pytest.mark.parametrize("stepwise", [True, False])
def test_scores_one_step_ahead_are_those_of_the_kalman_filter(stepwise):
    frames, model = videos(3), LinearVideo()
    programs = (model, LinearGuide(model)) if stepwise else whole(model)
    scores = predictive_scores(*programs, frames, GAPS, num_particles=500)
    found, truth = scores.one_step_ahead, exact_prefixes(frames, GAPS)
    single = torch.full((3, STEPS), torch.nan, dtype=torch.float64)
    for row, column in GAPS.nonzero().tolist():
        earlier = GAPS[row].clone()
        earlier[column:] = False
        before = exact(frames[row][None], earlier[None])
        single[row, column] = truth[column, row] - before[0]
    torch.testing.assert_close(found.by_frame, single, rtol=0, atol=0.1, equal_nan=True)
    torch.testing.assert_close(found.totals, truth[-1], rtol=0, atol=0.1)
    assert bool(((found.totals - truth[-1]).abs() < 6 * found.monte_carlo).all())
    assert found.counts.tolist() == [5, 3, 3]
    assert found.mean == pytest.approx(found.totals.sum().item() / 11)
    assert (scores.held_out, scores.crps, scores.energy_score, scores.brier_score) == (None, None, None, None)
    assert scores.reference == "density"


def test_frames_held_out_at_the_end_have_the_sum_of_their_scores_one_step_ahead():
    frames, held_out, model = videos(4), mask(4, 3, 4), LinearVideo()
    held_out[1, 3] = held_out[3] = False
    scores = predictive_scores(model, LinearGuide(model), frames, held_out=held_out, num_particles=2000)
    seen = torch.ones_like(held_out)
    truth = exact(frames, seen) - exact(frames, ~held_out)
    torch.testing.assert_close(scores.held_out.totals, truth, rtol=0, atol=0.05)
    ahead = torch.where(held_out, scores.one_step_ahead.by_frame, 0.0).sum(1)
    torch.testing.assert_close(scores.held_out.totals, ahead)
    assert scores.held_out.counts.tolist() == [2, 1, 2, 0]
    assert scores.held_out.by_frame is None
    assert scores.held_out.normalised
    assert scores.verdicts is None


@pytest.mark.parametrize("stepwise", [True, False])
def test_frames_held_out_between_others_have_the_density_of_the_dense_joint(stepwise):
    """Some videos have a gap, one has its end held out, one nothing."""
    frames, held_out, model = videos(4), mask(4, 1, 3), LinearVideo()
    held_out[2] = torch.tensor([False, False, False, True, True])
    held_out[3] = False
    programs = (model, LinearGuide(model)) if stepwise else whole(model)
    scores = predictive_scores(*programs, frames, held_out=held_out, num_particles=500)
    truth = exact(frames, torch.ones_like(held_out)) - exact(frames, ~held_out)
    found = scores.held_out
    assert bool(((found.totals - truth).abs() <= 6 * found.monte_carlo).all())
    assert bool((found.monte_carlo[:3] > 0).all())
    assert found.monte_carlo.max() < 0.1
    assert found.counts.tolist() == [2, 2, 2, 0]
    assert found.normalised
    assert [verdict.kind for verdict in scores.verdicts] == ["converged", "converged"]
    assert "log evidence with held-out frames: converged" in str(scores)


@pytest.fixture(scope="module")
def grey():
    frames, held_out, model = videos(100), mask(100, 1, 4), LinearVideo()
    guide = LinearGuide(model)
    scores = predictive_scores(
        model, guide, frames, held_out=held_out, num_samples=40, num_particles=4, budget=QUICK, seed=1
    )
    return frames, held_out, guide, scores


def conditionals(frames, held_out):
    """Mean and covariance of the pixels of each held-out frame given the others, by the dense joint."""
    joint, found = oracle(), []
    for row, column in held_out.nonzero().tolist():
        seen, target = joint.seen_rows(~held_out[row]), joint.seen_rows(torch.arange(STEPS) == column)
        a = torch.cat([torch.zeros(STEPS * SIZE), frames[row].flatten()]).double()[seen]
        gain = torch.linalg.solve(joint.covariance[seen][:, seen], joint.covariance[seen][:, target]).mT
        mean = joint.mean[target] + gain @ (a - joint.mean[seen])
        found.append((mean, joint.covariance[target][:, target] - gain @ joint.covariance[seen][:, target]))
    return tuple(torch.stack(part) for part in zip(*found, strict=True))


def test_crps_of_grey_frames_is_that_of_the_exact_conditional(grey):
    """Draws are of pixels, not of their means: with the exact posterior the closed form is met without bias."""
    frames, held_out, _, scores = grey
    mean, covariance = conditionals(frames, held_out)
    truth = frames[held_out].flatten(1)
    closed = crps_of_a_gaussian(mean, covariance.diagonal(dim1=-2, dim2=-1).sqrt(), truth).mean(-1)
    off = scores.crps.by_frame[held_out] - closed
    assert off.shape == (200,)
    assert_mean_within(off, torch.zeros((), dtype=torch.float64))
    assert off.std() < 0.2 * closed.mean()
    assert scores.crps.by_frame[~held_out].isnan().all()
    assert scores.crps.mean == pytest.approx(scores.crps.by_frame[held_out].mean().item())
    assert scores.brier_score is None


def test_energy_score_of_grey_frames_is_that_of_the_exact_conditional(grey):
    """Against 2,000 pairs of draws from the dense conditional, whose pixels depend on one another."""
    frames, held_out, _, scores = grey
    mean, covariance = conditionals(frames, held_out)
    law = torch.distributions.MultivariateNormal(mean, covariance)
    one, other, truth = law.sample((2000,)), law.sample((2000,)), frames[held_out].flatten(1)
    exact_scores = ((one - truth).norm(dim=-1) - (one - other).norm(dim=-1) / 2).mean(0)
    assert_mean_within(scores.energy_score.by_frame[held_out] - exact_scores, torch.zeros((), dtype=torch.float64))


def test_errors_of_draws_are_stated_and_cover_the_closed_form(grey):
    frames, held_out, _, scores = grey
    mean, covariance = conditionals(frames, held_out)
    closed = torch.zeros(held_out.shape, dtype=torch.float64)
    scale = covariance.diagonal(dim1=-2, dim2=-1).sqrt()
    closed[held_out] = crps_of_a_gaussian(mean, scale, frames[held_out].flatten(1)).mean(-1)
    apart = (scores.crps.totals - closed.sum(1)) / scores.crps.monte_carlo
    assert 0.7 < apart.square().mean().sqrt() < 1.5  # of 8 groups: Student's t with 7 degrees of freedom, 1.18
    few = predictive_scores(
        LinearVideo(), grey[2], frames[:2], held_out=held_out[:2], num_samples=3, num_particles=2, budget=QUICK
    )
    assert few.crps.monte_carlo.isnan().all()
    assert few.crps.totals.isfinite().all()


def test_held_out_frames_are_blanked_for_what_predicts_them(grey):
    frames, held_out, guide, _ = grey
    assert len(guide.given) > 1
    for given in guide.given:
        assert bool((given[held_out[: len(given)]] == 0).all())
        assert bool((given[~held_out[: len(given)]] != 0).all())


@pytest.mark.slow
@pytest.mark.parametrize(
    "wrong",
    [pytest.param({"offset": 1.0}, marks=pytest.mark.ci), {"spread": 0.2}, {"spread": 5.0}],
    ids=str,
)
def test_the_true_model_has_the_best_scores(wrong):
    """On 100 videos that it drew, against one that is shifted, one too narrow and one too wide; paired differences."""
    frames, held_out, found = videos(100, seed=2), mask(100, 3, 4), []
    for p in (P, parameters(**wrong)):
        model = LinearVideo(p)
        found.append(
            predictive_scores(
                model, LinearGuide(model, p=p), frames, held_out=held_out, num_samples=16, num_particles=50
            )
        )
    for name, sign in (("one_step_ahead", 1), ("held_out", 1), ("crps", -1), ("energy_score", -1)):
        better = sign * (getattr(found[0], name).totals - getattr(found[1], name).totals)
        assert better.mean() > 3 * better.std() / 10


def test_binary_frames_have_probabilities_and_a_brier_score():
    """Exact guide: log scores to rounding, of any mask; the Brier score of P(heads), in closed form."""
    frames = torch.bernoulli(torch.full((300, 4, 1, 1, 3), 0.5))
    held_out = torch.zeros(300, 4, dtype=torch.bool)
    held_out[:, 1] = held_out[::2, 3] = True
    scores = predictive_scores(TwoCoins(), ExactCoin(), frames, held_out=held_out, num_samples=20, num_particles=4)
    seen = torch.ones_like(held_out)
    truth = coin_likelihoods(frames, seen).logsumexp(0) - coin_likelihoods(frames, ~held_out).logsumexp(0)
    torch.testing.assert_close(scores.held_out.totals, truth.double(), rtol=0, atol=1e-4)
    prefixes = [coin_likelihoods(frames, seen & (torch.arange(4) <= last)).logsumexp(0) for last in range(-1, 4)]
    ahead = torch.stack([later - earlier for earlier, later in itertools.pairwise(prefixes)], 1)
    torch.testing.assert_close(scores.one_step_ahead.by_frame, ahead.double(), rtol=0, atol=1e-4)
    posterior = coin_posterior(frames, ~held_out)
    heads = 0.2 + 0.5 * posterior
    exact_scores = (heads[:, None, None] - frames.flatten(2)).square().mean(2)[held_out].double()
    assert_mean_within(scores.brier_score.by_frame[held_out] - exact_scores, torch.zeros((), dtype=torch.float64))
    assert scores.reference == "probability"
    assert scores.held_out.normalised
    assert (scores.crps, scores.energy_score) == (None, None)
    assert "probabilities of binary pixels, 3 dimensions per frame" in str(scores)
    assert "Brier score (smaller is better) by 20 draws" in str(scores)


def every_bit(num_frames):
    """All videos of one pixel."""
    return torch.tensor(list(itertools.product((0.0, 1.0), repeat=num_frames)))[..., None, None, None]


@pytest.mark.parametrize("at_the_end", [True, False])
def test_a_model_that_feeds_itself_expectations_has_no_normalised_score_in_a_gap_and_says_so(at_the_end):
    """Probabilities of all values that held-out frames may have, added up: 1 at the end, and not in a gap."""
    torch.manual_seed(0)
    model = EncoderDecoderLSTM((1, 1, 1), state_dim=4, code_dim=3, hidden=(5,))
    unsettle(model)
    for parameter in model.parameters():
        parameter.data *= 3
    frames, held_out = every_bit(4), torch.zeros(16, 4, dtype=torch.bool)
    held_out[:, 3 if at_the_end else 2] = held_out[:, 1 if not at_the_end else 2] = True
    scores = predictive_scores(model, NoLatentsGuide(model), frames, held_out=held_out)
    seen = frames.flatten(1)[~held_out].reshape(16, 2)
    first = (seen == seen[0]).all(1)
    total = scores.held_out.totals[first].exp().sum().item()
    assert first.sum() == 4
    assert scores.held_out.normalised is at_the_end
    assert scores.one_step_ahead.normalised
    if at_the_end:
        assert total == pytest.approx(1, abs=1e-5)
        assert "warning" not in str(scores)
    else:
        assert abs(total - 1) > 1e-3
        assert "warning: held out: this model was not shown to integrate missing frames out" in str(scores)
    assert scores.method.startswith("exact, nothing is latent")
    assert scores.one_step_ahead.totals.exp().sum().item() == pytest.approx(1, abs=1e-5)


def test_controls_of_held_out_steps_reach_model_and_guide():
    model = DeepMarkovModel((1, 1, 3), hidden_dim=5, control_dim=2, likelihood="gaussian")
    guide, controls = RecurrentGuide(model, hidden_dim=5), torch.randn(4, STEPS, 2)
    frames = torch.rand(4, STEPS, 1, 1, 3)
    unsettle(model)
    options = {"num_particles": 4, "num_samples": 4, "budget": QUICK}
    held_out = mask(4, STEPS - 1)
    first = predictive_scores(model, guide, frames, None, controls, held_out=held_out, **options)
    controls[:, -1] += 5
    second = predictive_scores(model, guide, frames, None, controls, held_out=held_out, **options)
    assert bool((first.crps.totals != second.crps.totals).all())
    assert bool((first.held_out.totals != second.held_out.totals).all())


def test_one_seed_gives_one_result_and_the_caller_s_streams_go_on():
    frames, model = videos(3), LinearVideo()
    options = {"held_out": mask(3, 1), "num_samples": 6, "num_particles": 8, "budget": QUICK}
    state = torch.get_rng_state()
    found = [predictive_scores(model, LinearGuide(model), frames, seed=seed, **options) for seed in (0, 0, 1)]
    assert torch.equal(torch.get_rng_state(), state)
    for name in ("one_step_ahead", "held_out", "crps", "energy_score"):
        first, again, other = (getattr(one, name).totals for one in found)
        assert torch.equal(first, again)
        assert bool((first != other).all())


def test_chunks_of_videos_have_streams_of_their_own(monkeypatch):
    """A video that is there twice gets different draws in each chunk, and each frame its own score."""
    frames, held_out, model = videos(1).expand(4, -1, -1, -1, -1), mask(4, 1, 3), LinearVideo()
    held_out[2] = False
    options = {"held_out": held_out, "num_samples": 16, "num_particles": 4, "budget": QUICK}
    before_chunks = predictive_scores(model, LinearGuide(model), frames, **options)
    monkeypatch.setattr("inference.predictive.held_out_draws.VALUES_AT_ONCE", 1)
    monkeypatch.setattr("inference.predictive.held_out_draws.FRAMES_AT_ONCE", 37)
    monkeypatch.setattr("inference.predictive.prefixes.MOST_PARTICLES", 4)
    parts = predictive_scores(model, LinearGuide(model), frames, **options)
    for name in ("crps", "energy_score", "one_step_ahead"):
        before, after = getattr(before_chunks, name), getattr(parts, name)
        assert torch.equal(before.by_frame.isnan(), after.by_frame.isnan())
        scored = after.counts > 0
        assert len(after.totals[scored].unique()) == int(scored.sum())
        apart = (before.totals - after.totals)[scored] / (before.monte_carlo**2 + after.monte_carlo**2)[scored].sqrt()
        assert bool((apart.abs() < 6).all())


def test_records_average_over_frames_and_take_errors_over_sequences():
    totals, counts = torch.tensor([2.0, 9.0, 0.0, 4.0]).double(), torch.tensor([1, 3, 0, 2])
    score = FrameScore(totals, counts, torch.tensor([0.3, 0.4, 9.0, 0.0]).double())
    assert score.mean == 2.5
    # totals - 2.5 counts = -0.5, 1.5, -1 over three sequences
    assert score.error == pytest.approx(math.sqrt((0.25 + 2.25 + 1) * 3 / 2) / 6)
    assert score.monte_carlo_error == pytest.approx(0.5 / 6)
    assert math.isnan(FrameScore(totals, torch.tensor([1, 0, 0, 0]), totals).error)


def test_the_table_says_what_was_measured(grey):
    scores = grey[-1]
    text, lines = str(scores), scores.summaries
    assert [(line.frames, line.score) for line in lines] == [
        ("one step ahead", "log score, nats"),
        ("held out", "log score, nats"),
        ("held out", "CRPS"),
        ("held out", "energy score"),
    ]
    assert [line.num_frames for line in lines] == [500, 200, 200, 200]
    assert lines[0].bits_per_dimension == pytest.approx(-lines[0].mean / (2 * math.log(2)))
    assert lines[2].bits_per_dimension is None
    assert set(asdict(lines[0])) >= {"mean", "error", "monte_carlo_error", "num_sequences", "normalised"}
    assert "densities of pixel values on the scale where [0, 1] is black to white, 2 dimensions per frame" in text
    assert "CRPS, energy score (smaller is better) by 40 draws" in text
    assert "8 particle filters of 4 particles" in text
    assert f"{lines[0].mean:.4g}" in text


def test_a_lower_bound_without_the_held_out_frames_is_warned_of():
    """It makes their score too high, not too low."""
    frames, held_out, programs = 3 * videos(20), mask(20, 1), whole(LinearVideo(), blind=True)
    scores = predictive_scores(*programs, frames, held_out=held_out, num_particles=4, budget=QUICK)
    assert scores.verdicts[1].kind == "lower bound"
    assert "warning: held out: the log evidence without these frames is a lower bound, so their" in str(scores)


def test_scores_one_step_ahead_add_up_to_the_log_evidence():
    frames, model = videos(3), LinearVideo()
    guide = LinearGuide(model)
    ahead = predictive_scores(model, guide, frames, num_particles=500).one_step_ahead
    evidence = log_evidence(model, guide, frames, method="auto")
    error = (ahead.monte_carlo**2 + evidence.standard_error**2).sqrt()
    assert bool(((ahead.totals - evidence.log_evidence).abs() < 6 * error + 1e-6).all())
