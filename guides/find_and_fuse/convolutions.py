"""Stacks of convolutions without padding, whose sizes follow from the frame."""

from collections.abc import Sequence
from typing import NamedTuple

from torch import nn

from pyro_models.components.initial_weights import glorot


class Convolution(NamedTuple):
    """A convolution, pooling, and ReLU.

    Attributes:
        channels: number of output channels.
        kernel: height and width of its kernel, pixels.
        pool: side of the squares whose largest value is kept; 1 = no pooling.
    """

    channels: int
    kernel: int
    pool: int = 1


def convolutions(
    layers: Sequence[Convolution], size: tuple[int, int], argument: str, channels: int = 1
) -> tuple[nn.Sequential, int]:
    """The layers, and the number of features that they leave of an image, flattened.

    Args:
        layers: in order.
        size: height and width of an image, pixels.
        argument: what messages call the layers.
        channels: of the image.

    Raises:
        ValueError: if the image is too small for a layer.
    """
    modules: list[nn.Module] = []
    height, width = size
    for number, layer in enumerate(layers, 1):
        height, width = size_after(layer, (height, width), f"{argument}, layer {number}", size)
        modules.append(nn.Conv2d(channels, layer.channels, layer.kernel))
        modules += [nn.MaxPool2d(layer.pool)] * (layer.pool > 1)  # the same before ReLU as after, and cheaper
        modules.append(nn.ReLU())
        channels = layer.channels
    return nn.Sequential(*modules, nn.Flatten()).apply(glorot), channels * height * width


def size_after(
    layer: Convolution, size: tuple[int, int], argument: str, frame_size: tuple[int, int]
) -> tuple[int, int]:
    """Height and width after a layer.

    Args:
        layer: the layer.
        size: height and width before it.
        argument: what messages call it.
        frame_size: height and width of a frame.

    Raises:
        ValueError: if nothing would be left.
    """
    height, width = ((side - layer.kernel + 1) // layer.pool for side in size)
    if min(height, width) < 1:
        raise ValueError(
            f"{argument}: expected an image that holds its kernel of {layer.kernel} x {layer.kernel} and a pool of "
            f"{layer.pool}, got {size[0]} x {size[1]} left of frames of {frame_size[0]} x {frame_size[1]}; give "
            "smaller kernels or fewer layers"
        )
    return height, width
