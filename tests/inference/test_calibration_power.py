"""Error rates of calibration: exact guides are almost never rejected, wrong ones almost always."""

import itertools
import math

import pyro
import pyro.distributions as dist
import pytest
import torch
from scipy.stats import binom

from inference import Calibration, calibrate
from inference.evidence.bit_calibration import BitCalibration, poisson_binomial
from inference.evidence.calibration import SIGNIFICANCE
from tests.oracles.closed_form_bounds import ToyGuide, ToyModel, ToyParameters

FAILURE_RATE = 1e-6
EXACT = ToyParameters.make(exact_for=3)
SEEDS = 30
POWER = 0.9


def toy_verdicts(num_videos, num_draws, seeds, **change):
    wrong = ToyParameters.make(exact_for=3)
    for name, by in change.items():
        setattr(wrong, name, getattr(wrong, name) + by)
    template = torch.zeros(num_videos, 3, dtype=torch.float64)
    return [
        calibrate(ToyModel(EXACT), ToyGuide(wrong), template, num_draws=num_draws, seed=seed).verdicts()["z"]
        for seed in range(seeds)
    ]


def presence_verdicts(noise, shift, slope, seeds):
    """A bit seen with noise, and a guide whose log odds are those of the posterior, times a slope, plus a shift."""

    def model(x, *_):
        with pyro.plate("sequences", len(x), dim=-1):
            presence = pyro.sample("presence", dist.Bernoulli(torch.full_like(x, 0.3)))
            pyro.sample("frames", dist.Normal(presence, noise), obs=x)

    def guide(x, *_):
        odds = math.log(0.3 / 0.7) + (x - 0.5) / noise**2
        with pyro.plate("sequences", len(x), dim=-1):
            pyro.sample("presence", dist.Bernoulli(logits=slope * odds + shift))

    template = torch.zeros(300, dtype=torch.float64)
    return [calibrate(model, guide, template, num_draws=30, seed=seed).verdicts()["presence"] for seed in range(seeds)]


def assert_few_alarms(verdicts):
    alarms = sum(verdict != "calibrated" for verdict in verdicts)
    assert alarms <= binom.ppf(1 - FAILURE_RATE, len(verdicts), SIGNIFICANCE)


@pytest.mark.parametrize(("num_videos", "coordinates"), [(5, 1), (20, 5), (300, 1)])
def test_uniform_ranks_raise_few_alarms(num_videos, coordinates):
    verdicts = []
    for _ in range(300):
        ranks = {"z": torch.rand(num_videos, coordinates, dtype=torch.float64)}
        verdicts.append(Calibration(ranks, ranks, 10, torch.ones(num_videos)).verdicts()["z"])
    assert_few_alarms(verdicts)


@pytest.mark.parametrize(("num_videos", "num_draws"), [(10, 5), (300, 2), (300, 100)])
def test_an_exact_guide_raises_few_alarms(num_videos, num_draws):
    assert_few_alarms(toy_verdicts(num_videos, num_draws, SEEDS))


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"log_e": -math.log(1.3)}, "too narrow"),
        ({"log_e": math.log(1.3)}, "too wide"),
        ({"c": 0.3 * EXACT.log_e.exp().item()}, "biased"),
    ],
)
@pytest.mark.parametrize("num_draws", [20, pytest.param(100, marks=pytest.mark.slow)])
def test_three_hundred_videos_find_a_guide_that_is_off(change, word, num_draws):
    """In 95 to 99 % of seeds; the test requires nine of ten."""
    verdicts = toy_verdicts(300, num_draws, SEEDS, **change)
    assert sum(verdict != "calibrated" for verdict in verdicts) >= POWER * SEEDS
    assert max(set(verdicts), key=verdicts.count) == word


@pytest.mark.parametrize("noise", [0.5, 1.0])
def test_an_exact_presence_raises_few_alarms(noise):
    assert_few_alarms(presence_verdicts(noise, 0.0, 1.0, SEEDS))


@pytest.mark.parametrize(
    ("noise", "shift", "slope", "word"),
    [
        (1.0, 1.0, 1.0, "biased"),
        pytest.param(0.5, 1.0, 1.0, "biased", marks=pytest.mark.slow),
        (0.5, -1.0, 1.0, "biased"),
        pytest.param(1.0, 0.0, 2.0, "too narrow", marks=pytest.mark.slow),
        (0.5, 0.0, 2.5, "too narrow"),
        (0.5, 0.0, 0.5, "too wide"),
    ],
)
def test_three_hundred_videos_find_a_presence_that_is_off(noise, shift, slope, word):
    """In 95 % of seeds or more; ranks alone found log odds times 2.5 in a fifth of them."""
    verdicts = presence_verdicts(noise, shift, slope, SEEDS)
    assert sum(verdict != "calibrated" for verdict in verdicts) >= POWER * SEEDS
    assert max(set(verdicts), key=verdicts.count) == word


@pytest.mark.parametrize(("num_videos", "coordinates", "num_draws"), [(20, 1, 30), (300, 1, 30), (10, 20, 5)])
def test_exchangeable_bits_raise_few_alarms(num_videos, coordinates, num_draws):
    verdicts = []
    for _ in range(300):
        chance = torch.rand(num_videos, coordinates, dtype=torch.float64) ** 4  # most are rare
        bits = (torch.rand(num_draws + 1, num_videos, coordinates, dtype=torch.float64) < chance).double()
        equal = torch.full((num_draws, num_videos), 1 / num_draws, dtype=torch.float64)
        p = BitCalibration.of(bits[0], bits[1:], equal).p_value()
        verdicts.append("calibrated" if p >= SIGNIFICANCE else "off")
    assert_few_alarms(verdicts)


@pytest.mark.parametrize("number", [1, 2, 7])
def test_sums_of_bits_by_enumeration(number):
    probabilities = torch.rand(2, number, dtype=torch.float64)
    expected = torch.zeros(2, number + 1, dtype=torch.float64)
    for bits in itertools.product([0, 1], repeat=number):
        chosen = torch.where(torch.tensor(bits, dtype=torch.bool), probabilities, 1 - probabilities)
        expected[:, sum(bits)] += chosen.prod(1)
    torch.testing.assert_close(poisson_binomial(probabilities), expected, rtol=0, atol=1e-14)


def test_weighed_bits_mend_a_wrong_presence():
    """Draws with odds of 1 to 1 where 1 to 4 is right, weighted by the ratio."""
    truth = (torch.rand(2000, 1, dtype=torch.float64) < 0.2).double()
    draws = (torch.rand(200, 2000, 1, dtype=torch.float64) < 0.5).double()
    weights = torch.where(draws[..., 0] > 0, 0.2, 0.8)
    found = BitCalibration.of(truth, draws, weights / weights.sum(0))
    assert found.p_value() < 1e-9
    assert found.shape() == "biased"
    assert found.p_value(weighted=True) > SIGNIFICANCE
