"""The filtering bound and its particle filter: the Kalman evidence, IWAE and the ELBO as limits, gradients."""

import itertools
import math

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import Trace_ELBO
from torch import nn

from guides.stepwise import StepwiseGuide
from inference import IWAE, SVI, log_evidence
from inference.estimators import FIVO
from inference.estimators.particle_filter import ParticleFilter, Resampling
from inference.estimators.resampling import RESAMPLING, select_particles
from pyro_models.components.stepwise import StepwiseModel
from tests.oracles.closed_form_bounds import ToyGuide, ToyModel, ToyParameters
from tests.oracles.monte_carlo import assert_mean_within
from tests.oracles.textbook_kalman import textbook_kalman

TIME = 6
A, Q, R = 0.9, 0.3, 0.2


class Walk(StepwiseModel):
    """z_1 ~ N(0, 1), z_t ~ N(a z_{t-1}, q), x_t ~ N(z_t, r); float64."""

    def __init__(self):
        super().__init__()
        self.a = nn.Parameter(torch.tensor(A, dtype=torch.float64))

    def prepare(self, frames, observed=None, controls=None):
        return frames

    def step(self, index, state, context):
        law = (
            dist.Normal(torch.zeros((), dtype=torch.float64), 1.0)
            if state is None
            else dist.Normal(self.a * state, Q**0.5)
        )
        return pyro.sample(f"z_{index}", law)

    def emit(self, states, context, first=0):
        path = torch.cat([state if state.dim() > 1 else state[None] for state in states], -2)
        with pyro.plate("time", len(states), dim=-2):
            pyro.sample("frames", dist.Normal(path, R**0.5), obs=context[:, first : first + len(states)].T)


class WalkGuide(StepwiseGuide):
    """The prior ("blind"), or the distribution of z_t given z_{t-1} and x_t ("looking"); its gain can be trained."""

    def __init__(self, looking):
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(Q / (Q + R) if looking else 0.0, dtype=torch.float64))
        self.looking = looking

    def prepare(self, frames, observed=None, controls=None):
        return frames

    def step(self, index, state, context):
        before = torch.zeros((), dtype=torch.float64) if state is None else A * state
        spread = 1.0 if state is None else Q
        if not self.looking:
            return pyro.sample(f"z_{index}", dist.Normal(before + self.gain, spread**0.5))
        gain = self.gain if index else 1 / (1 + R)
        mean = before + gain * (context[:, index] - before)
        return pyro.sample(f"z_{index}", dist.Normal(mean, (spread * R / (spread + R)) ** 0.5))


def frames(sequences=1):
    x = torch.tensor([0.4, 1.1, 0.2, -0.9, -1.4, 0.3], dtype=torch.float64)
    return x.expand(sequences, TIME)


def evidence():
    def each_step(number, steps=TIME):
        return torch.full((steps, 1, 1), number, dtype=torch.float64)

    one = torch.ones(1, 1, dtype=torch.float64)
    chain = (each_step(A, TIME - 1), each_step(Q, TIME - 1), each_step(1.0), each_step(R))
    return textbook_kalman(0 * one[0], one, *chain, frames()[0][:, None], torch.ones(TIME, dtype=torch.bool))[0]


@pytest.mark.parametrize("looking", [False, True])
@pytest.mark.parametrize("scheme", sorted(RESAMPLING))
@pytest.mark.parametrize("threshold", [0.5, 1.1])
def test_the_estimate_has_the_kalman_evidence_as_its_mean(scheme, threshold, looking):
    pyro.set_rng_seed(1)
    with torch.no_grad():
        result = ParticleFilter(4, Resampling(scheme, threshold)).run(Walk(), WalkGuide(looking), (frames(10_000),))
    assert_mean_within((result.log_evidence - evidence()).exp(), torch.ones((), dtype=torch.float64))
    shares = result.resampled[:-1].double().mean(1)
    assert not result.resampled[-1].any()
    assert bool((shares == 1).all()) if threshold > 1 else bool((shares > 0).any() and (shares < 1).all())


def test_resampling_tightens_the_bound_and_looking_does_more():
    pyro.set_rng_seed(2)
    bounds = {}
    for looking in (False, True):
        for threshold in (0.0, 0.5):
            fivo = FIVO(8, threshold=threshold)
            bounds[looking, threshold] = -fivo.loss(Walk(), WalkGuide(looking), frames(4000)) / 4000
    assert bounds[False, 0.0] < bounds[False, 0.5] < bounds[True, 0.5] < evidence() + 0.01


@pytest.mark.parametrize("looking", [False, True])
def test_without_resampling_it_is_iwae_bit_for_bit(looking):
    model, guide, results = Walk(), WalkGuide(looking), []
    for loss in (FIVO(5, threshold=0.0), IWAE(5)):
        pyro.set_rng_seed(3)
        model.zero_grad(), guide.zero_grad()
        value = loss.loss_and_grads(model, guide, frames(7))
        results.append((value, model.a.grad.clone(), guide.gain.grad.clone()))
    assert results[0][0] == pytest.approx(results[1][0], rel=1e-14)
    torch.testing.assert_close(results[0][1:], results[1][1:], rtol=1e-12, atol=1e-12)


def test_one_particle_is_the_elbo():
    model, guide, results = Walk(), WalkGuide(True), []
    for loss in (FIVO(1), Trace_ELBO()):
        pyro.set_rng_seed(4)
        model.zero_grad(), guide.zero_grad()
        results.append((loss.loss_and_grads(model, guide, frames(7)), model.a.grad.clone(), guide.gain.grad.clone()))
    assert results[0][0] == pytest.approx(results[1][0], rel=1e-12)
    torch.testing.assert_close(results[0][1:], results[1][1:])


def test_the_gradient_is_that_of_the_bound_at_the_same_noise_and_ancestors():
    """By finite differences: a step of 1e-6 does not move an ancestor."""
    model, guide, fivo = Walk(), WalkGuide(True), FIVO(4, threshold=0.9)
    pyro.set_rng_seed(5)
    fivo.loss_and_grads(model, guide, frames(3))
    for parameter in (model.a, guide.gain):
        found = []
        for shift in (1e-6, -2e-6):
            parameter.data += shift
            pyro.set_rng_seed(5)
            found.append(fivo.loss(model, guide, frames(3)))
        parameter.data += 1e-6
        assert parameter.grad.item() == pytest.approx((found[0] - found[1]) / 2e-6, rel=1e-6)


def test_both_svis_train_with_it():
    model, guide = Walk(), WalkGuide(False)
    pyro.set_rng_seed(6)
    svi = SVI(model, guide, torch.optim.Adam([*model.parameters(), *guide.parameters()], lr=0.01), FIVO(4))
    losses = [svi.step(frames(64)).item() for _ in range(5)]
    assert all(math.isfinite(loss) for loss in losses)
    assert model.a.item() != A
    assert guide.gain.item() != 0
    theirs = pyro.infer.SVI(model, guide, pyro.optim.Adam({"lr": 0.01}), FIVO(4))
    before = model.a.item()
    theirs.step(frames(64))
    assert model.a.item() != before


def test_log_evidence_by_filters():
    """40 filters of 16 particles each, against the Kalman answer; and where 640 whole paths stand."""
    model, guide, x = Walk(), WalkGuide(False), torch.stack([frames()[0], frames()[0].flip(0)])
    found = log_evidence(model, guide, x, num_particles=40, particles_per_chunk=15, method=FIVO(16), seed=1)
    again = log_evidence(model, guide, x, num_particles=40, particles_per_chunk=15, method=FIVO(16), seed=1)
    alone = log_evidence(model, guide, x, num_particles=640, seed=1)
    assert torch.equal(found.log_weights, again.log_weights)
    assert found.log_weights.shape == (40, 2)
    assert found.log_evidence[0].item() == pytest.approx(evidence().item(), abs=4 * found.standard_error[0].item())
    assert found.standard_error[0] < 0.15
    assert (found.standard_error < alone.standard_error).all()
    assert (found.elbo > alone.elbo + 5).all()
    with pytest.raises(ValueError, match="evidence: expected particles of the guide, got filters"):
        found.to_inference_data(model, guide, x)


class Coins(Walk):
    """z_t ~ Bernoulli(a), x_t ~ N(z_t, r): steps are independent."""

    def step(self, index, state, context):
        return pyro.sample(f"z_{index}", dist.Bernoulli(self.a.expand(context.shape[0]))) + 0.0


class CoinsGuide(WalkGuide):
    """z_t ~ Bernoulli(sigm(gain x_t))."""

    def __init__(self):
        super().__init__(True)

    def step(self, index, state, context):
        return pyro.sample(f"z_{index}", dist.Bernoulli(logits=self.gain * context[:, index])) + 0.0


@pytest.mark.slow
def test_choices_of_one_step_have_the_gradient_of_its_bound():
    """Resampled after every step, against the sum over all choices of three particles, step by step."""
    model, guide, x, num_particles = Coins(), CoinsGuide(), frames(), 3
    bound = torch.zeros((), dtype=torch.float64)
    for value in x[0]:
        law = dist.Bernoulli(logits=guide.gain * value)
        weights = [
            dist.Bernoulli(model.a).log_prob(z) + dist.Normal(z, R**0.5).log_prob(value) - law.log_prob(z)
            for z in (torch.tensor(0.0, dtype=torch.float64), torch.tensor(1.0, dtype=torch.float64))
        ]
        for chosen in itertools.product((0, 1), repeat=num_particles):
            chance = math.prod(law.probs if one else 1 - law.probs for one in chosen)
            bound = bound + chance * torch.stack([weights[one] for one in chosen]).logsumexp(0)
    expected = torch.stack(torch.autograd.grad(bound, (model.a, guide.gain)))
    copies, rows = 200, []
    pyro.set_rng_seed(8)
    for _ in range(200):
        loss = FIVO(num_particles, threshold=2.0).differentiable_loss(model, guide, x.expand(copies, -1))
        rows.append(-torch.stack(torch.autograd.grad(loss / copies, (model.a, guide.gain))))
    assert_mean_within(torch.stack(rows), expected)


@pytest.mark.parametrize("scheme", sorted(RESAMPLING))
def test_children_are_in_proportion_to_weights(scheme):
    torch.manual_seed(7)
    weights = torch.tensor([[0.1, 0.0], [0.25, 1.0], [0.05, 0.0], [0.6, 0.0]], dtype=torch.float64)
    counts = torch.stack(
        [torch.nn.functional.one_hot(RESAMPLING[scheme](weights), 4).sum(0).T.double() for _ in range(4000)]
    )
    assert_mean_within(counts[:, :, 0], 4 * weights[:, 0])
    assert bool((counts[:, 1, 1] == 4).all())
    if scheme == "systematic":
        assert bool(((counts - 4 * weights).abs() < 1).all())


def test_states_follow_their_ancestors():
    state = {"h": torch.arange(24.0).reshape(4, 1, 3, 2), "deep": (torch.arange(12.0).reshape(4, 1, 3),)}
    ancestors = torch.tensor([[3, 0, 1], [3, 1, 1], [0, 2, 1], [2, 3, 1]])
    picked = select_particles(state, ancestors, batch_dims=3)
    for k in range(4):
        for n in range(3):
            assert torch.equal(picked["h"][k, 0, n], state["h"][ancestors[k, n], 0, n])
            assert picked["deep"][0][k, 0, n] == state["deep"][0][ancestors[k, n], 0, n]
    with pytest.raises(ValueError, match=r"state: expected tensors of 3 plate dims and more.*got \(3, 2\)"):
        select_particles(torch.zeros(3, 2), ancestors, batch_dims=3)


def test_what_has_no_steps_or_no_gradient_is_refused():
    p = ToyParameters.make()
    with pytest.raises(ValueError, match="model: expected one that can be run step by step, ToyModel has no method"):
        FIVO(2).loss(ToyModel(p), ToyGuide(p), frames(2))

    assert math.isfinite(FIVO(1).loss(Coins(), CoinsGuide(), frames(2)))
    with pytest.raises(ValueError, match="num_particles: expected at least 2 for a guide whose 'z_0', 'z_1'.*got 1"):
        FIVO(1).loss_and_grads(Coins(), CoinsGuide(), frames(2))
    with pytest.raises(ValueError, match="scheme: expected one of 'systematic', 'multinomial', got 'none'"):
        FIVO(3, resampling="none")
    with pytest.raises(ValueError, match="threshold: expected at least 0, got -1.0"):
        FIVO(3, threshold=-1.0)
