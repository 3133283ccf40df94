"""The deep Markov model: its sites, its density written out, and the linear case against the Kalman evidence."""

import pyro
import pytest
import torch
from pyro import poutine
from torch import nn
from torch.distributions import Normal

from guides import RecurrentGuide, describe_sites
from pyro_models import DeepMarkovModel
from pyro_models.components.convolutions import ConvDecoder
from tests.oracles.joint_gaussian import joint_gaussian
from tests.oracles.monte_carlo import assert_mean_within

SEQUENCES, TIME, STATE, CONTROL = 5, 7, 4, 2
FRAME = (1, 3, 2)
DTYPE = torch.float64


def small_model(control_dim=CONTROL, **options):
    return DeepMarkovModel(FRAME, state_dim=STATE, control_dim=control_dim, hidden_dim=8, **options).double()


def arguments(missing=False):
    frames = torch.rand(SEQUENCES, TIME, *FRAME, dtype=DTYPE)
    controls = torch.randn(SEQUENCES, TIME, CONTROL, dtype=DTYPE)
    observed = torch.ones(SEQUENCES, TIME, dtype=torch.bool)
    observed[1, 3:5] = False
    observed[2, 0] = False
    return frames, observed if missing else None, controls


def test_sites_and_plates():
    table = describe_sites(small_model(), *arguments())
    assert table.names == (*(f"z_{step}" for step in range(1, TIME + 1)), "frames")
    assert table["z_3"].batch_shape == (SEQUENCES,)
    assert table["z_3"].event_shape == (STATE,)
    assert table["frames"].batch_shape == (TIME, SEQUENCES)
    assert {plate.name for plate in table["frames"].plates} == {"sequences", "time"}


@pytest.mark.parametrize("missing", [False, True])
def test_log_density_of_a_draw_is_the_sum_written_out(missing):
    model = small_model()
    frames, observed, controls = arguments(missing)
    trace = poutine.trace(model).get_trace(frames, observed, controls)
    states = [trace.nodes[f"z_{step + 1}"]["value"] for step in range(TIME)]
    total = torch.zeros((), dtype=DTYPE)
    transition = model.transition
    for step in range(TIME):
        before = states[step - 1] if step else transition.start.expand(SEQUENCES, STATE)
        control = controls[:, step] if step else torch.zeros(SEQUENCES, CONTROL, dtype=DTYPE)
        law = transition.law(before, control)
        total += Normal(law.mean, law.stddev).log_prob(states[step]).sum()
        pixels = Normal(model.decoder(states[step]), model.likelihood.variance.sqrt()).log_prob(frames[:, step])
        seen = torch.ones(SEQUENCES, dtype=DTYPE) if observed is None else observed[:, step].to(DTYPE)
        total += (pixels.flatten(1).sum(1) * seen).sum()
    torch.testing.assert_close(trace.log_prob_sum(), total)
    torch.testing.assert_close(trace.nodes["_RETURN"]["value"], torch.stack(states, 1))


def test_particles_are_scored_one_by_one():
    model = small_model()
    frames, observed, controls = arguments(missing=True)
    with pyro.plate("particles", 3, dim=-3):
        trace = poutine.trace(model).get_trace(frames, observed, controls)
    assert trace.nodes["_RETURN"]["value"].shape == (3, SEQUENCES, TIME, STATE)
    trace.compute_log_prob()
    one = {f"z_{step + 1}": trace.nodes[f"z_{step + 1}"]["value"][1, 0] for step in range(TIME)}
    alone = poutine.trace(poutine.condition(model, one)).get_trace(frames, observed, controls)
    alone.compute_log_prob()
    for name in [*one, "frames"]:
        together = trace.nodes[name]["log_prob"][1]
        torch.testing.assert_close(together.reshape(alone.nodes[name]["log_prob"].shape), alone.nodes[name]["log_prob"])


def test_a_control_moves_its_own_step_and_the_first_is_unused():
    model = small_model()
    frames, _, controls = arguments()
    states = {f"z_{step + 1}": torch.randn(SEQUENCES, STATE, dtype=DTYPE) for step in range(TIME)}

    def terms(controls):
        trace = poutine.trace(poutine.condition(model, states)).get_trace(frames, None, controls)
        trace.compute_log_prob()
        return torch.stack([trace.nodes[name]["log_prob"] for name in states], -1)

    changed = controls.clone()
    changed[:, 3] += 1
    moved = (terms(changed) != terms(controls)).all(0)
    assert moved.tolist() == [step == 3 for step in range(TIME)]
    changed = controls.clone()
    changed[:, 0] = float("nan")
    assert torch.equal(terms(changed), terms(controls))


def test_linear_model_has_the_kalman_evidence_with_missing_frames():
    model = DeepMarkovModel(
        (1, 1, 3), state_dim=2, hidden_dim=4, decoder=nn.Sequential(nn.Linear(2, 3), nn.Unflatten(-1, (1, 1, 3)))
    ).double()
    transition = model.transition
    with torch.no_grad():
        transition.gate[-1].weight.zero_()
        transition.gate[-1].bias.fill_(-800.0)
        transition.scale.weight.zero_()
        transition.scale.bias.copy_(torch.tensor([0.3, -0.2], dtype=DTYPE))
        transition.start.copy_(torch.tensor([0.5, -0.4], dtype=DTYPE))
        transition.carry.weight.copy_(torch.tensor([[0.9, 0.3], [-0.2, 0.8]], dtype=DTYPE))
        transition.carry.bias.copy_(torch.tensor([0.1, 0.2], dtype=DTYPE))
        model.likelihood.scaled_log_excess.fill_(0.0)
    guide = RecurrentGuide(model, hidden_dim=4).double()
    guide.scale.bias.data.fill_(2.0)
    frames = torch.randn(2, 3, 1, 1, 3, dtype=DTYPE)
    observed = torch.tensor([[True, True, True], [True, False, True]])
    with torch.no_grad():
        scale = nn.functional.softplus(transition.scale.bias) + 1e-4
        dense = joint_gaussian(
            transition.carry(transition.start),
            torch.diag(scale**2),
            transition.carry.weight.unsqueeze(0),
            torch.diag(scale**2).unsqueeze(0),
            model.decoder[0].weight.unsqueeze(0),
            torch.diag(model.likelihood.variance.flatten()).unsqueeze(0),
            transition.carry.bias.unsqueeze(0),
            model.decoder[0].bias.unsqueeze(0),
            3,
        )
        evidence = torch.stack([dense.log_prob(frames[i].reshape(3, 3), observed[i]) for i in range(2)])
        with pyro.plate("particles", 100_000, dim=-3):
            drawn = poutine.trace(guide).get_trace(frames, observed)
            scored = poutine.trace(poutine.replay(model, drawn)).get_trace(frames, observed)
        weights = -evidence
        for trace, sign in ((scored, 1), (drawn, -1)):
            trace.compute_log_prob()
            for name, node in trace.nodes.items():
                if node["type"] == "sample" and name[:2] in ("z_", "fr"):
                    weights = weights + sign * node["log_prob"].sum(1)
    assert_mean_within(weights.exp(), torch.ones(2, dtype=DTYPE))


def test_networks_by_name():
    assert isinstance(DeepMarkovModel((1, 16, 16), decoder="conv").decoder, ConvDecoder)
    with pytest.raises(ValueError, match="frame decoder: expected one of conv, mlp, got 'cnn'"):
        DeepMarkovModel(decoder="cnn")
    with pytest.raises(ValueError, match="likelihood: expected one of bernoulli, gaussian, got 'poisson'"):
        DeepMarkovModel(likelihood="poisson")


def test_wrong_arguments_are_refused():
    frames, _, controls = arguments()
    with pytest.raises(ValueError, match="frames: expected"):
        small_model()(frames[0], None, controls)
    with pytest.raises(ValueError, match="controls: expected"):
        small_model()(frames, None, None)
