"""Convolutions and their mirror image: frames of odd sides come back at their own size."""

import pytest
import torch
from torch import nn

from pyro_models.vrnn.mirrored_convolutions import MirroredConvolutions

NETWORKS = MirroredConvolutions(6, (2, 3, 4), (1, 2, 2))


@pytest.mark.parametrize("size", [(50, 50), (28, 28), (13, 10), (7, 9)])
def test_frames_come_back_at_their_size(size):
    encoder, decoder = NETWORKS.encoder(size), NETWORKS.decoder(5, size)
    assert encoder(torch.rand(3, 4, *size)).shape == (3, 4, 6)
    codes = torch.rand(3, 4, 5, requires_grad=True)
    frames = decoder(codes)
    assert frames.shape == (3, 4, *size)
    frames.square().sum().backward()
    assert all(parameter.grad.any() for parameter in decoder.parameters())
    torch.testing.assert_close(decoder(codes[1:2, 2:3])[0, 0], frames[1, 2])


def test_the_decoder_passes_through_the_sizes_of_the_encoder():
    encoder, decoder = NETWORKS.encoder((13, 10)), NETWORKS.decoder(5, (13, 10))

    def shapes(layers, images):
        found = [images.shape[1:]]
        for layer in layers:
            images = layer(images)
            if not isinstance(layer, nn.ELU):
                found.append(images.shape[1:])
        return found

    down = shapes(encoder.convolutions, torch.rand(1, 1, 13, 10))
    assert down == [(1, 13, 10), (2, 13, 10), (3, 7, 5), (4, 4, 3)]
    assert shapes(decoder.convolutions, decoder.seed(torch.rand(1, 5))) == down[::-1]
