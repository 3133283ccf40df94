"""Gated and locally linear transitions against their equations written out."""

import torch

from pyro_models.components.transitions import GatedTransition, LocallyLinearTransition

SEQUENCES, STATE, CONTROL, NOISE = 5, 4, 2, 3


def scrambled(module):
    for parameter in module.parameters():
        parameter.data = torch.randn_like(parameter, dtype=torch.float64)
    return module


def test_gated_law_by_hand():
    transition = scrambled(GatedTransition(STATE, CONTROL, hidden_dim=6))
    state = torch.randn(7, 1, SEQUENCES, STATE, dtype=torch.float64)
    control = torch.randn(SEQUENCES, CONTROL, dtype=torch.float64)
    law = transition.law(state, control)
    assert law.batch_shape == (7, 1, SEQUENCES)
    assert law.event_shape == (STATE,)
    inputs = torch.cat([state, control.expand(7, 1, SEQUENCES, CONTROL)], -1)
    (first, _, second), (third, _, fourth) = transition.gate, transition.proposal
    gate = torch.sigmoid((inputs @ first.weight.T + first.bias).clamp(min=0) @ second.weight.T + second.bias)
    proposal = (inputs @ third.weight.T + third.bias).clamp(min=0) @ fourth.weight.T + fourth.bias
    carried = state @ transition.carry.weight.T + transition.carry.bias
    torch.testing.assert_close(law.mean, (1 - gate) * carried + gate * proposal)
    raw = proposal.clamp(min=0) @ transition.scale.weight.T + transition.scale.bias
    torch.testing.assert_close(law.stddev, torch.log1p(raw.exp()) + 1e-4)
    variable = torch.randn_like(state)
    assert transition.next_state(state, variable, control) is variable
    assert transition.initial_state(variable) is variable


def test_gated_chain_can_begin_as_a_random_walk():
    transition = GatedTransition(STATE).double()
    transition.gate[-1].weight.data.zero_()
    transition.gate[-1].bias.data.fill_(-800.0)
    state = torch.randn(SEQUENCES, STATE, dtype=torch.float64)
    torch.testing.assert_close(transition.law(state, None).mean, state)


def test_gated_chain_starts_from_its_learned_state_and_no_control():
    transition = scrambled(GatedTransition(STATE, CONTROL, hidden_dim=6))
    zero = torch.zeros(CONTROL, dtype=torch.float64)
    law, expected = transition.initial_law(), transition.law(transition.start, zero)
    assert law.batch_shape == ()
    assert torch.equal(law.mean, expected.mean)
    assert torch.equal(law.stddev, expected.stddev)


def test_locally_linear_step_by_hand():
    transition = scrambled(LocallyLinearTransition(STATE, CONTROL, NOISE, num_matrices=6, hidden_dim=8))
    state = torch.randn(SEQUENCES, STATE, dtype=torch.float64)
    noise = torch.randn(SEQUENCES, NOISE, dtype=torch.float64)
    control = torch.randn(SEQUENCES, CONTROL, dtype=torch.float64)
    moved = transition.next_state(state, noise, control)
    weights = torch.softmax(state @ transition.weights.weight.T + transition.weights.bias, -1)
    for sequence in range(SEQUENCES):
        expected = state[sequence].clone()
        for weight, a, b, c in zip(
            weights[sequence],
            transition.state_matrices,
            transition.control_matrices,
            transition.noise_matrices,
            strict=True,
        ):
            expected += weight * (a @ state[sequence] + b @ control[sequence] + c @ noise[sequence])
        torch.testing.assert_close(moved[sequence], expected)


def test_locally_linear_step_keeps_particles_apart():
    transition = scrambled(LocallyLinearTransition(STATE, CONTROL, NOISE, num_matrices=6, hidden_dim=8))
    state = torch.randn(7, 1, SEQUENCES, STATE, dtype=torch.float64)
    noise = torch.randn(7, 1, SEQUENCES, NOISE, dtype=torch.float64)
    control = torch.randn(SEQUENCES, CONTROL, dtype=torch.float64)
    moved = transition.next_state(state, noise, control)
    torch.testing.assert_close(moved[3, 0], transition.next_state(state[3, 0], noise[3, 0], control))


def test_locally_linear_noise_is_standard_normal_and_makes_the_first_state():
    transition = scrambled(LocallyLinearTransition(STATE, 0, NOISE, hidden_dim=8))
    noise = torch.randn(SEQUENCES, NOISE, dtype=torch.float64)
    expected = torch.distributions.Normal(0, 1).log_prob(noise).sum(-1)
    torch.testing.assert_close(transition.initial_law().log_prob(noise), expected)
    torch.testing.assert_close(transition.law(torch.zeros(SEQUENCES, STATE), None).log_prob(noise), expected)
    first, _, second = transition.start
    state = (noise @ first.weight.T + first.bias).clamp(min=0) @ second.weight.T + second.bias
    torch.testing.assert_close(transition.initial_state(noise), state)
    assert transition.control_matrices is None
    assert LocallyLinearTransition(STATE).variable_dim == STATE
