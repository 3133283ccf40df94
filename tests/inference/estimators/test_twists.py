"""These tests pin: twists approximate the density of later frames, and filters with them stay unbiased and vary less.

The model is the linear Gaussian walk, whose look-ahead p(x_{t+1}, ..., x_T | z_t) is that of a dense joint.
"""

import pytest
import torch

from inference import FIVO, Pilot, log_evidence
from inference.estimators.particle_filter import ParticleFilter, Resampling
from inference.estimators.twists import FilteredStates, Twist, choose_twists, fit_twist, state_features
from inference.runtime.generators import seeded
from tests.inference.estimators.test_fivo import A, Q, R, Walk, WalkGuide
from tests.inference.test_automatic_evidence import walk_evidence
from tests.oracles.monte_carlo import assert_mean_within

TIME = 8


def videos(sequences, time=TIME):
    return 1.5 * torch.randn(sequences, time, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def look_ahead(z, x):
    """log p(x_{t+1}, ..., x_T | z_t = z) of `Walk`, by the dense joint: z (particles,), x (frames to come,)."""
    time = len(x)
    scale = torch.eye(time, dtype=x.dtype)
    for later in range(1, time):
        scale[later] += A * scale[later - 1]
    covariance = Q * scale @ scale.mT + R * torch.eye(time, dtype=x.dtype)
    means = z[:, None] * A ** torch.arange(1, time + 1, dtype=x.dtype)
    return torch.distributions.MultivariateNormal(means, covariance).log_prob(x)


def filtered(x, particles, twist=None, looking=True, resampling=None):
    """Run a filter; its result and its steps as a twist wants them."""
    steps = []

    def watch(step):
        features = state_features(step.states[0], step.traces.particle_dim, step.increments)
        steps.append(FilteredStates(features, step.increments, step.log_shares))

    with torch.no_grad():
        how = Resampling() if resampling is None else resampling
        result = ParticleFilter(particles, how, twist).run(Walk(), WalkGuide(looking), (x,), watch=watch)
    return result, steps


def fitted(x, particles, **options):
    result, steps = filtered(x, particles, **options)
    return fit_twist(steps, result.ancestors)


@pytest.mark.parametrize("looking", [False, True])
def test_a_twist_is_the_look_ahead_but_for_a_factor(looking):
    """Exactly quadratic, and the last of them without noise where draws given z_{t-1} all have one weight."""
    x = videos(3)
    with seeded("test", 0):
        twist = fitted(x, 500, looking=looking)
    grid = torch.linspace(-1, 1, 21, dtype=torch.float64)
    for index, row in [(TIME - 2, 0), (TIME - 4, 1), (2, 2)]:
        centre = float(twist.steps[index].centre[row, 0])
        z = centre + grid * Q**0.5
        found = twist.steps[index].log_values(z[:, None, None].expand(-1, 3, 1))[:, row]
        exact = look_ahead(z, x[row, index + 1 :])
        off = (found - exact) - (found - exact).mean()
        # blind draws say what becomes of a state on average of log weights, not of weights: steeper than it is
        assert off.abs().max() < (0.1 if looking else 3.0) * (exact.max() - exact.min())


def test_twisted_estimates_are_unbiased():
    one = videos(1)
    with seeded("test", 1):
        twist = fitted(one, 200, looking=False)
    many = one.expand(4000, TIME)
    result, _ = filtered(many, 4, twist=twist.repeat_sequences(4000), looking=False)
    assert result.resampled.any()
    errors = (result.log_evidence - walk_evidence(many)).exp()
    assert_mean_within(errors, torch.ones((), dtype=torch.float64))
    assert errors.std() > 0.05


def test_wild_twists_are_unbiased_too():
    """So the test above would detect a psi that does not cancel."""
    one = videos(1)
    with seeded("test", 1):
        twist = fitted(one, 200, looking=True)
    wild = Twist(tuple(step._replace(coefficients=-3 * step.coefficients) for step in twist.steps))
    many = one.expand(4000, TIME)
    result, _ = filtered(many, 30, twist=wild.repeat_sequences(4000), resampling=Resampling(threshold=2.0))
    plain, _ = filtered(many, 30, resampling=Resampling(threshold=2.0))
    assert result.log_evidence.std() > 2 * plain.log_evidence.std()
    assert_mean_within((result.log_evidence - walk_evidence(many)).exp(), torch.ones((), dtype=torch.float64))


def test_pilots_that_look_ahead_make_filters_quieter():
    x = videos(6, 30)
    spread = {}
    for looks in (False, True):
        pilot = Pilot(128, 4, looks_ahead=looks)
        found = log_evidence(Walk(), WalkGuide(True), x, num_particles=50, method=FIVO(64), pilot=pilot)
        spread[looks] = found.log_weights.std(0)
    assert (found.log_evidence - walk_evidence(x)).abs().max() < 0.5
    assert bool((spread[True] < spread[False]).all())
    assert spread[True].mean() < 0.4 * spread[False].mean()


def test_each_video_keeps_its_own_twist():
    x = videos(2)
    with seeded("test", 2):
        first, second = fitted(x, 100), fitted(x, 100)
    both = choose_twists(first, second, torch.tensor([True, False]))
    none = choose_twists(None, second, torch.tensor([True, False]))
    z = torch.randn(100, 2, 1, dtype=torch.float64)
    for a, b, mixed, half in zip(first.steps, second.steps, both.steps, none.steps, strict=True):
        wanted = torch.stack([b.log_values(z)[:, 0], a.log_values(z)[:, 1]], 1)
        assert torch.equal(mixed.log_values(z), wanted)
        assert torch.equal(half.log_values(z)[:, 0], wanted[:, 0])
        assert torch.equal(half.log_values(z)[:, 1], torch.zeros(100, dtype=torch.float64))


def test_noise_alone_is_not_fitted():
    """Increments that have nothing to do with states: the best twist is nearly constant."""
    generator = torch.Generator().manual_seed(0)
    features, increments = torch.randn(2, 3, 200, 40, 6, generator=generator)
    steps = [FilteredStates(features[i], increments[i, ..., 0], torch.full((200, 40), -5.3)) for i in range(3)]
    twist = fit_twist(steps, torch.arange(200)[:, None].expand(2, 200, 40))
    values = twist.steps[0].log_values(features[0])
    assert values.std(0).mean() < 0.2 * increments[1, ..., 0].std(0).mean()


def test_features_are_the_numbers_of_a_state_without_mixing_particles():
    bits = torch.tensor([[[True, False, True]], [[False, False, True]]])
    state = ({"a": torch.arange(12.0).reshape(2, 1, 3, 2), "bits": bits}, None, torch.arange(6.0).reshape(1, 2, 3))
    like = torch.zeros(2, 3, dtype=torch.float64)
    found = state_features(state, -3, like)
    assert found.shape == (2, 3, 5)
    assert found.dtype == torch.float64
    assert torch.equal(found[..., :2], state[0]["a"][:, 0].double())
    assert torch.equal(found[..., 2], bits[:, 0].double())
    assert torch.equal(found[1, :, 3:], torch.arange(6.0, dtype=torch.float64).reshape(2, 3).T)
    assert state_features(None, -3, like).shape == (2, 3, 0)


@pytest.mark.parametrize("time", [1, 2])
def test_short_videos_and_states_without_numbers(time):
    x = videos(2, time)
    result, steps = filtered(x, 10)
    assert len(fit_twist(steps, result.ancestors).steps) == time - 1
    bare = [step._replace(features=torch.empty(10, 2, 0, dtype=torch.float64)) for step in steps]
    for step in fit_twist(bare, result.ancestors).steps:
        values = step.log_values(torch.empty(10, 2, 0, dtype=torch.float64))
        torch.testing.assert_close(values, values[:1].expand(10, 2))


def test_a_single_particle_has_no_use_for_a_twist():
    x = videos(2)
    twist = fitted(x, 50)
    with seeded("test", 3):
        one = FIVO(1).run(Walk(), WalkGuide(True), x, twist=twist).log_evidence
    with seeded("test", 3):
        assert torch.equal(one, FIVO(1).run(Walk(), WalkGuide(True), x).log_evidence)
