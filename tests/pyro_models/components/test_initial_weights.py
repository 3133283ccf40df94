"""Glorot's bounds, layer by layer."""

from math import sqrt

import torch
from torch import nn

from pyro_models.components.initial_weights import glorot


def test_linear_and_convolution_stay_within_the_bound_and_fill_it():
    for layer, bound in [(nn.Linear(30, 50), sqrt(6 / 80)), (nn.Conv2d(8, 12, 3), sqrt(6 / (9 * 20)))]:
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
