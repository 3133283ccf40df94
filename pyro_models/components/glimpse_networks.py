"""Networks between images or glimpses and codes, in two kinds: "mlp" and "conv" (Kosiorek et al. 2018, appendix D)."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from jaxtyping import Float
from torch import Tensor, nn

from pyro_models.components.frame_networks import mlp
from pyro_models.components.initial_weights import glorot

KINDS = ("mlp", "conv")
Size = tuple[int, int]
Shape = Size | tuple[int, int, int]
"""Height and width of images with one channel, without a dim for it; or channels, height and width."""


@dataclass(frozen=True)
class GlimpseNetworks:
    """Sizes of all networks that read or draw pixels.

    Attributes:
        kind: "mlp": fully connected; "conv": one stack of convolutions shared by images and glimpses, followed by a
            separate layer for each, and sub-pixel convolutions back to glimpses.
        units: units of every fully connected layer.
        channels: channels of the reading convolutions.
        strides: strides of the reading convolutions.
        decoder_units: units of the fully connected layers before the drawing convolutions; the last one's output is
            reshaped to a small image.
        decoder_channels: channels of the drawing convolutions.
        decoder_strides: whether each of them doubles the sides of its image (2) or not (1).
    """

    kind: str = "mlp"
    units: int = 256
    channels: tuple[int, ...] = (16, 32, 32, 64)
    strides: tuple[int, ...] = (2, 2, 1, 1)
    decoder_units: int = 256
    decoder_channels: tuple[int, ...] = (32, 32, 64, 64)
    decoder_strides: tuple[int, ...] = (1, 2, 2)

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"kind: expected one of {', '.join(KINDS)}, got {self.kind!r}")

    def encoders(self, *sizes: Shape) -> list[nn.Module]:
        """Encoders (*batch, *size) -> (*batch, units) of images of these sizes.

        Convolutions are shared between the sizes, which have the same number of channels.
        """
        if self.kind == "mlp":
            return [MLPGlimpseEncoder(size, (self.units, self.units)) for size in sizes]
        shared = convolution_stack(self.channels, self.strides, channels_of(sizes[0]))
        return [ConvGlimpseEncoder(size, shared, self.channels[-1], self.strides, self.units) for size in sizes]

    def decoder(self, code_dim: int, size: Shape) -> nn.Module:
        """A decoder (*batch, code) -> (*batch, *size), unbounded."""
        if self.kind == "mlp":
            return MLPGlimpseDecoder(code_dim, size, (self.units, self.units))
        return ConvGlimpseDecoder(code_dim, size, self.decoder_units, self.decoder_channels, self.decoder_strides)


class MLPGlimpseEncoder(nn.Module):
    """Fully connected layers with ELU after each.

    Args:
        size: shape of an image.
        hidden: units of each layer.
    """

    def __init__(self, size: Shape, hidden: Sequence[int]) -> None:
        super().__init__()
        self.size = size
        self.layers = mlp(prod(size), hidden, activation=nn.ELU)

    def forward(self, images: Float[Tensor, "..."]) -> Float[Tensor, "*batch feature"]:
        """Features of images, (*batch, *size)."""
        return self.layers(images.flatten(-len(self.size)))


class MLPGlimpseDecoder(nn.Module):
    """Fully connected layers with ELU between them.

    Args:
        code_dim: size of a code.
        size: shape of a glimpse.
        hidden: units of each hidden layer.
    """

    def __init__(self, code_dim: int, size: Shape, hidden: Sequence[int]) -> None:
        super().__init__()
        self.size = size
        self.layers = mlp(code_dim, hidden, prod(size), activation=nn.ELU)

    def forward(self, codes: Float[Tensor, "*batch code"]) -> Float[Tensor, "..."]:
        """Glimpses, (*batch, *size)."""
        return self.layers(codes).unflatten(-1, self.size)


class ConvGlimpseEncoder(nn.Module):
    """Convolutions, then one fully connected layer, ELU after each.

    Args:
        size: shape of an image.
        convolutions: shared with other encoders.
        channels: channels of the last convolution.
        strides: strides of all convolutions.
        units: units of the last layer.
    """

    def __init__(self, size: Shape, convolutions: nn.Module, channels: int, strides: Sequence[int], units: int) -> None:
        super().__init__()
        height, width = size[-2:]
        for stride in strides:
            height, width = -(-height // stride), -(-width // stride)
        self.size = size
        self.convolutions = convolutions
        self.features = mlp(channels * height * width, (units,), activation=nn.ELU)

    def forward(self, images: Float[Tensor, "..."]) -> Float[Tensor, "*batch feature"]:
        """Features of images, (*batch, *size)."""
        batch = images.shape[: -len(self.size)]
        maps = self.convolutions(images.reshape(-1, channels_of(self.size), *images.shape[-2:]))
        return self.features(maps.flatten(1)).reshape(*batch, -1)


class ConvGlimpseDecoder(nn.Module):
    """Two fully connected layers to a small image, then sub-pixel convolutions (Shi et al. 2016), ELU after each.

    Args:
        code_dim: size of a code.
        size: shape of a glimpse.
        units: units of the first layer.
        channels: channels of the small image, and of each convolution after it.
        strides: stride of each convolution, 1 or the factor by which it enlarges its image.

    Raises:
        ValueError: if the strides do not divide the size, or their number is not that of the channels after the first.
    """

    def __init__(self, code_dim: int, size: Shape, units: int, channels: Sequence[int], strides: Sequence[int]) -> None:
        super().__init__()
        factor, (height, width) = prod(strides), size[-2:]
        if len(channels) != len(strides) + 1 or height % factor or width % factor:
            raise ValueError(
                f"strides: expected one for each of the {len(channels) - 1} convolutions whose product divides the "
                f"glimpse's sides {(height, width)}, got {tuple(strides)}"
            )
        self.size = size
        self.seed_shape = (channels[0], height // factor, width // factor)
        self.seed = mlp(code_dim, (units, prod(self.seed_shape)), activation=nn.ELU)
        layers: list[nn.Module] = []
        for before, after, stride in zip(channels, channels[1:], strides, strict=False):
            layers += [nn.Conv2d(before, after * stride**2, 3, padding=1), nn.PixelShuffle(stride), nn.ELU()]
        last = nn.Conv2d(channels[-1], channels_of(size), 3, padding=1)
        self.convolutions = nn.Sequential(*layers, last).apply(glorot)

    def forward(self, codes: Float[Tensor, "*batch code"]) -> Float[Tensor, "..."]:
        """Glimpses, (*batch, *size)."""
        images = self.seed(codes).reshape(-1, *self.seed_shape)
        glimpses = self.convolutions(images)
        return glimpses.reshape(*codes.shape[:-1], *self.size)


def channels_of(size: Shape) -> int:
    """Channels of images of this shape."""
    return size[0] if len(size) == 3 else 1


def convolution_stack(channels: Sequence[int], strides: Sequence[int], before: int = 1) -> nn.Sequential:
    """3 x 3 convolutions of images with `before` channels, ELU after each."""
    layers: list[nn.Module] = []
    for after, stride in zip(channels, strides, strict=True):
        layers += [nn.Conv2d(before, after, 3, stride=stride, padding=1), nn.ELU()]
        before = after
    return nn.Sequential(*layers).apply(glorot)
