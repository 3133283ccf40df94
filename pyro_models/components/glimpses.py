"""Windows of an image: reading them as small glimpses, and pasting glimpses back.

A window has its own coordinates, a scale and a middle per axis. A point g of the glimpse, in [-1, 1] from the middle of
its first to that of its last pixel, lies at

    i = scale * g + shift

of the image, also in [-1, 1] (the spatial transformer of Jaderberg et al. 2015 without rotation, with
`align_corners=True` and zeros outside). So the scale is the share of the image that a window spans, and the shift is
the position of its middle. The axes are separate, and so is bilinear interpolation: pasting a glimpse takes two matrix
products, rows times glimpse times columns, whose gradients are deterministic on a GPU.
"""

from dataclasses import dataclass
from math import prod

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import grid_sample

SMALLEST_SCALE = 1e-2  # lower limit of a window's scale as a divisor


@dataclass(frozen=True)
class Windows:
    """Positions and sizes of windows, x before y.

    Attributes:
        scale: (*batch, 2), share of the image's width and height that a window spans, in (0, 1).
        shift: (*batch, 2), middle of the window, -1 at the middle of the image's first pixel, 1 at that of its last.
    """

    scale: Float[Tensor, "*batch 2"]
    shift: Float[Tensor, "*batch 2"]

    @classmethod
    def from_logits(cls, where: Tensor) -> "Windows":
        """Windows from unbounded numbers: scales are sigmoids, shifts are hyperbolic tangents.

        Args:
            where: (*batch, 3) with one scale for both axes, then x and y; or (*batch, 4) with a scale for each.

        Raises:
            ValueError: if the last dim is neither 3 nor 4.
        """
        if where.shape[-1] not in (3, 4):
            raise ValueError(f"where: expected 3 or 4 numbers a window, got shape {tuple(where.shape)}")
        scale = where[..., :-2].sigmoid()
        return cls(scale.expand(*where.shape[:-1], 2), where[..., -2:].tanh())

    def middles(self, height: int, width: int) -> Float[Tensor, "*batch 2"]:
        """Middles in pixels, (x, y), from the middle of the image's top left pixel."""
        return 0.5 * (self.shift + 1) * self.shift.new_tensor([width - 1, height - 1])

    def sizes(self, height: int, width: int) -> Float[Tensor, "*batch 2"]:
        """Widths and heights in pixels, between the outer edges of the outermost pixels."""
        return self.scale * self.scale.new_tensor([width - 1, height - 1]) + 1


def read_glimpses(
    images: Float[Tensor, "... height width"], windows: Windows, size: tuple[int, int], *, channels: bool = False
) -> Float[Tensor, "... glimpse_height glimpse_width"]:
    """The glimpses of images through windows.

    Args:
        images: broadcast against the windows; those that lack dims on the left, such as particles, are not copied.
        windows: one for each image.
        size: height and width of a glimpse, pixels.
        channels: whether images, and so glimpses, have channels before their height.
    """
    dims = 3 if channels else 2
    kinds = images.shape[-dims:-2]
    batch = torch.broadcast_shapes(images.shape[:-dims], windows.scale.shape[:-1])
    others, own = batch[: len(batch) - images.dim() + dims], batch[len(batch) - images.dim() + dims :]
    num_looks, num_images = prod(others), prod(own)
    scale, shift = (
        value.expand(*batch, 2).reshape(num_looks, num_images, 2).transpose(0, 1).unbind(-1)
        for value in (windows.scale, windows.shift)
    )
    columns, rows = (
        scale[axis][..., None] * torch.linspace(-1, 1, num, dtype=images.dtype, device=images.device)
        + shift[axis][..., None]
        for axis, num in enumerate(reversed(size))
    )
    points = torch.stack(torch.broadcast_tensors(columns[..., None, :], rows[..., :, None]), -1)
    images = images.expand(*own, *images.shape[-dims:]).reshape(num_images, prod(kinds), *images.shape[-2:])
    # all glimpses of an image are computed as one tall one
    glimpses = grid_sample(images, points.flatten(1, 2), align_corners=True)
    glimpses = glimpses.reshape(num_images, prod(kinds), num_looks, *size)
    return glimpses.permute(2, 0, 1, 3, 4).reshape(*batch, *kinds, *size)


def paste_glimpses(
    glimpses: Float[Tensor, "... glimpse_height glimpse_width"], windows: Windows, size: tuple[int, int]
) -> Float[Tensor, "... height width"]:
    """Images that are black except for the glimpses at their windows: the inverse map, g = (i - shift) / scale.

    Args:
        glimpses: one for each window.
        windows: their positions.
        size: height and width of an image, pixels.
    """
    columns, rows = _inverse_interpolations(windows, (glimpses.shape[-2], glimpses.shape[-1]), size)
    return rows @ glimpses @ columns.mT


def paste_and_add(
    glimpses: Float[Tensor, "... objects glimpse_height glimpse_width"],
    windows: Windows,
    size: tuple[int, int],
    *,
    channels: bool = False,
) -> Float[Tensor, "... height width"]:
    """The sum over objects of `paste_glimpses`, without an image for each.

    Args:
        glimpses: one for each window.
        windows: their positions, (..., objects).
        size: height and width of an image, pixels.
        channels: whether glimpses, and so images, have channels before their height.
    """
    columns, rows = _inverse_interpolations(windows, (glimpses.shape[-2], glimpses.shape[-1]), size)
    rows = rows.transpose(-3, -2).flatten(-2)
    if not channels:
        return rows @ (glimpses @ columns.mT).flatten(-3, -2)
    # channels side by side: one product for all of them
    placed = (glimpses @ columns.mT.unsqueeze(-3)).transpose(-3, -2).flatten(-2).flatten(-3, -2)
    return (rows @ placed).unflatten(-1, (glimpses.shape[-3], size[1])).transpose(-3, -2)


def cover(
    weights: Float[Tensor, "... objects"], windows: Windows, glimpse_size: tuple[int, int], size: tuple[int, int]
) -> Float[Tensor, "... height width"]:
    """`paste_and_add` of constant glimpses: for weights of one, the number of windows that cover each pixel.

    Args:
        weights: weight of each object's window.
        windows: windows of the objects.
        glimpse_size: height and width of a glimpse, pixels.
        size: height and width of an image, pixels.
    """
    scale, shift = _inverse(windows)
    columns = _inside(scale[..., 0], shift[..., 0], size[1], glimpse_size[1])
    rows = _inside(scale[..., 1], shift[..., 1], size[0], glimpse_size[0])
    return rows.mT @ (weights.unsqueeze(-1) * columns)


def _inverse(windows: Windows) -> tuple[Float[Tensor, "... 2"], Float[Tensor, "... 2"]]:
    """Scale and shift from an image's coordinates to the glimpse's."""
    scale = windows.scale.clamp(min=SMALLEST_SCALE)
    return 1 / scale, -windows.shift / scale


def _inverse_interpolations(
    windows: Windows, glimpse_size: tuple[int, int], size: tuple[int, int]
) -> tuple[Float[Tensor, "... width glimpse_width"], Float[Tensor, "... height glimpse_height"]]:
    """Weights of a glimpse's columns and rows in the image's columns and rows."""
    scale, shift = _inverse(windows)
    columns = _interpolation(scale[..., 0], shift[..., 0], size[1], glimpse_size[1])
    rows = _interpolation(scale[..., 1], shift[..., 1], size[0], glimpse_size[0])
    return columns, rows


def _interpolation(
    scale: Float[Tensor, "*batch"], shift: Float[Tensor, "*batch"], num_targets: int, num_sources: int
) -> Float[Tensor, "*batch targets sources"]:
    """Weight of each source pixel in each target pixel of a line: a hat as wide as two source pixels."""
    place = _places(scale, shift, num_targets, num_sources)
    sources = torch.arange(num_sources, dtype=scale.dtype, device=scale.device)
    return (1 - (place[..., None] - sources).abs()).relu()


def _inside(
    scale: Float[Tensor, "*batch"], shift: Float[Tensor, "*batch"], num_targets: int, num_sources: int
) -> Float[Tensor, "*batch targets"]:
    """The sum of `_interpolation` over source pixels: 1 between the first and the last, 0 from one pixel beyond."""
    place = _places(scale, shift, num_targets, num_sources)
    return torch.minimum(place + 1, num_sources - place).clamp(0, 1)


def _places(
    scale: Float[Tensor, "*batch"], shift: Float[Tensor, "*batch"], num_targets: int, num_sources: int
) -> Float[Tensor, "*batch targets"]:
    """Positions of target pixels on a line of source pixels, in pixels from the middle of the first."""
    targets = torch.linspace(-1, 1, num_targets, dtype=scale.dtype, device=scale.device)
    return 0.5 * (scale[..., None] * targets + shift[..., None] + 1) * (num_sources - 1)
