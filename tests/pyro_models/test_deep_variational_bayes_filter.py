"""The deep variational Bayes filter: sites, density written out, the linear case against the Kalman evidence."""

import pyro
import pytest
import torch
from pyro import poutine
from torch import nn
from torch.distributions import Normal

from guides import RecurrentGuide, describe_sites
from pyro_models import DeepVariationalBayesFilter
from pyro_models.components.convolutions import ConvDecoder
from tests.oracles.joint_gaussian import joint_gaussian
from tests.oracles.monte_carlo import assert_mean_within

SEQUENCES, TIME, STATE, NOISE, CONTROL = 5, 7, 4, 3, 2
FRAME = (1, 3, 2)
DTYPE = torch.float64


def small_model(control_dim=CONTROL, **options):
    return DeepVariationalBayesFilter(
        FRAME, state_dim=STATE, noise_dim=NOISE, num_matrices=6, control_dim=control_dim, hidden_dim=8, **options
    ).double()


def arguments(missing=False):
    frames = torch.rand(SEQUENCES, TIME, *FRAME, dtype=DTYPE)
    controls = torch.randn(SEQUENCES, TIME, CONTROL, dtype=DTYPE)
    observed = torch.ones(SEQUENCES, TIME, dtype=torch.bool)
    observed[1, 3:5] = False
    observed[2, 0] = False
    return frames, observed if missing else None, controls


def test_sites_and_plates():
    table = describe_sites(small_model(), *arguments())
    assert table.names == (*(f"w_{step}" for step in range(1, TIME + 1)), "frames")
    assert table["w_3"].batch_shape == (SEQUENCES,)
    assert table["w_3"].event_shape == (NOISE,)
    assert table["frames"].batch_shape == (TIME, SEQUENCES)


@pytest.mark.parametrize("missing", [False, True])
def test_log_density_of_a_draw_is_the_sum_written_out(missing):
    model = small_model()
    frames, observed, controls = arguments(missing)
    trace = poutine.trace(model).get_trace(frames, observed, controls)
    transition = model.transition
    total = torch.zeros((), dtype=DTYPE)
    state = torch.zeros(SEQUENCES, STATE, dtype=DTYPE)
    for step in range(TIME):
        noise = trace.nodes[f"w_{step + 1}"]["value"]
        total += Normal(0, 1).log_prob(noise).sum()
        state = transition.next_state(state, noise, controls[:, step]) if step else transition.initial_state(noise)
        pixels = Normal(model.decoder(state), model.likelihood.variance.sqrt()).log_prob(frames[:, step])
        seen = torch.ones(SEQUENCES, dtype=DTYPE) if observed is None else observed[:, step].to(DTYPE)
        total += (pixels.flatten(1).sum(1) * seen).sum()
    torch.testing.assert_close(trace.log_prob_sum(), total)


def test_a_control_moves_its_own_state_and_those_after_and_the_first_is_unused():
    model = small_model()
    frames, _, controls = arguments()
    noises = {f"w_{step + 1}": torch.randn(SEQUENCES, NOISE, dtype=DTYPE) for step in range(TIME)}

    def states(controls):
        return poutine.condition(model, noises)(frames, None, controls)

    changed = controls.clone()
    changed[:, 3] += 1
    moved = (states(changed) != states(controls)).all(-1).all(0)
    assert moved.tolist() == [step >= 3 for step in range(TIME)]
    changed = controls.clone()
    changed[:, 0] = float("nan")
    assert torch.equal(states(changed), states(controls))


def test_linear_model_has_the_kalman_evidence_with_controls_and_missing_frames():
    decoder = nn.Sequential(nn.Linear(2, 3), nn.Unflatten(-1, (1, 1, 3)))
    model = DeepVariationalBayesFilter((1, 1, 3), state_dim=2, num_matrices=1, control_dim=1, decoder=decoder).double()
    transition = model.transition
    transition.start = nn.Linear(2, 2).double()  # the first state linear in the noise, too
    with torch.no_grad():
        transition.state_matrices.copy_(torch.tensor([[[-0.1, 0.3], [-0.2, -0.2]]], dtype=DTYPE))
        transition.control_matrices.copy_(torch.tensor([[[0.7], [-0.5]]], dtype=DTYPE))
        transition.noise_matrices.copy_(torch.tensor([[[0.8, 0.1], [0.2, 0.6]]], dtype=DTYPE))
        model.likelihood.scaled_log_excess.fill_(0.0)
    guide = RecurrentGuide(model, hidden_dim=4).double()
    guide.scale.bias.data.fill_(1.0)
    frames = torch.randn(2, 3, 1, 1, 3, dtype=DTYPE)
    controls = torch.randn(2, 3, 1, dtype=DTYPE)
    observed = torch.tensor([[True, True, True], [True, False, True]])
    with torch.no_grad():
        first, noise = transition.start.weight, transition.noise_matrices[0]
        evidence = []
        for sequence in range(2):
            dense = joint_gaussian(
                transition.start.bias,
                first @ first.T,
                (torch.eye(2) + transition.state_matrices[0]).unsqueeze(0),
                (noise @ noise.T).unsqueeze(0),
                decoder[0].weight.unsqueeze(0),
                torch.diag(model.likelihood.variance.flatten()).unsqueeze(0),
                controls[sequence, 1:] @ transition.control_matrices[0].T,
                decoder[0].bias.unsqueeze(0),
                3,
            )
            evidence.append(dense.log_prob(frames[sequence].reshape(3, 3), observed[sequence]))
        with pyro.plate("particles", 100_000, dim=-3):
            drawn = poutine.trace(guide).get_trace(frames, observed, controls)
            scored = poutine.trace(poutine.replay(model, drawn)).get_trace(frames, observed, controls)
        weights = -torch.stack(evidence)
        for trace, sign in ((scored, 1), (drawn, -1)):
            trace.compute_log_prob()
            for name, node in trace.nodes.items():
                if node["type"] == "sample" and name[:2] in ("w_", "fr"):
                    weights = weights + sign * node["log_prob"].sum(1)
    assert_mean_within(weights.exp(), torch.ones(2, dtype=DTYPE))


def test_networks_by_name():
    assert isinstance(DeepVariationalBayesFilter((1, 16, 16), decoder="conv").decoder, ConvDecoder)
    with pytest.raises(ValueError, match="frame decoder: expected one of conv, mlp, got 'cnn'"):
        DeepVariationalBayesFilter(decoder="cnn")
