"""These tests pin: which log probabilities a weight multiplies, schedules, patterns, and what is refused."""

import pytest
import torch
from pyro import poutine

from inference import SiteWeights
from inference.svi.schedules import LinearRamp
from tests.oracles.closed_form_bounds import ToyGuide, ToyModel, ToyParameters, toy_data

X = toy_data(sequences=5, time=3)
P = ToyParameters.make()


def site_sums(weights):
    torch.manual_seed(0)
    with SiteWeights(weights):
        guide_trace = poutine.trace(ToyGuide(P)).get_trace(X)
        model_trace = poutine.trace(poutine.replay(ToyModel(P, scale=2.0), trace=guide_trace)).get_trace(X)
    sums = []
    for trace, name in ((guide_trace, "z"), (model_trace, "z"), (model_trace, "frames")):
        trace.compute_log_prob()
        sums.append(trace.nodes[name]["log_prob_sum"].item())
    return sums


@pytest.mark.parametrize(
    ("weights", "factors"),
    [
        ({"frames": 0.3}, [1.0, 1.0, 0.3]),
        ({"z": 0.5}, [0.5, 0.5, 1.0]),
        ({"z": 0}, [0.0, 0.0, 1.0]),
        ({"z*": 0.5, "f?ames": 2.0}, [0.5, 0.5, 2.0]),
        ({"frames": 0.3, "*": 4.0}, [4.0, 4.0, 0.3]),
    ],
)
def test_weights_multiply_model_and_guide(weights, factors):
    plain = site_sums({})
    assert site_sums(weights) == pytest.approx([factor * value for factor, value in zip(factors, plain, strict=True)])


def test_schedules_are_asked_about_the_step():
    weights = {"z": LinearRamp(0.0, 1.0, steps=10), "frames": 0.3}
    assert SiteWeights.at_step(weights, 4).weights == {"z": pytest.approx(0.4), "frames": 0.3}


def test_unknown_names_are_refused_with_the_sites():
    with SiteWeights({"frame": 0.3, "w_*": 0.5, "z": 1.0}) as weights:
        ToyModel(P)(X)
    with pytest.raises(
        ValueError, match=r"site_weights: no site is called 'frame', 'w_\*'; model and guide have 'z', 'frames'"
    ):
        weights.check_names()


@pytest.mark.parametrize("weight", [-0.1, float("nan"), float("inf")])
def test_weights_are_finite_and_not_negative(weight):
    with pytest.raises(ValueError, match="site_weights: expected a finite weight >= 0 for site 'z', got"):
        SiteWeights({"z": weight})
