"""These tests pin: both sides of the bracket are unbiased around the exact evidence, and its parts are correct.

The model is linear and Gaussian, so that evidence and smoothed means are those of a dense joint.
"""

import pyro
import pytest
import torch

from inference import FIVO, Budget, Pilot, bracket, log_evidence
from inference.estimators.particle_filter import ParticleFilter, Resampling
from inference.estimators.retained_paths import PathRecorder, RetainedDraws
from tests.inference.estimators.test_fivo import A, Q, R, Walk, WalkGuide
from tests.inference.test_automatic_evidence import walk_evidence
from tests.oracles.closed_form_bounds import ToyGuide, ToyModel, ToyParameters, toy_data
from tests.oracles.monte_carlo import assert_mean_within

SEQUENCES, TIME = 3000, 8


def draw(sequences):
    """States and videos of `Walk`."""
    generator = torch.Generator().manual_seed(2)
    noise = torch.randn(sequences, TIME, dtype=torch.float64, generator=generator)
    states = [noise[:, 0]]
    for step in range(1, TIME):
        states.append(A * states[-1] + Q**0.5 * noise[:, step])
    path = torch.stack(states, 1)
    return path, path + R**0.5 * torch.randn(sequences, TIME, dtype=torch.float64, generator=generator)


@pytest.mark.parametrize("sweeps", [0, 3])
@pytest.mark.parametrize("looking", [False, True])
def test_both_sides_are_unbiased(looking, sweeps):
    _, videos = draw(SEQUENCES)
    found = bracket(Walk(), WalkGuide(looking), videos, filtering=FIVO(6), pilot=Pilot(8, 1), repeats=1, sweeps=sweeps)
    exact = walk_evidence(found.frames)
    assert found.frames.shape == videos.shape
    assert not torch.equal(found.frames, videos)
    ones = torch.ones((), dtype=torch.float64)
    assert_mean_within((found.lower - exact).exp(), ones)
    assert_mean_within((exact - found.upper).exp(), ones)
    assert (found.upper - exact).std() > 0.05
    assert found.lower.mean() < exact.mean() < found.upper.mean()
    assert "3000 videos near the given ones, 1 filters of 6 particles each way" in str(found)


def test_without_a_posterior_path_the_inverse_estimate_is_too_large():
    """So the test above would detect a filter that is not conditional."""
    _, videos = draw(SEQUENCES)
    with torch.no_grad():
        estimate = ParticleFilter(3, Resampling()).run(Walk(), WalkGuide(True), (videos,)).log_evidence
    with pytest.raises(AssertionError, match="standard errors"):
        assert_mean_within((walk_evidence(videos) - estimate).exp(), torch.ones((), dtype=torch.float64))


def conditional(videos, path, particles=6):
    recorder, retained = PathRecorder(), RetainedDraws(path, -3)

    def watch(step):
        recorder.watch(step)
        retained.advance(step)

    with torch.no_grad(), retained:
        kept = ParticleFilter(particles, Resampling(), conditional=True)
        result = kept.run(Walk(), WalkGuide(False), (videos,), watch=watch)
    return recorder.draw(result), result.log_evidence


def test_sweeps_leave_the_posterior_as_it_is_and_find_it():
    """Of one video, many chains from a wrong path: their means become the smoothed means of the dense joint."""
    _, videos = draw(1)
    scale = torch.eye(TIME, dtype=torch.float64)
    for later in range(1, TIME):
        scale[later] += A * scale[later - 1]
    states = scale @ torch.diag(torch.tensor([1.0] + [Q] * (TIME - 1), dtype=torch.float64)) @ scale.mT
    smoothed = states @ torch.linalg.solve(states + R * torch.eye(TIME, dtype=torch.float64), videos[0])
    chains = 4000
    many = videos.expand(chains, TIME)
    path = [{f"z_{index}": torch.full((1, 1, chains), 3.0, dtype=torch.float64)} for index in range(TIME)]
    pyro.set_rng_seed(0)
    for _ in range(25):
        path, _ = conditional(many, path, particles=12)
    values = torch.stack([path[index][f"z_{index}"].flatten() for index in range(TIME)], -1)
    assert_mean_within(values, smoothed)


def test_a_path_is_one_particle_with_its_ancestors():
    _, videos = draw(50)
    recorder = PathRecorder()
    with torch.no_grad():
        particles = ParticleFilter(5, Resampling(threshold=2.0))
        result = particles.run(Walk(), WalkGuide(False), (videos,), watch=recorder.watch)
    path = recorder.draw(result)
    assert result.ancestors.shape == (TIME - 1, 5, 50)
    for index in range(TIME):
        drawn = recorder.steps[index].guide.nodes[f"z_{index}"]["value"]
        chosen = path[index][f"z_{index}"]
        assert chosen.shape == (1, 1, 50)
        assert bool((drawn == chosen).any(0).all())


@pytest.mark.slow
@pytest.mark.ci
def test_the_verdict_certifies_what_converged_and_is_bracketed():
    _, videos = draw(24)
    budget = Budget(certify=True, tolerance=0.2)
    result = log_evidence(Walk(), WalkGuide(True), videos, method=budget)
    assert result.verdict.kind == "certified"
    assert 0 < result.bracket_width <= result.verdict.width <= 1
    assert "on 24 videos near these the bracket is" in str(result.verdict)
    assert (result.log_evidence - walk_evidence(videos)).mean().abs() < result.verdict.width


def test_without_filters_there_is_no_bracket():
    p = ToyParameters.make()
    x = toy_data(sequences=4, time=3)
    result = log_evidence(ToyModel(p), ToyGuide(p), x, method=Budget(certify=True))
    assert result.verdict.kind != "certified"
    assert "no bracket, since it needs filters" in str(result.verdict)
    assert result.bracket_width is None
    with pytest.raises(ValueError, match="model: expected one that can be run step by step"):
        bracket(ToyModel(p), ToyGuide(p), x)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"repeats": 0}, "repeats: expected at least 1, got 0"),
        ({"sweeps": -1}, "sweeps: expected at least 0, got -1"),
        ({"filtering": FIVO(1)}, "filtering: expected at least 2 particles, since one is the given path, got 1"),
    ],
)
def test_numbers_of_nothing_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        bracket(Walk(), WalkGuide(True), draw(3)[1], **options)
