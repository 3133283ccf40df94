"""The recurrent guide: fits its models, reads no missing frame, uses every control in time, reaches every parameter."""

import pyro
import pytest
import torch
from pyro import poutine
from pyro.infer import SVI, Trace_ELBO

from guides import RecurrentGuide, check_guide
from inference.svi.site_weights import SiteWeights
from pyro_models import DeepMarkovModel, DeepVariationalBayesFilter
from tests.oracles.monte_carlo import assert_mean_within

SEQUENCES, TIME, STATE, CONTROL = 5, 7, 4, 2
FRAME = (1, 3, 2)
DTYPE = torch.float64


def deep_markov(control_dim=CONTROL):
    return DeepMarkovModel(FRAME, state_dim=STATE, control_dim=control_dim, hidden_dim=8).double()


def bayes_filter(control_dim=CONTROL):
    return DeepVariationalBayesFilter(
        FRAME, state_dim=STATE, noise_dim=3, num_matrices=6, control_dim=control_dim, hidden_dim=8
    ).double()


MODELS = pytest.mark.parametrize("build", [deep_markov, bayes_filter])


def some_missing():
    observed = torch.ones(SEQUENCES, TIME, dtype=torch.bool)
    observed[1, 3:5] = False
    observed[2, 0] = False
    observed[4, 4:] = False
    return observed


def arguments(missing=False):
    frames = torch.rand(SEQUENCES, TIME, *FRAME, dtype=DTYPE)
    controls = torch.randn(SEQUENCES, TIME, CONTROL, dtype=DTYPE)
    return frames, some_missing() if missing else None, controls


def bound(model, guide, *arguments, seed=1):
    """A bound and the gradients of everything, from one seed."""
    pyro.set_rng_seed(seed)
    for parameter in [*model.parameters(), *guide.parameters()]:
        parameter.grad = None
    value = -Trace_ELBO(num_particles=3, vectorize_particles=True, max_plate_nesting=2).differentiable_loss(
        model, guide, *arguments
    )
    value.backward()
    named = [*model.named_parameters(prefix="model"), *guide.named_parameters(prefix="guide")]
    return value.detach(), {name: parameter.grad for name, parameter in named}


@MODELS
@pytest.mark.parametrize("missing", [False, True])
def test_fits_its_model(build, missing):
    model = build()
    check_guide(model, RecurrentGuide(model, hidden_dim=6).double(), *arguments(missing))


@MODELS
def test_missing_frames_are_never_read(build):
    model = build()
    guide = RecurrentGuide(model, hidden_dim=6).double()
    frames, observed, controls = arguments(missing=True)
    spoiled = torch.where(observed[:, :, None, None, None], frames, float("nan"))
    value, gradients = bound(model, guide, frames, observed, controls)
    again, gradients_again = bound(model, guide, spoiled, observed, controls)
    assert value.isfinite()
    assert torch.equal(value, again)
    for name, gradient in gradients.items():
        assert torch.equal(gradient, gradients_again[name]), name
    completed = guide.complete(frames, observed, controls)
    for site, latent in guide.complete(spoiled, observed, controls).items():
        assert torch.equal(latent, completed[site])


@MODELS
def test_every_parameter_is_reached_with_controls(build):
    model = build()
    guide = RecurrentGuide(model, hidden_dim=6).double()
    _, gradients = bound(model, guide, *arguments(missing=True))
    assert [name for name, gradient in gradients.items() if gradient is None or not gradient.any()] == []


@MODELS
def test_controls_that_are_zero_leave_exactly_the_control_weights_without_gradient(build):
    model = build()
    guide = RecurrentGuide(model, hidden_dim=6).double()
    frames, observed, controls = arguments()
    _, gradients = bound(model, guide, frames, observed, torch.zeros_like(controls))
    without = {name for name, gradient in gradients.items() if gradient is None or not gradient.any()}
    assert without == ({"model.transition.control_matrices"} if build is bayes_filter else set())
    # elsewhere the weights of the control are columns of a matrix
    columns = {"guide.backward_network.weight_ih_l0": slice(-CONTROL, None)}
    if build is deep_markov:
        columns |= {f"model.transition.{part}.0.weight": slice(-CONTROL, None) for part in ("gate", "proposal")}
    for name, part in columns.items():
        assert not gradients[name][:, part].any(), name
        assert gradients[name].any(), name


@MODELS
def test_the_first_control_is_never_used_and_the_others_are(build):
    model = build()
    guide = RecurrentGuide(model, hidden_dim=6).double()
    frames, observed, controls = arguments()
    value, _ = bound(model, guide, frames, observed, controls)
    for step in range(TIME):
        changed = controls.clone()
        changed[:, step] += 1
        assert torch.equal(bound(model, guide, frames, observed, changed)[0], value) == (step == 0)


@MODELS
@pytest.mark.parametrize("missing", [False, True])
def test_density_of_a_draw_is_the_sum_written_out(build, missing):
    model = build()
    guide = RecurrentGuide(model, hidden_dim=6).double()
    for parameter in guide.parameters():  # biases too, so that a blank frame has features that would be seen
        parameter.data = 0.5 * torch.randn_like(parameter)
    frames, observed, controls = arguments(missing)
    trace = poutine.trace(guide).get_trace(frames, observed, controls)
    transition, network = model.transition, guide.backward_network
    used = controls.clone()
    used[:, 0] = 0
    seen = (torch.ones(SEQUENCES, TIME, dtype=torch.bool) if observed is None else observed).to(DTYPE).unsqueeze(-1)
    hidden = guide.end.expand(SEQUENCES, -1)
    contexts = [hidden] * TIME
    for step in reversed(range(TIME)):
        inputs = torch.cat([guide.network(frames[:, step]) * seen[:, step], seen[:, step], used[:, step]], -1)
        pushed = inputs @ network.weight_ih_l0.T + network.bias_ih_l0 + hidden @ network.weight_hh_l0.T
        hidden = contexts[step] = (pushed + network.bias_hh_l0).clamp(min=0)
    total = torch.zeros((), dtype=DTYPE)
    state = guide.start
    for step in range(TIME):
        combined = (torch.tanh(guide.from_state(state)) + contexts[step]) / 2
        scale = torch.log1p(guide.scale(combined).exp()) + 1e-4
        value = trace.nodes[model.site(step)]["value"]
        inferred = torch.distributions.Normal(guide.mean(combined), scale).log_prob(value).sum(-1)
        prior = (transition.law(state, used[:, step]) if step else transition.initial_law()).log_prob(value)
        total += torch.where(seen[:, step, 0] > 0, inferred, prior).sum()
        state = transition.next_state(state, value, used[:, step]) if step else transition.initial_state(value)
    torch.testing.assert_close(trace.log_prob_sum(), total)


@MODELS
def test_a_missing_frame_has_the_law_of_the_transition(build):
    model = build()
    guide = RecurrentGuide(model, hidden_dim=6).double()
    frames, observed, controls = arguments(missing=True)
    drawn = poutine.trace(guide).get_trace(frames, observed, controls)
    scored = poutine.trace(poutine.replay(model, drawn)).get_trace(frames, observed, controls)
    drawn.compute_log_prob()
    scored.compute_log_prob()
    for step in range(TIME):
        difference = scored.nodes[model.site(step)]["log_prob"] - drawn.nodes[model.site(step)]["log_prob"]
        assert ((difference.abs() < 1e-10) == ~observed[:, step]).all()


@MODELS
def test_completion(build):
    model = build()
    guide = RecurrentGuide(model, hidden_dim=6).double()
    frames, observed, controls = arguments(missing=True)
    size = model.transition.variable_dim
    assert guide.completion_methods == ("smoothing",)
    means = guide.complete(frames, observed, controls)
    assert list(means) == [model.site(step) for step in range(TIME)]
    assert all(value.shape == (SEQUENCES, size) for value in means.values())
    assert all(torch.equal(means[site], value) for site, value in guide.complete(frames, observed, controls).items())
    draws = guide.complete(frames, observed, controls, num_samples=3)
    assert all(value.shape == (3, 1, SEQUENCES, size) for value in draws.values())
    with pyro.plate("draws", 3, dim=-3):
        trace = poutine.trace(poutine.condition(model, draws)).get_trace(frames, observed, controls)
    assert trace.nodes["frames"]["fn"].mean.shape == (3, TIME, SEQUENCES, *FRAME)
    many = guide.complete(frames, observed, controls, num_samples=4000)
    assert_mean_within(many[model.site(0)][:, 0], means[model.site(0)])


def test_completion_method_is_checked():
    model = deep_markov(control_dim=0)
    with pytest.raises(ValueError, match="method: expected one of .*smoothing.*, got 'filtering'"):
        RecurrentGuide(model).double().complete(arguments()[0], method="filtering")


def test_the_model_is_no_part_of_the_guide():
    model = deep_markov()
    guide = RecurrentGuide(model, hidden_dim=6)
    assert not {id(parameter) for parameter in guide.parameters()} & {id(parameter) for parameter in model.parameters()}
    assert guide.model is model


def test_arguments_are_checked():
    model = deep_markov()
    frames, _, controls = arguments()
    with pytest.raises(ValueError, match="controls: expected"):
        RecurrentGuide(model).double()(frames, None, controls[..., :1])


def turning_bumps(sequences, time, seed):
    """A soft bump on a ring of eight pixels, anywhere at first, turning at any constant speed up to a pixel a frame."""
    generator = torch.Generator().manual_seed(seed)
    start = 8 * torch.rand(sequences, 1, generator=generator)
    speed = 2 * torch.rand(sequences, 1, generator=generator) - 1
    angle = (start + speed * torch.arange(time)) * (torch.pi / 4)
    distance = torch.cos(angle[..., None] - torch.pi / 4 * torch.arange(8))
    return (2 * (distance - 1)).exp().reshape(sequences, time, 1, 2, 4)


@pytest.mark.slow
@pytest.mark.parametrize("kind", [DeepMarkovModel, DeepVariationalBayesFilter])
def test_a_short_training_explains_a_toy(kind):
    pyro.set_rng_seed(2)
    model = kind((1, 2, 4), state_dim=4, hidden_dim=32)
    guide = RecurrentGuide(model, hidden_dim=32)
    svi = SVI(model, guide, pyro.optim.Adam({"lr": 3e-3}), Trace_ELBO())
    for step in range(600):
        with SiteWeights({"[wz]_*": min(1.0, 0.01 + step / 500)}):  # annealed KL, as in both papers
            svi.step(turning_bumps(64, 8, seed=step))
    held_out = turning_bumps(200, 8, seed=10**6)
    independent = torch.distributions.Normal(held_out.mean((0, 1)), held_out.std((0, 1))).log_prob(held_out).sum()
    # nats per frame; independent Gaussian pixels give -2.6
    assert -svi.evaluate_loss(held_out) / (200 * 8) > independent / (200 * 8) + 4
