"""These tests pin: only draws of probability 0 are lost, in pilots, twists and the automatic estimate.

Frames are uniform around a Gaussian walk; their evidence is that of a forward recursion on a fine grid.
"""

import math

import pyro
import pyro.distributions as dist
import pytest
import torch

from guides.stepwise import StepwiseGuide
from inference import FIVO, Budget, Pilot, bracket, log_evidence
from inference.estimators.twists import FilteredStates, fit_twist
from pyro_models.components.stepwise import StepwiseModel

A = 0.9
GRID = torch.linspace(-8, 8, 3201, dtype=torch.float64)


class Strip(StepwiseModel):
    """z_1 ~ N(0, 1), z_t ~ N(a z_{t-1}, 1), x_t uniform within `width` of z_t."""

    def __init__(self, width):
        super().__init__()
        self.width = width

    def prepare(self, frames, observed=None, controls=None):
        return frames

    def step(self, index, state, context):
        return pyro.sample(f"z_{index}", prior(state))

    def emit(self, states, context, first=0):
        path = torch.cat([state if state.dim() > 1 else state[None] for state in states], -2)
        with pyro.plate("time", len(states), dim=-2):
            law = dist.Uniform(path - self.width, path + self.width, validate_args=False)
            pyro.sample("frames", law, obs=context[:, first : first + len(states)].T)


class Blind(StepwiseGuide):
    """The prior."""

    def prepare(self, frames, observed=None, controls=None):
        return frames

    def step(self, index, state, context):
        return pyro.sample(f"z_{index}", prior(state))


def prior(state):
    return dist.Normal(torch.zeros((), dtype=torch.float64) if state is None else A * state, 1.0)


def videos(sequences=5, time=6, scale=1.0):
    generator = torch.Generator().manual_seed(0)
    return scale * torch.randn(sequences, time, dtype=torch.float64, generator=generator)


def exact(x, width):
    """log p(x) of each video, by the trapezoidal rule."""
    step = GRID[1] - GRID[0]
    move = dist.Normal(A * GRID[:, None], 1.0).log_prob(GRID).exp() * step
    found = []
    for frames in x:
        density = dist.Normal(0.0, 1.0).log_prob(GRID).exp()
        for index, value in enumerate(frames):
            density = (density @ move if index else density) * ((GRID - value).abs() < width) / (2 * width)
        found.append(math.log(density.sum() * step))
    return torch.tensor(found, dtype=torch.float64)


@pytest.mark.parametrize("looks", [False, True])
def test_pilots_survive_draws_of_probability_0(looks):
    x, width = videos(), 0.5
    options = {"method": FIVO(256), "pilot": Pilot(128, 4, looks_ahead=looks)}
    found = log_evidence(Strip(width), Blind(), x, num_particles=20, **options)
    assert (found.log_evidence - exact(x, width)).abs().max() < 0.2


@pytest.mark.slow
@pytest.mark.ci
def test_the_automatic_estimate_climbs_where_the_first_rung_finds_nothing():
    x, width = videos(), 0.2
    first = log_evidence(Strip(width), Blind(), x, method=Budget(particles=32))
    assert "only draws of probability 0" in str(first.verdict)
    assert "nan" not in str(first.verdict)
    found = log_evidence(Strip(width), Blind(), x, method="auto")
    assert found.filtering is not None
    assert found.verdict.kind == "converged"
    assert (found.log_evidence - exact(x, width)).mean().abs() < 0.1


def test_what_no_draw_explains_is_said_in_words():
    """Frames so far apart that no walk passes them: an evidence of 0 is not called converged, and nothing crashes."""
    x = videos(sequences=2, scale=30.0)
    found = log_evidence(Strip(0.3), Blind(), x, method=Budget(particles=128))
    assert found.verdict.kind == "lower bound"
    assert "in 2 videos some repeats have only draws of probability 0" in str(found.verdict)
    assert "nan" not in str(found.verdict)
    assert bool((found.log_evidence == -math.inf).all())


def test_a_bracket_holds_the_evidence():
    found = bracket(Strip(0.5), Blind(), videos(), filtering=FIVO(256), pilot=Pilot(128, 4), sweeps=3)
    wanted = exact(found.frames, 0.5)
    assert bool((found.lower < wanted + 0.2).all())
    assert bool((found.upper > wanted - 0.2).all())


def test_a_twist_leaves_impossible_particles_out():
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(100, 2, 1, dtype=torch.float64, generator=generator)
    increments = -(features[..., 0] ** 2)
    increments[:30, 0], increments[:, 1] = -math.inf, -math.inf
    shares = increments.log_softmax(0)
    steps = [FilteredStates(features, torch.zeros_like(increments), torch.full_like(increments, -math.log(100)))]
    steps.append(FilteredStates(features, increments, shares))
    values = fit_twist(steps, torch.arange(100)[:, None].expand(1, 100, 2)).steps[0].log_values(features)
    torch.testing.assert_close(values[30:, 0], increments[30:, 0], rtol=0, atol=0.05)
    assert torch.equal(values[:, 1], torch.zeros(100, dtype=torch.float64))
