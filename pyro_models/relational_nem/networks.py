"""Networks between the images and the codes of slots: convolutions with layer normalisation."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from pyro_models.components.tiny_gradients import drop_tiny_gradients

KERNEL = 4


class SlotEncoder(nn.Module):
    """A code of each slot's residual: 4x4 convolutions of stride 2, then a fully connected layer, all LN and ELU.

    LN normalises all pixels and channels of an image together, with gain and bias per channel.

    Args:
        frame_size: (height, width), multiples of 2 to the number of convolutions.
        channels: filters of each convolution.
        code_dim: size of a code.
    """

    def __init__(self, frame_size: tuple[int, int], channels: Sequence[int], code_dim: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        before = 1
        for filters in channels:
            layers += [nn.Conv2d(before, filters, KERNEL, stride=2, padding=1), nn.GroupNorm(1, filters), nn.ELU()]
            before = filters
        self.convolutions = nn.Sequential(*layers)
        pixels = (frame_size[0] >> len(channels)) * (frame_size[1] >> len(channels))
        self.code = nn.Sequential(nn.Linear(before * pixels, code_dim), nn.LayerNorm(code_dim), nn.ELU())

    def forward(
        self, residuals: Float[Tensor, "sequences slots height width"]
    ) -> Float[Tensor, "sequences slots code"]:
        """A code of each slot."""
        images = self.convolutions(residuals.flatten(0, 1).unsqueeze(1))
        return self.code(images.flatten(1)).unflatten(0, residuals.shape[:2])


class SlotDecoder(nn.Module):
    """Each slot's prediction: two fully connected layers, then 4x4 convolutions of images that double; all LN and ReLU.

    Each convolution follows a doubling of height and width by repetition; the last has one filter and no LN.

    Args:
        state_dim: size of a slot's output.
        frame_size: (height, width), multiples of 2 to the number of convolutions.
        channels: those of the encoder; the decoder's images have them in reverse.
        hidden: units of the first layer.
    """

    def __init__(self, state_dim: int, frame_size: tuple[int, int], channels: Sequence[int], hidden: int) -> None:
        super().__init__()
        self.seed_shape = (channels[-1], frame_size[0] >> len(channels), frame_size[1] >> len(channels))
        seeds = self.seed_shape[0] * self.seed_shape[1] * self.seed_shape[2]
        self.seed = nn.Sequential(
            *(nn.Linear(state_dim, hidden), nn.LayerNorm(hidden), nn.ReLU()),
            *(nn.Linear(hidden, seeds), nn.LayerNorm(seeds), nn.ReLU()),
        )
        layers: list[nn.Module] = []
        filters = tuple(reversed(channels))
        for before, after in zip(filters, filters[1:], strict=False):
            layers += [DoublingConv(before, after), nn.GroupNorm(1, after), nn.ReLU()]
        self.convolutions = nn.Sequential(*layers, DoublingConv(filters[-1], 1))

    def forward(self, outputs: Float[Tensor, "sequences slots state"]) -> Float[Tensor, "sequences slots height width"]:
        """Logits of the slots' pixels."""
        images = self.convolutions(self.seed(outputs.flatten(0, 1)).unflatten(1, self.seed_shape))
        return drop_tiny_gradients(images.squeeze(1)).unflatten(0, outputs.shape[:2])


class DoublingConv(nn.Conv2d):
    """A 4x4 convolution of an image whose height and width are doubled by repeating pixels.

    The padding is TensorFlow's "SAME": one pixel above and left, two below and right. The doubled image is never made:
    each of its 2x2 phases sees at most 3x3 pixels of the small one, weighted by sums of the 4x4 weights, so that one
    3x3 convolution with four times the filters, and a shuffle, do the same with 9/16 of the multiplications.

    Args:
        in_channels: channels of the image.
        out_channels: filters.
    """

    sums: Tensor

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels, KERNEL)
        # By phase, pixel of the small image, and tap: phase 0 sees doubled pixels 2i - 1 to 2i + 2, phase 1 the next
        first = [[1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 1.0, 0.0], [0.0, 0.0, 0.0, 1.0]]
        second = [[0.0, 0.0, 0.0, 0.0], [1.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 1.0]]
        self.register_buffer("sums", torch.tensor([first, second]), persistent=False)

    def forward(
        self, input: Float[Tensor, "batch channels height width"]
    ) -> Float[Tensor, "batch filters rows columns"]:
        """The convolved image, twice as high and wide."""
        weight = torch.einsum("aiu,bjv,ocuv->oabcij", self.sums, self.sums, self.weight).flatten(0, 2)
        bias = None if self.bias is None else self.bias.repeat_interleave(4)
        return F.pixel_shuffle(F.conv2d(input, weight, bias, padding=1), 2)
