"""Networks by name and the fully connected ones."""

import pytest
import torch
from torch import nn

from pyro_models.components.convolutions import ConvDecoder, ConvEncoder
from pyro_models.components.frame_networks import MLPDecoder, MLPEncoder, frame_decoder, frame_encoder, mlp


def test_mlp_layers():
    network = mlp(3, (5, 7), 2, activation=nn.Tanh)
    assert [type(layer).__name__ for layer in network] == ["Linear", "Tanh", "Linear", "Tanh", "Linear"]
    assert [tuple(layer.weight.shape) for layer in network[::2]] == [(5, 3), (7, 5), (2, 7)]
    assert [type(layer).__name__ for layer in mlp(3, (5,))] == ["Linear", "ReLU"]


def test_mlp_networks_work_for_any_frame_and_batch():
    frame_shape = (2, 5, 6)
    decoder = MLPDecoder(3, frame_shape, hidden=(7,)).double()
    encoder = MLPEncoder(frame_shape, hidden=(7, 8)).double()
    codes = torch.randn(4, 1, 3, dtype=torch.float64)
    frames = decoder(codes)
    assert frames.shape == (4, 1, *frame_shape)
    assert encoder(frames).shape == (4, 1, encoder.feature_dim)
    assert encoder.feature_dim == 8
    torch.testing.assert_close(decoder(codes[2, 0]), frames[2, 0])


def test_names_find_networks_and_options_reach_them():
    assert isinstance(frame_decoder("conv", 2, (1, 16, 16), channels=8), ConvDecoder)
    assert isinstance(frame_decoder("mlp", 2, (1, 5, 5), hidden=(4,)), MLPDecoder)
    assert isinstance(frame_encoder("conv", (1, 16, 16), channels=8), ConvEncoder)
    assert frame_encoder("mlp", (1, 5, 5), hidden=(4,)).feature_dim == 4
    assert frame_encoder("conv", (1, 16, 16), channels=8).feature_dim == 8 * 16


def test_unknown_names_are_refused():
    with pytest.raises(ValueError, match="frame decoder: expected one of conv, mlp, got 'cnn'"):
        frame_decoder("cnn", 2)
    with pytest.raises(ValueError, match="frame encoder: expected one of conv, mlp, got 'cnn'"):
        frame_encoder("cnn")
