"""Pictures and masks of slots: a code is written at every place of a grid, next to its coordinates."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import conv2d, linear

from pyro_models.components.frame_networks import mlp
from pyro_models.components.initial_weights import glorot
from videos.typed import Count, CountOrZero, FrameShape, typed


class SlotPictures(NamedTuple):
    """What slots draw.

    Attributes:
        means: pictures.
        logits: of the masks, before the softmax over slots.
    """

    means: Float[Tensor, "*batch channels height width"]
    logits: Float[Tensor, "*batch height width"]


class BroadcastDecoder(nn.Module):
    """A spatial broadcast decoder (Watters et al. 2019), given the slot's memory (Zablotskaia et al. 2020)::

        e = ELU(W_2 ELU(W_1 [z, h]));      means, logits = convolutions([e at every place, x, y])

    By default 3 x 3 convolutions at the size of the frame, as in the paper. With `halvings` the grid is smaller, its
    first layer looks at single places, as a code is the same at all of them, and transposed convolutions double it,
    each with half as many filters.

    The first layer is linear in a code and coordinates, the code is the same everywhere, and coordinates are the same
    for all codes: so it is computed at nine places for each code (corners, sides and inside differ by the padding), and
    at all places once. Images lie in memory with their channels last.

    Args:
        frame_shape: (channels, height, width).
        latent_dim: size of z.
        memory_dim: size of h; 0 = codes are decoded as they are, as in IODINE.
        channels: filters of each layer before the first doubling.
        layers: hidden convolutions.
        halvings: how often a grid cell's side is doubled before it is a pixel's.
        bounded: whether means are in [0, 1], through a sigmoid, as in the paper. Where most pixels are black, all slots
            may saturate there before any has found an object; unbounded means, as in IODINE, do not.

    Raises:
        ValueError: if the frame or the channels cannot be halved so often, or too few layers are left.
    """

    code: nn.Sequential | None
    places: Tensor

    @typed
    def __init__(
        self,
        frame_shape: FrameShape = (3, 64, 64),
        latent_dim: Count = 64,
        memory_dim: CountOrZero = 128,
        *,
        channels: Count = 64,
        layers: Count = 4,
        halvings: CountOrZero = 0,
        bounded: bool = True,
    ) -> None:
        super().__init__()
        height, width = frame_shape[1:]
        cell = 2**halvings
        if height % cell or width % cell:
            raise ValueError(f"halvings: expected sides of {height} x {width} to be multiples of {cell}")
        if channels % cell:
            raise ValueError(f"channels: expected a multiple of {cell} for {halvings} halvings, got {channels}")
        if not 0 <= halvings < layers:
            raise ValueError(f"halvings: expected 0 to {layers - 1}, fewer than layers, got {halvings}")
        self.frame_shape = frame_shape
        self.latent_dim = latent_dim
        self.memory_dim = memory_dim
        self.bounded = bounded
        units = (latent_dim, latent_dim)
        self.code = mlp(latent_dim + memory_dim, units, activation=nn.ELU) if memory_dim else None
        self.grid = (height // cell, width // cell)
        x, y = (torch.linspace(-1, 1, size) for size in (width // cell, height // cell))
        self.register_buffer("places", torch.stack(torch.meshgrid(x, y, indexing="xy")), persistent=False)
        side = 3 if halvings == 0 else 1
        modules: list[nn.Module] = [nn.Conv2d(latent_dim + 2, channels, side, padding=side // 2)]
        modules.append(nn.ELU(inplace=True))
        for _ in range(layers - 1 - halvings):
            modules += [nn.Conv2d(channels, channels, 3, padding=1), nn.ELU(inplace=True)]
        for _ in range(halvings):
            modules += [nn.ConvTranspose2d(channels, channels // 2, 4, stride=2, padding=1), nn.ELU(inplace=True)]
            channels //= 2
        self.convolutions = nn.Sequential(*modules, nn.Conv2d(channels, frame_shape[0] + 1, 3, padding=1)).apply(glorot)

    def forward(
        self, latent: Float[Tensor, "*batch latent"], memory: Float[Tensor, "*batch memory"] | None = None
    ) -> SlotPictures:
        """Pictures of slots, each by itself.

        Args:
            latent: z.
            memory: h; None for a decoder without.
        """
        code = latent
        if self.code is not None:
            assert memory is not None
            code = self.code(torch.cat([latent, memory], -1))
        first, *others = self.convolutions.children()
        assert isinstance(first, nn.Conv2d)
        drawn = self._first_layer(first, code.reshape(-1, code.shape[-1]))
        for layer in others:
            drawn = layer(drawn)
        drawn = drawn.contiguous().reshape(*code.shape[:-1], *drawn.shape[1:])
        means = drawn[..., :-1, :, :]
        return SlotPictures(means.sigmoid() if self.bounded else means, drawn[..., -1, :, :])

    def _first_layer(
        self, first: nn.Conv2d, code: Float[Tensor, "batch latent"]
    ) -> Float[Tensor, "batch channels rows columns"]:
        """The first convolution of [x, y, code at every place], with channels last."""
        by_place, by_code = first.weight.tensor_split([len(self.places)], 1)
        of_places = conv2d(self.places[None], by_place, first.bias, padding=first.padding)
        of_places = of_places.permute(0, 2, 3, 1).contiguous()
        if first.kernel_size == (1, 1):
            return (linear(code, by_code.flatten(1))[:, None, None] + of_places).permute(0, 3, 1, 2)
        height, width = self.grid
        few = code[:, :, None, None].expand(-1, -1, min(height, 3), min(width, 3))
        of_code = conv2d(few, by_code, padding=first.padding).permute(0, 2, 3, 1).contiguous()
        return (_widened(_widened(of_code, width, 2), height, 1) + of_places).permute(0, 3, 1, 2)


def _widened(image: Tensor, size: int, dim: int) -> Tensor:
    """The image with its second row (or column) repeated, so that there are as many as wanted."""
    if size <= 3:
        return image
    first, inner, last = image.split(1, dim)
    shape = [-1] * image.dim()
    shape[dim] = size - 2
    return torch.cat([first, inner.expand(shape), last], dim)
