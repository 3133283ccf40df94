"""These tests pin: undefined predictive scores are refused by name; a guide that only draws works where it can."""

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.nn import PyroModule

from guides import RecurrentGuide
from inference import Budget, predictive_scores
from pyro_models import DeepMarkovModel
from tests.contracts.registry import build_guide, make_video
from tests.inference.linear_video import STEPS, mask
from tests.inference.two_coins import ExactCoin, TwoCoins
from tests.oracles.monte_carlo import assert_mean_within

QUICK = Budget(particles=32)


class NeverMasked(TwoCoins):
    def forward(self, frames, observed=None, controls=None):
        return super().forward(frames, None, controls)


class Labelled(TwoCoins):
    def forward(self, frames, observed=None, controls=None):
        super().forward(frames, observed, controls)
        with pyro.plate("labels", len(frames), dim=-1):
            pyro.sample("label", dist.Bernoulli(0.5), obs=torch.ones(len(frames)))


class Bare(PyroModule):
    """A guide that only draws."""

    def __init__(self, guide):
        super().__init__()
        self.inner = guide

    def forward(self, frames, observed=None, controls=None):
        self.inner(frames, observed, controls)


HELD_OUT = mask(4, 1)
BITS = (torch.arange(60) % 2).float().reshape(4, STEPS, 1, 1, 3)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"held_out": mask(4)}, "held_out: expected at least one held-out frame, .* got none; mark some, or leave"),
        ({"held_out": HELD_OUT.float()}, r"held_out: expected bool \(sequences, time\) = \(4, 5\), .* torch.float32"),
        ({"held_out": HELD_OUT[:3]}, r"held_out: expected bool .* got torch.bool \(3, 5\)"),
        (
            {"observed": ~mask(4, 1, 2)},
            "held_out: expected observed frames, .* got 4 for which observed is False; leave held-out frames observed",
        ),
        ({"frames": BITS[:1], "held_out": HELD_OUT[:1]}, "frames: expected at least 2 sequences, .* got 1; give more"),
        ({"frames": torch.where(HELD_OUT[..., None, None, None], torch.nan, BITS)}, "frames: expected finite .* in 4"),
        (
            {"frames": BITS[:, :, 0]},
            r"frames: expected \(sequences, time, channels, height, width\) = .*, got \(4, 5, 1, 3",
        ),
        ({"observed": mask(4), "held_out": None}, "observed: expected frames to score, True in the mask, got none"),
        ({"controls": torch.zeros(3, STEPS, 1)}, r"controls: expected .* = \(4, 5, ...\), got \(3, 5, 1\)"),
        ({"num_samples": 1}, "num_samples: expected at least 2, got 1"),
        ({"num_particles": 0}, "num_particles: expected at least 1, got 0"),
        ({"completion": "exakt"}, "method: expected one of 'exact' for ExactCoin, got 'exakt'; did you mean 'exact'"),
        ({"model": NeverMasked()}, "model: expected site 'frames' masked where observed is False, got a density of"),
        ({"model": Labelled()}, "model: expected 'frames' as its only observed site, got 'label' as well"),
        ({"frames": BITS / 2}, "[Tt]he value argument|truth: expected zeros and ones"),
    ],
)
def test_wrong_programs_are_refused_by_name(changes, message):
    given = {"model": TwoCoins(), "guide": ExactCoin(), "frames": BITS, "held_out": HELD_OUT, "num_particles": 4}
    with pytest.raises(ValueError, match=message):
        predictive_scores(**{**given, **changes})


def test_a_guide_without_complete_is_used_if_its_draws_mean_something():
    frames = torch.bernoulli(torch.full((50, 4, 1, 1, 3), 0.5))
    held_out = torch.zeros(50, 4, dtype=torch.bool)
    held_out[:, 2] = True
    options = {"held_out": held_out, "num_particles": 4, "budget": QUICK}
    drawn = predictive_scores(TwoCoins(), Bare(ExactCoin()), frames, **options)
    completed = predictive_scores(TwoCoins(), ExactCoin(), frames, **options)
    assert drawn.brier_score.totals.std() > 0
    assert_mean_within(drawn.brier_score.totals - completed.brier_score.totals, torch.zeros(()).double())
    model, guide = build_guide("KalmanGuide, collapsed")
    frames, observed, _ = make_video(0)
    with pytest.raises(
        ValueError, match=r"guide: expected complete\(\) and completion_methods, .* leave out 'a' there"
    ):
        predictive_scores(model, Bare(guide), frames, held_out=~observed)


def test_missing_controls_are_refused():
    model = DeepMarkovModel((1, 1, 3), hidden_dim=5, control_dim=2, likelihood="bernoulli")
    with pytest.raises(ValueError, match=r"controls: expected \(sequences, time, control\) = \(.*, 2\), got None"):
        predictive_scores(model, RecurrentGuide(model, hidden_dim=5), BITS, held_out=HELD_OUT)
