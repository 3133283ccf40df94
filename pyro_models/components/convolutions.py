"""Convolutional frame encoder and decoder (Fraccaro et al. 2017, the authors' released networks)."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from pyro_models.components.initial_weights import glorot

SMALLEST_SIDE = 4


class ConvEncoder(nn.Module):
    """Features of single frames: 3x3 convolutions of stride 2 with ReLU until the shorter side is 4 pixels.

    Three convolutions for 32x32 frames, two for 16x16.

    Args:
        frame_shape: (channels, height, width).
        channels: filters of each convolution; 32 in the reference.
        memory_format: layout of the images; `torch.channels_last` is the faster one on CPUs and GPUs alike.

    Raises:
        ValueError: if the frame cannot be halved down to 4 pixels.
    """

    def __init__(
        self,
        frame_shape: tuple[int, int, int] = (1, 32, 32),
        channels: int = 32,
        memory_format: torch.memory_format = torch.channels_last,
    ) -> None:
        super().__init__()
        stages, height, width = _pyramid(frame_shape)
        self.frame_shape = tuple(frame_shape)
        self.feature_dim = channels * height * width
        self.memory_format = memory_format
        layers: list[nn.Module] = []
        for stage in range(stages):
            layers += [
                nn.Conv2d(frame_shape[0] if stage == 0 else channels, channels, 3, stride=2, padding=1),
                nn.ReLU(),
            ]
        self.convolutions = nn.Sequential(*layers)
        self.apply(glorot)

    def forward(self, frames: Float[Tensor, "*batch channels height width"]) -> Float[Tensor, "*batch feature"]:
        """Features of each frame."""
        # Only images carry the layout: Pyro's param store copies weights that are not contiguous, and then trains the
        # copies.
        images = frames.reshape(-1, *self.frame_shape).contiguous(memory_format=self.memory_format)
        return self.convolutions(images).reshape(*frames.shape[:-3], self.feature_dim)


class ConvDecoder(nn.Module):
    """Frames from codes by sub-pixel convolutions (Shi et al. 2016).

    A linear map to a 4x4 image, then, until the frame's size is reached, a 3x3 convolution to four times the channels,
    ReLU and a pixel shuffle that doubles both sides; finally a 1x1 convolution. The output is unbounded: logits, or
    means of pixels.

    Args:
        code_dim: size of a code.
        frame_shape: (channels, height, width).
        channels: channels after each stage; 32 in the reference. Most of a model's time is spent here: 16 channels take
            a third of the time of 32.
        memory_format: layout of the images; `torch.channels_last` is the faster one on CPUs and GPUs alike.

    Raises:
        ValueError: if the frame cannot be halved down to 4 pixels.
    """

    def __init__(
        self,
        code_dim: int,
        frame_shape: tuple[int, int, int] = (1, 32, 32),
        channels: int = 32,
        memory_format: torch.memory_format = torch.channels_last,
    ) -> None:
        super().__init__()
        stages, height, width = _pyramid(frame_shape)
        self.code_dim = code_dim
        self.frame_shape = tuple(frame_shape)
        self.memory_format = memory_format
        self.seed = nn.Linear(code_dim, channels * height * width)
        self.seed_shape = (channels, height, width)
        self.convolutions = nn.ModuleList(nn.Conv2d(channels, 4 * channels, 3, padding=1) for _ in range(stages))
        self.head = nn.Linear(channels, frame_shape[0])  # of each pixel
        self.apply(glorot)

    def forward(self, codes: Float[Tensor, "*batch code"]) -> Float[Tensor, "*batch channels height width"]:
        """A frame of unbounded values for each code."""
        seeds = self.seed(codes.reshape(-1, self.code_dim)).reshape(-1, *self.seed_shape)
        images = seeds.contiguous(memory_format=self.memory_format)
        for stage, convolution in enumerate(self.convolutions):
            if stage > 0:
                images = F.pixel_shuffle(images, 2)
            images = F.relu(convolution(images), inplace=True)
        # The head sees one pixel at a time, so it commutes with the last shuffle, which then moves one channel
        # instead of `channels`: a quarter of a training step.
        weight = torch.kron(self.head.weight, torch.eye(4, dtype=codes.dtype, device=codes.device))
        images = F.conv2d(images, weight[..., None, None], self.head.bias.repeat_interleave(4))
        images = F.pixel_shuffle(images, 2)
        return images.reshape(*codes.shape[:-1], *self.frame_shape)


def _pyramid(frame_shape: tuple[int, int, int]) -> tuple[int, int, int]:
    """Number of halvings down to the smallest image, and its height and width."""
    _, height, width = frame_shape
    stages = max(min(height, width) // SMALLEST_SIDE, 1).bit_length() - 1
    factor = 2**stages
    if stages < 1 or height % factor or width % factor or min(height, width) != SMALLEST_SIDE * factor:
        raise ValueError(
            f"frame_shape: expected the shorter side to be {SMALLEST_SIDE} * 2^n (8, 16, 32, ...) and the longer one a "
            f"multiple of 2^n, got (channels, height, width) = {tuple(frame_shape)}; use the 'mlp' networks instead"
        )
    return stages, height // factor, width // factor
