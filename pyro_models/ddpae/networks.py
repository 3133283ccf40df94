"""Strided convolutions between square images and codes, after DCGAN (Radford et al. 2016)."""

import torch
from torch import Tensor, nn

from pyro_models.ddpae.particle_batch_norm import ParticleBatchNorm

SMALLEST_SIDE = 4
SLOPE = 0.2  # of a leaky ReLU below zero
WEIGHT_SCALE = 0.02
CONTRAST = 0.2  # weights of filters that are to light pixels up, or to darken them


class StridedEncoder(nn.Module):
    """Codes of grey images: 4x4 convolutions that halve the side and, after the first, double the channels.

    Each is followed by batch normalisation, except the first, and a leaky ReLU. A 4x4 convolution turns the last image,
    of 4 pixels a side, into the code. No layer has biases.

    Args:
        side: height and width of an image, 4 * 2^n pixels.
        code_dim: size of a code.
        channels: filters of the first convolution.
    """

    def __init__(self, side: int, code_dim: int, channels: int = 8) -> None:
        super().__init__()
        self.code_dim = code_dim
        sizes = [1, *_channels(side, channels)]
        layers: list[nn.Module] = []
        for stage, (inputs, outputs) in enumerate(zip(sizes, sizes[1:], strict=False)):
            layers.append(nn.Conv2d(inputs, outputs, 4, stride=2, padding=1, bias=False))
            layers += [ParticleBatchNorm(outputs)] * (stage > 0)
            layers.append(nn.LeakyReLU(SLOPE))
        self.layers = nn.ModuleList([*layers, nn.Conv2d(sizes[-1], code_dim, SMALLEST_SIDE, bias=False)])

    def forward(self, images: Tensor, num_particles: int = 1) -> Tensor:
        """Codes, (images, code).

        Args:
            images: (images, height, width), all of the first particle, then all of the second, and so on.
            num_particles: number of particles; in training each has its own batch statistics.
        """
        return _run(self.layers, images.unsqueeze(1), num_particles)[:, :, 0, 0]


class StridedDecoder(nn.Module):
    """Grey images of codes: the mirror image of `StridedEncoder`, with ReLUs and, at the end, a sigmoid.

    Args:
        side: height and width of an image, 4 * 2^n pixels.
        code_dim: size of a code.
        channels: filters before the last convolution.
    """

    def __init__(self, side: int, code_dim: int, channels: int = 8) -> None:
        super().__init__()
        self.code_dim = code_dim
        sizes = [*reversed(_channels(side, channels)), 1]
        layers: list[nn.Module] = [nn.ConvTranspose2d(code_dim, sizes[0], SMALLEST_SIDE, bias=False)]
        for inputs, outputs in zip(sizes, sizes[1:], strict=False):
            layers += [ParticleBatchNorm(inputs), nn.ReLU()]
            layers.append(nn.ConvTranspose2d(inputs, outputs, 4, stride=2, padding=1, bias=False))
        self.layers = nn.ModuleList([*layers, nn.Sigmoid()])

    @torch.no_grad()
    def start_with_contrast(self) -> None:
        """Let every other filter of the last convolution light pixels up, and the others darken them.

        A pixel that no ReLU lights is grey, as there are no biases. Training first darkens the background, and from
        small weights all filters then end up negative: strokes are grey at most, for thousands of steps.
        """
        if len(self.layers) > 2:  # a single convolution reads codes of either sign
            weight = self.layers[-2].get_parameter("weight")
            weight[::2] += CONTRAST
            weight[1::2] -= CONTRAST

    def forward(self, codes: Tensor, num_particles: int = 1) -> Tensor:
        """Images in (0, 1), (images, height, width).

        Args:
            codes: (images, code), all of the first particle, then all of the second, and so on.
            num_particles: number of particles; in training each has its own batch statistics.
        """
        return _run(self.layers, codes[:, :, None, None], num_particles)[:, 0]


def check_side(name: str, side: int) -> None:
    """Refuse images that no number of halvings brings to 4 pixels.

    Args:
        name: what the size is of, for the message.
        side: height and width of an image, pixels.

    Raises:
        ValueError: unless the side is 4 * 2^n.
    """
    if side < SMALLEST_SIDE or side & (side - 1):
        raise ValueError(
            f"{name}: expected a side of {SMALLEST_SIDE} * 2^n pixels (4, 8, 16, 32, ...), which halvings bring to "
            f"{SMALLEST_SIDE}, got {side}; pad, crop or resize the images"
        )


def dcgan_weights(layer: nn.Module) -> None:
    """Weights as in the authors' code, in place: N(0, 0.02^2), in batch normalisation N(1, 0.02^2), zero biases.

    For `module.apply(dcgan_weights)`; recurrent layers are unchanged.

    Args:
        layer: one layer.
    """
    if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)):
        nn.init.normal_(layer.weight, 0.0, WEIGHT_SCALE)
    elif isinstance(layer, nn.BatchNorm2d):
        nn.init.normal_(layer.weight, 1.0, WEIGHT_SCALE)
    else:
        return
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)


def _channels(side: int, channels: int) -> list[int]:
    """Filters of each halving."""
    check_side("side", side)
    return [channels * 2**stage for stage in range((side // SMALLEST_SIDE).bit_length() - 1)]


def _run(layers: nn.ModuleList, images: Tensor, num_particles: int) -> Tensor:
    for layer in layers:
        images = layer(images, num_particles) if isinstance(layer, ParticleBatchNorm) else layer(images)
    return images
