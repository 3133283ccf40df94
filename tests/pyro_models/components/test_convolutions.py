"""The convolutional networks: sizes, batch shapes and layout."""

import pytest
import torch
from torch import nn

from pyro_models.components.convolutions import ConvDecoder, ConvEncoder


def num_parameters(module):
    return sum(parameter.numel() for parameter in module.parameters())


def test_decoder_has_the_reference_number_of_parameters():
    assert num_parameters(ConvDecoder(2)) == 112_545


def test_encoder_has_the_reference_number_of_parameters():
    # 20,868 with the two heads of 512 * 2 + 2 each
    assert num_parameters(ConvEncoder()) + 2 * (512 * 2 + 2) == 20_868


@pytest.mark.parametrize("frame_shape", [(1, 8, 8), (1, 16, 16), (3, 32, 32), (2, 16, 24), (1, 64, 64)])
def test_shapes_and_batches(frame_shape):
    encoder = ConvEncoder(frame_shape, channels=5).double()
    decoder = ConvDecoder(3, frame_shape, channels=5).double()
    codes = torch.randn(2, 1, 7, 3, dtype=torch.float64)
    frames = decoder(codes)
    assert frames.shape == (2, 1, 7, *frame_shape)
    assert frames.dtype == torch.float64
    features = encoder(frames)
    assert features.shape == (2, 1, 7, encoder.feature_dim)
    torch.testing.assert_close(features[1, 0, 3], encoder(frames[1, 0, 3]))
    torch.testing.assert_close(frames[1, 0, 3], decoder(codes[1, 0, 3]))


def test_an_empty_batch_is_allowed():
    assert ConvDecoder(3, (1, 8, 8), channels=4)(torch.zeros(0, 3)).shape == (0, 1, 8, 8)


def test_every_output_pixel_depends_on_the_codes_and_every_parameter_is_reached():
    decoder = ConvDecoder(3, (1, 16, 16), channels=6).double()
    encoder = ConvEncoder((1, 16, 16), channels=6).double()
    codes = torch.randn(9, 3, dtype=torch.float64)
    frames = decoder(codes)
    assert ((frames[1:] - frames[:1]).abs() > 0).any(0).all()
    encoder(frames).square().sum().backward()
    for parameter in [*decoder.parameters(), *encoder.parameters()]:
        assert parameter.grad is not None
        assert parameter.grad.abs().sum() > 0


def test_decoder_is_the_reference_network_layer_by_layer():
    decoder = ConvDecoder(3, (2, 16, 24), channels=5).double()
    layers = []
    for convolution in decoder.convolutions:
        layers += [convolution, nn.ReLU(), nn.PixelShuffle(2)]
    upsample = nn.Sequential(decoder.seed, nn.Unflatten(-1, decoder.seed_shape), *layers)
    nn.init.normal_(decoder.head.bias)
    codes = torch.randn(7, 3, dtype=torch.float64)
    parameters = list(decoder.parameters())
    ours = torch.autograd.grad(decoder(codes).square().sum(), parameters)
    plain = decoder.head(upsample(codes).movedim(-3, -1)).movedim(-1, -3)
    theirs = torch.autograd.grad(plain.square().sum(), parameters)
    torch.testing.assert_close(decoder(codes), plain)
    torch.testing.assert_close(ours, theirs)


def test_memory_format_changes_the_layout_and_not_the_numbers():
    fast = ConvDecoder(3, (1, 16, 16), channels=4).double()
    plain = ConvDecoder(3, (1, 16, 16), channels=4, memory_format=torch.contiguous_format).double()
    plain.load_state_dict(fast.state_dict())
    assert all(parameter.is_contiguous() for parameter in fast.parameters())  # else Pyro's store would copy them
    assert plain.convolutions[0].weight.is_contiguous()
    codes = torch.randn(5, 3, dtype=torch.float64)
    torch.testing.assert_close(fast(codes), plain(codes))


@pytest.mark.parametrize("frame_shape", [(1, 4, 4), (1, 20, 20), (1, 2, 16), (1, 16, 18)])
def test_frames_that_cannot_be_halved_are_refused(frame_shape):
    with pytest.raises(ValueError, match="frame_shape: expected the shorter side"):
        ConvDecoder(2, frame_shape)
    with pytest.raises(ValueError, match="frame_shape: expected the shorter side"):
        ConvEncoder(frame_shape)
