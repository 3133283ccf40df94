"""The networks that weight dynamics: one pass equals step by step, weights are causal and lie on the simplex."""

import pytest
import torch

from pyro_models.kalman_vae.dynamics_mixture import DYNAMICS_MIXTURES, LSTMDynamicsMixture, WindowDynamicsMixture


@pytest.fixture(params=sorted(DYNAMICS_MIXTURES))
def mixture(request):
    return DYNAMICS_MIXTURES[request.param](2, 3).double()


def test_one_pass_equals_steps(mixture):
    inputs = torch.randn(5, 4, 7, 2, dtype=torch.float64)
    state = mixture.initial_state(inputs[..., 0, :])
    steps = []
    for step in range(7):
        weights, state = mixture.step(inputs[..., step, :], state)
        steps.append(weights)
    torch.testing.assert_close(torch.stack(steps, -2), mixture(inputs))


def test_weights_are_on_the_simplex(mixture):
    weights = mixture(10 * torch.randn(5, 7, 2, dtype=torch.float64))
    assert weights.shape == (5, 7, 3)
    assert (weights > 0).all()
    torch.testing.assert_close(weights.sum(-1), torch.ones(5, 7, dtype=torch.float64))


def test_weights_do_not_see_later_inputs(mixture):
    inputs = torch.randn(7, 2, dtype=torch.float64, requires_grad=True)
    for step in range(7):
        (gradient,) = torch.autograd.grad(mixture(inputs)[step, 0], inputs)
        assert (gradient[step + 1 :] == 0).all()
        assert gradient[step].abs().sum() > 0


def test_window_forgets():
    inputs = torch.randn(7, 2, dtype=torch.float64, requires_grad=True)
    mixture = WindowDynamicsMixture(2, 3, window=2).double()
    (gradient,) = torch.autograd.grad(mixture(inputs)[5, 0], inputs)
    assert gradient.abs().sum(-1).gt(0).tolist() == [False, False, False, False, True, True, False]


def test_parameter_counts_of_the_reference():
    lstm = LSTMDynamicsMixture(2, 3)
    assert sum(parameter.numel() for parameter in lstm.lstm.parameters()) == 10_800  # torch keeps a second bias of 200
    assert sum(parameter.numel() for parameter in lstm.head.parameters()) == 153
    assert sum(parameter.numel() for parameter in WindowDynamicsMixture(2, 3).parameters()) == 2_853


def test_forget_gate_starts_open():
    lstm = LSTMDynamicsMixture(2, 3, hidden_dim=4).lstm
    bias = lstm.bias_ih_l0 + lstm.bias_hh_l0
    assert bias.tolist() == [0.0] * 4 + [1.0] * 4 + [0.0] * 8


def test_window_needs_a_code():
    with pytest.raises(ValueError, match="window: expected at least 1 code, got 0"):
        WindowDynamicsMixture(2, 3, window=0)
