"""Networks between frames and codes, by name: what models and guides use for "conv" and "mlp"."""

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from pyro_models.components.convolutions import ConvDecoder, ConvEncoder
from pyro_models.components.initial_weights import glorot
from videos.typed import Count, FrameShape, typed


def mlp(
    inputs: int,
    hidden: Sequence[int],
    outputs: int | None = None,
    activation: Callable[[], nn.Module] = nn.ReLU,
    output_bias: float = 0.0,
) -> nn.Sequential:
    """Fully connected layers with an activation after each hidden one, Glorot-uniform weights and zero biases.

    Args:
        inputs: size of the input.
        hidden: units of each hidden layer.
        outputs: size of a linear output layer, None = end with the last hidden layer.
        activation: class of the activation.
        output_bias: biases of the output layer, in place of zeros.
    """
    layers: list[nn.Module] = []
    for units in hidden:
        layers += [nn.Linear(inputs, units), activation()]
        inputs = units
    if outputs is not None:
        layers.append(nn.Linear(inputs, outputs))
    network = nn.Sequential(*layers)
    network.apply(glorot)
    if outputs is not None:
        nn.init.constant_(layers[-1].get_parameter("bias"), output_bias)
    return network


class MLPEncoder(nn.Module):
    """Features of single frames from fully connected ReLU layers.

    Args:
        frame_shape: (channels, height, width).
        hidden: units of each layer; the last is the size of the features.
    """

    @typed
    def __init__(self, frame_shape: FrameShape = (1, 32, 32), hidden: Sequence[Count] = (50, 50)) -> None:
        super().__init__()
        self.frame_shape = tuple(frame_shape)
        self.feature_dim = (prod(frame_shape), *hidden)[-1]
        self.network = mlp(prod(frame_shape), hidden)

    def forward(self, frames: Float[Tensor, "*batch channels height width"]) -> Float[Tensor, "*batch feature"]:
        """Features of each frame."""
        return self.network(frames.flatten(-3))


class MLPDecoder(nn.Module):
    """Frames from codes by fully connected ReLU layers; the output is unbounded: logits, or means of pixels.

    Args:
        code_dim: size of a code.
        frame_shape: (channels, height, width).
        hidden: units of each hidden layer.
    """

    @typed
    def __init__(
        self, code_dim: Count, frame_shape: FrameShape = (1, 32, 32), hidden: Sequence[Count] = (50, 50)
    ) -> None:
        super().__init__()
        self.code_dim = code_dim
        self.frame_shape = tuple(frame_shape)
        self.network = mlp(code_dim, hidden, prod(frame_shape))

    def forward(self, codes: Float[Tensor, "*batch code"]) -> Float[Tensor, "*batch channels height width"]:
        """A frame of unbounded values for each code."""
        return self.network(codes).unflatten(-1, self.frame_shape)


FRAME_ENCODERS: dict[str, Callable[..., nn.Module]] = {"conv": ConvEncoder, "mlp": MLPEncoder}
FRAME_DECODERS: dict[str, Callable[..., nn.Module]] = {"conv": ConvDecoder, "mlp": MLPDecoder}


def frame_encoder(network: str, frame_shape: FrameShape = (1, 32, 32), **options: Any) -> nn.Module:
    """A network (*batch, channels, height, width) -> (*batch, feature) with an attribute `feature_dim`.

    Args:
        network: "conv" (`ConvEncoder`) or "mlp" (`MLPEncoder`).
        frame_shape: (channels, height, width).
        **options: further arguments of its constructor, such as its width.

    Raises:
        ValueError: if the network is unknown.
    """
    return _named("frame encoder", FRAME_ENCODERS, network)(frame_shape, **options)


def frame_decoder(network: str, code_dim: int, frame_shape: FrameShape = (1, 32, 32), **options: Any) -> nn.Module:
    """A network (*batch, code) -> (*batch, channels, height, width), unbounded values.

    Args:
        network: "conv" (`ConvDecoder`) or "mlp" (`MLPDecoder`).
        code_dim: size of a code.
        frame_shape: (channels, height, width).
        **options: further arguments of its constructor, such as its width.

    Raises:
        ValueError: if the network is unknown.
    """
    return _named("frame decoder", FRAME_DECODERS, network)(code_dim, frame_shape, **options)


def _named(kind: str, registry: dict[str, Callable[..., nn.Module]], name: str) -> Callable[..., nn.Module]:
    if name not in registry:
        raise ValueError(f"{kind}: expected one of {', '.join(sorted(registry))}, got {name!r}")
    return registry[name]
