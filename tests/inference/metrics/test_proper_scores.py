"""These tests pin: scores of draws against closed forms, whatever the number of draws; the truth has the best score."""

import math

import pytest
import torch
from torch.distributions import Normal

from inference.metrics import brier_score, crps, energy_score
from tests.oracles.monte_carlo import assert_mean_within


def crps_of_a_gaussian(mean, scale, truth):
    """Gneiting and Raftery (2007), section 4.2, with the sign of a loss."""
    standard = Normal(torch.zeros((), dtype=torch.float64), 1.0)
    z = (truth - mean) / scale
    density = standard.log_prob(z).exp()
    return scale * (z * (2 * standard.cdf(z) - 1) + 2 * density - 1 / math.sqrt(math.pi))


def slow_energy(samples, truth):
    """By loops over draws, of one vector."""
    count = len(samples)
    near = sum(math.dist(sample, truth) for sample in samples.tolist()) / count
    pairs = [math.dist(samples[i].tolist(), samples[j].tolist()) for i in range(count) for j in range(i)]
    return near - sum(pairs) / len(pairs) / 2


@pytest.mark.parametrize("draws", [2, 3, 10])
def test_crps_of_a_gaussian_whatever_the_number_of_draws(draws):
    """20,000 scores, each of few draws: unbiased, where the usual estimate is off by E|X - X'| / 2 draws."""
    mean, scale = torch.tensor([0.3, -1.0]).double(), torch.tensor([0.5, 2.0]).double()
    truth = torch.tensor([0.1, 1.5]).double()
    samples = mean + scale * torch.randn(draws, 20_000, 2, dtype=torch.float64)
    found = crps(samples, truth.expand(20_000, 2))
    exact = crps_of_a_gaussian(mean, scale, truth)
    assert_mean_within(found, exact)
    biased = found + scale / math.sqrt(math.pi) / draws
    with pytest.raises(AssertionError, match="standard errors"):
        assert_mean_within(biased, exact)


def test_energy_score_of_a_vector_of_one_is_the_crps():
    samples, truth = torch.randn(7, 4, 5), torch.randn(4, 5)
    torch.testing.assert_close(
        energy_score(samples[..., None], truth[..., None]), crps(samples, truth), rtol=1e-12, atol=1e-12
    )


def test_energy_score_by_loops():
    samples, truth = torch.randn(6, 3, 2, 4).double(), torch.randn(3, 2, 4).double()
    found = energy_score(samples, truth, event_dims=2)
    assert found.shape == (3,)
    for place in range(3):
        expected = slow_energy(samples[:, place].flatten(1), truth[place].flatten().tolist())
        assert found[place].item() == pytest.approx(expected, rel=1e-12)
    assert energy_score(samples, truth).shape == (3, 2)


@pytest.mark.parametrize("draws", [2, 5])
def test_energy_score_of_a_plane_whatever_the_number_of_draws(draws):
    """X ~ N(0, I) in the plane, truth at the middle: E|X| = sqrt(pi / 2), E|X - X'| = sqrt(2) of that."""
    samples = torch.randn(draws, 20_000, 2, dtype=torch.float64)
    exact = math.sqrt(math.pi / 2) * (1 - math.sqrt(2) / 2)
    found = energy_score(samples, torch.zeros(20_000, 2, dtype=torch.float64))
    assert_mean_within(found, torch.tensor(exact, dtype=torch.float64))


@pytest.mark.parametrize("draws", [2, 5])
def test_brier_score_of_a_mixture_whatever_the_number_of_draws(draws):
    """P uniform on [0, 1]: the probability of a one is 1/2, and the score 1/4; that of single draws is 1/3."""
    truth = (torch.rand(50_000) < 0.7).double()
    found = brier_score(torch.rand(draws, 50_000, dtype=torch.float64), truth)
    assert_mean_within(found, torch.tensor(0.25, dtype=torch.float64))


def test_brier_score_is_the_crps_of_bits():
    """Of pooled draws of bits, in expectation."""
    chances, truth = torch.rand(2, 100_000, dtype=torch.float64), (torch.rand(100_000) < 0.3).double()
    bits = torch.bernoulli(chances)
    assert_mean_within(brier_score(chances, truth) - crps(bits, truth), torch.zeros((), dtype=torch.float64))


def test_energy_score_keeps_the_digits_of_many_close_draws():
    """Distances by matrix products, which torch takes for more than 25 draws, lose them all."""
    truth = torch.full((3,), 1e4, dtype=torch.float64)
    samples = truth + 100 + 1e-6 * torch.randn(30, 3, dtype=torch.float64)
    spread = (truth + 100 - truth).norm() - energy_score(samples, truth)
    exact = torch.pdist(samples).mean() / 2 + (100 * 3**0.5 - (samples - truth).norm(dim=-1).mean())
    assert spread.item() == pytest.approx(exact.item(), abs=1e-11)


@pytest.mark.parametrize("score", ["crps", "energy"])
@pytest.mark.parametrize("forecast", ["shifted", "too narrow", "too wide", "independent"])
def test_the_distribution_of_the_truth_has_the_best_score(score, forecast):
    """Paired over 20,000 truths from a correlated Gaussian in the plane; CRPS does not see correlation."""
    truths, draws = 20_000, 8
    factor = torch.tensor([[1.0, 0.0], [0.95, math.sqrt(1 - 0.95**2)]], dtype=torch.float64)
    noise = torch.randn(draws + 1, truths, 2, dtype=torch.float64)
    truth, right = (noise @ factor.mT)[0], (noise @ factor.mT)[1:]
    wrong = {
        "shifted": right + 0.5,
        "too narrow": 0.5 * right,
        "too wide": 2 * right,
        "independent": noise[1:],
    }[forecast]

    def scores(samples):
        return energy_score(samples, truth) if score == "energy" else crps(samples, truth).mean(-1)

    worse = scores(wrong) - scores(right)
    if (score, forecast) == ("crps", "independent"):
        assert_mean_within(worse, torch.zeros((), dtype=torch.float64))
    else:
        assert worse.mean() > 5 * worse.std() / truths**0.5


def test_single_precision_is_scored_in_double():
    samples, truth = torch.rand(4, 3), torch.rand(3)
    assert crps(samples, truth).dtype == torch.float64
    torch.testing.assert_close(crps(samples, truth), crps(samples.double(), truth.double()))


@pytest.mark.parametrize("score", [crps, energy_score, brier_score])
def test_wrong_shapes_and_single_draws_are_refused(score):
    name = "probabilities" if score is brier_score else "samples"
    with pytest.raises(
        ValueError, match=rf"{name}: expected \(draws, \*shape of truth\) = \(\.\.\., 3\), got \(3, 5\)"
    ):
        score(torch.rand(3, 5), torch.zeros(3))
    with pytest.raises(ValueError, match=rf"{name}: expected at least 2 draws, .* got 1; draw more"):
        score(torch.rand(1, 3), torch.zeros(3))


def test_wrong_values_are_refused():
    with pytest.raises(ValueError, match="truth: expected zeros and ones, got other values; grey values have a CRPS"):
        brier_score(torch.rand(3, 2), torch.tensor([0.0, 0.5]))
    with pytest.raises(ValueError, match=r"probabilities: expected values in \[0, 1\], .* not logits"):
        brier_score(torch.tensor([[-1.0], [2.0]]), torch.tensor([1.0]))
    with pytest.raises(ValueError, match="event_dims: expected 1 to 2, the dims of truth, got 3"):
        energy_score(torch.rand(3, 2, 2), torch.rand(2, 2), event_dims=3)
