"""Initial weights, layer by layer: Glorot's bounds, and variances by the size of a matrix."""

from math import sqrt

import pytest
import torch
from torch import nn

from pyro_models.components.initial_weights import glorot, normal_by_size


def test_linear_and_convolution_stay_within_the_bound_and_fill_it():
    for layer, bound in [
        (nn.Linear(30, 50), sqrt(6 / 80)),
        (nn.Conv2d(8, 12, 3), sqrt(6 / (9 * 20))),
        (nn.ConvTranspose2d(8, 12, 3), sqrt(6 / (9 * 20))),
    ]:
        layer.apply(glorot)
        assert layer.weight.abs().max() <= bound
        assert layer.weight.abs().max() > 0.95 * bound
        assert torch.equal(layer.bias, torch.zeros_like(layer.bias))


def test_lstm_remembers_at_the_start():
    lstm = nn.LSTM(3, 5)
    glorot(lstm)
    bias = lstm.bias_ih_l0 + lstm.bias_hh_l0
    torch.testing.assert_close(bias, torch.tensor([0.0] * 5 + [1.0] * 5 + [0.0] * 10))


def test_recurrent_weights_stay_within_the_bound_and_fill_it():
    lstm = nn.LSTM(3, 40)
    glorot(lstm)
    bound = sqrt(6 / 200)
    assert 0.97 * bound < lstm.weight_hh_l0.abs().max() <= bound


def test_plain_recurrent_layers_have_no_bias():
    gru = nn.GRU(3, 5)
    glorot(gru)
    assert not gru.bias_ih_l0.any()
    assert not gru.bias_hh_l0.any()


def test_variance_by_size_is_that_of_the_matrix():
    linear = nn.Linear(300, 100)
    linear.apply(normal_by_size)
    assert linear.weight.detach().std() == pytest.approx((300 * 100) ** -0.25, rel=0.03)  # 7 standard errors
    assert not linear.bias.any()
    nn.Linear(3, 4, bias=False).apply(normal_by_size)


@pytest.mark.parametrize(("layer", "gates"), [(nn.LSTM, 4), (nn.GRU, 3), (nn.RNN, 1), (nn.LSTMCell, 4)])
def test_variance_by_size_is_that_of_one_gate(layer, gates):
    recurrent = layer(300, 200)
    recurrent.apply(normal_by_size)
    for name, parameter in recurrent.named_parameters():
        if name.startswith("bias"):
            assert not parameter.any()
            continue
        inputs = 200 if "hh" in name else 300
        for matrix in parameter.chunk(gates):
            assert matrix.shape == (200, inputs)
            assert matrix.detach().std() == pytest.approx((200 * inputs) ** -0.25, rel=0.03)


def test_by_size_leaves_other_layers_alone():
    norm = nn.LayerNorm(4)
    norm.apply(normal_by_size)
    assert torch.equal(norm.weight, torch.ones(4))
