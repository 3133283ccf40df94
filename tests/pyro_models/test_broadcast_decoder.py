"""A code is the same at every place: the decoder's first layer, at a few places, is the convolution of all of them."""

import pytest
import torch

from pyro_models import BroadcastDecoder


def everywhere(decoder, latent, memory):
    """The decoder as it is written down: the code at every place, next to its coordinates, through all layers."""
    code = latent if decoder.code is None else decoder.code(torch.cat([latent, memory], -1))
    code = code.flatten(0, -2)[:, :, None, None].expand(-1, -1, *decoder.grid)
    drawn = decoder.convolutions(torch.cat([decoder.places.expand(len(code), -1, -1, -1), code], 1))
    drawn = drawn.reshape(*latent.shape[:-1], *drawn.shape[1:])
    return drawn[..., :-1, :, :].sigmoid(), drawn[..., -1, :, :]


@pytest.mark.parametrize(
    ("frame_shape", "memory_dim", "halvings"),
    [((3, 7, 5), 2, 0), ((1, 3, 4), 2, 0), ((1, 2, 6), 0, 0), ((1, 1, 2), 2, 0), ((1, 8, 4), 2, 1), ((3, 4, 8), 0, 2)],
)
def test_a_code_is_the_same_at_every_place(frame_shape, memory_dim, halvings):
    torch.manual_seed(0)
    decoder = BroadcastDecoder(frame_shape, 3, memory_dim, channels=4, layers=3, halvings=halvings).double()
    latent = torch.randn(2, 5, 3, dtype=torch.float64, requires_grad=True)
    memory = torch.randn(2, 5, memory_dim, dtype=torch.float64)
    found, expected = decoder(latent, memory), everywhere(decoder, latent, memory)
    torch.testing.assert_close(tuple(found), expected)
    learned = [latent, *decoder.parameters()]
    slopes, wanted = (
        torch.autograd.grad(means.square().sum() + logits.sin().sum(), learned) for means, logits in (found, expected)
    )
    torch.testing.assert_close(slopes, wanted)


def test_images_keep_their_channels_last_on_the_way(monkeypatch):
    """Other layouts give the same numbers, more slowly."""
    decoder = BroadcastDecoder((1, 8, 8), 3, 0, channels=4, layers=3, halvings=1)
    seen = []
    for layer in decoder.convolutions:
        layer.register_forward_hook(lambda layer, given, drawn: seen.append(drawn))
    decoder(torch.randn(2, 3))
    assert len(seen) == 6
    assert all(one.is_contiguous(memory_format=torch.channels_last) for one in seen)
