"""Frame encoders: sizes, the variance cap, frames seen one by one."""

import pytest
import torch
from torch import nn

from guides.encoders import FrameEncoder

SEQUENCES, TIME = 5, 7


def test_parameter_count_of_the_reference():
    encoder = FrameEncoder((1, 32, 32), code_dim=2, variance_limit=0.03)
    assert sum(parameter.numel() for parameter in encoder.parameters()) == 20_868


def test_variance_stays_below_its_limit_and_starts_in_the_middle():
    encoder = FrameEncoder((1, 16, 16), code_dim=3, channels=8, variance_limit=0.03).double()
    frames = torch.rand(SEQUENCES, TIME, 1, 16, 16, dtype=torch.float64)
    mean, variance = encoder(frames)
    assert mean.shape == variance.shape == (SEQUENCES, TIME, 3)
    assert ((variance > 0) & (variance < 0.03)).all()
    torch.testing.assert_close(encoder(torch.zeros_like(frames))[1], torch.full_like(variance, 0.015))


def test_without_a_limit_the_variance_is_positive_and_unbounded():
    encoder = FrameEncoder((1, 3, 4), code_dim=2, network="mlp", hidden=(6,)).double()
    encoder.variance.bias.data += 5
    _, variance = encoder(torch.rand(SEQUENCES, TIME, 1, 3, 4, dtype=torch.float64))
    assert (variance > 3).all()


def test_a_limit_of_zero_is_a_point_without_a_network_for_the_variance():
    encoder = FrameEncoder((1, 3, 4), code_dim=2, network="mlp", hidden=(6,), variance_limit=0.0).double()
    mean, variance = encoder(torch.rand(SEQUENCES, TIME, 1, 3, 4, dtype=torch.float64))
    assert torch.equal(variance, torch.zeros_like(mean))
    assert sum(parameter.numel() for parameter in encoder.parameters()) == (12 * 6 + 6) + (6 * 2 + 2)


def test_each_frame_is_seen_on_its_own():
    encoder = FrameEncoder((1, 16, 16), code_dim=2, channels=4).double()
    frames = torch.rand(SEQUENCES, TIME, 1, 16, 16, dtype=torch.float64)
    mean, variance = encoder(frames)
    changed = frames.clone()
    changed[2, 3] = 0
    new_mean, new_variance = encoder(changed)
    same = torch.ones(SEQUENCES, TIME, dtype=torch.bool)
    same[2, 3] = False
    torch.testing.assert_close(new_mean[same], mean[same])
    torch.testing.assert_close(new_variance[same], variance[same])
    assert (new_mean[2, 3] != mean[2, 3]).all()


def test_a_network_of_ones_own():
    class Sums(nn.Module):
        feature_dim = 4

        def forward(self, frames):
            return frames.sum((-3, -2))

    mean, _ = FrameEncoder((1, 3, 4), code_dim=2, network=Sums())(torch.rand(SEQUENCES, TIME, 1, 3, 4))
    assert mean.shape == (SEQUENCES, TIME, 2)


def test_messages():
    with pytest.raises(ValueError, match="variance_limit: expected a number of at least 0 or None, got -0.1"):
        FrameEncoder(variance_limit=-0.1)
    with pytest.raises(ValueError, match="frame encoder: expected one of conv, mlp, got 'cnn'"):
        FrameEncoder(network="cnn")
