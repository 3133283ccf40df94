"""Convolutional encoder of whole frames, and its mirror image as decoder (Kosiorek et al. 2018, D.3)."""

from collections.abc import Sequence
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor, nn

from pyro_models.components.frame_networks import mlp
from pyro_models.components.glimpse_networks import ConvGlimpseEncoder, Size, convolution_stack
from pyro_models.components.initial_weights import glorot


@dataclass(frozen=True)
class MirroredConvolutions:
    """Sizes of a pair of networks, of 3 x 3 convolutions with ELU after each.

    Attributes:
        units: units of the fully connected layers between codes and convolutions.
        channels: channels of the encoder's convolutions.
        strides: strides of the encoder's convolutions.
    """

    units: int = 256
    channels: tuple[int, ...] = (32, 32, 32, 64, 64, 64)
    strides: tuple[int, ...] = (1, 2, 1, 2, 1, 2)

    def encoder(self, size: Size) -> nn.Module:
        """An encoder (*batch, height, width) -> (*batch, units) of one-channel frames of this size."""
        layers = convolution_stack(self.channels, self.strides)
        return ConvGlimpseEncoder(size, layers, self.channels[-1], self.strides, self.units)

    def decoder(self, code_dim: int, size: Size) -> nn.Module:
        """A decoder (*batch, code) -> (*batch, height, width), unbounded."""
        return MirroredDecoder(code_dim, size, self.units, self.channels, self.strides)


class MirroredDecoder(nn.Module):
    """Two fully connected layers to a small image, then the transposed convolutions of an encoder, last one first.

    Images have the sizes of the encoder's, in reverse; ELU after each layer but the last.

    Args:
        code_dim: size of a code.
        size: height and width of a frame.
        units: units of the first layer.
        channels: channels of the encoder's convolutions.
        strides: strides of the encoder's convolutions.
    """

    def __init__(self, code_dim: int, size: Size, units: int, channels: Sequence[int], strides: Sequence[int]) -> None:
        super().__init__()
        sizes = [size]
        for stride in strides:
            height, width = sizes[-1]
            sizes.append((-(-height // stride), -(-width // stride)))
        (height, width), last = sizes[-1], channels[-1]
        self.seed = nn.Sequential(
            mlp(code_dim, (units, last * height * width), activation=nn.ELU), nn.Unflatten(-1, (last, height, width))
        )
        layers: list[nn.Module] = []
        for place in reversed(range(len(channels))):
            small, large, stride = sizes[place + 1], sizes[place], strides[place]
            missing = (large[0] - stride * (small[0] - 1) - 1, large[1] - stride * (small[1] - 1) - 1)
            before = channels[place - 1] if place else 1
            layers += [nn.ConvTranspose2d(channels[place], before, 3, stride, 1, missing), nn.ELU()]
        self.convolutions = nn.Sequential(*layers[:-1]).apply(glorot)

    def forward(self, codes: Float[Tensor, "*batch code"]) -> Float[Tensor, "*batch height width"]:
        """Means of frames."""
        frames = self.convolutions(self.seed(codes.reshape(-1, codes.shape[-1])))
        return frames.reshape(*codes.shape[:-1], *frames.shape[-2:])
