"""Locate discs in pictures: object positions for models without position latents."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from videos.typed import typed


@typed
def find_discs(
    pictures: Float[Tensor, "*batch height width"], count: int, radius: int = 2
) -> Float[Tensor, "*batch count 2"]:
    """Find the brightest disc, remove it, find the next, and so on (matching pursuit).

    A disc is found at the pixel with the most light within the radius, and its place is the centre of that light; ties
    go to the first pixel.

    Args:
        pictures: expected frames, (*batch, height, width), not negative.
        count: number of discs to find, even if there are fewer.
        radius: radius of a disc, pixels.

    Returns:
        Places (*batch, count, 2), (x, y) in pixels, the brightest first.

    Raises:
        ValueError: if pictures are not as described, `count` is not positive, or a disc does not fit into a picture.
    """
    if pictures.dim() < 2 or 0 in pictures.shape:
        raise ValueError(f"pictures: expected (*batch, height, width), none of them 0, got {tuple(pictures.shape)}")
    if not bool(pictures.isfinite().all()):
        raise ValueError("pictures: expected finite values, got NaN or infinite ones; leave those pictures out")
    height, width = pictures.shape[-2:]
    if count < 1 or radius < 0 or min(height, width) <= 2 * radius:
        raise ValueError(
            f"count, radius: expected at least 1 disc that fits into {height} x {width} pixels, "
            f"got count={count}, radius={radius}"
        )
    light = pictures.reshape(-1, height, width).double()
    across = torch.arange(-radius, radius + 1, dtype=light.dtype, device=light.device)
    disc = (across[:, None].square() + across.square() <= radius**2).to(light)[None, None]
    rows = torch.arange(height, dtype=light.dtype, device=light.device)[:, None]
    columns = torch.arange(width, dtype=light.dtype, device=light.device)
    found = []
    for _ in range(count):
        # rounded: rounding errors of sums must not break ties between equally bright discs
        brightness = nn.functional.conv2d(light[:, None], disc, padding=radius).mul(1e9).round()
        brightest = brightness.flatten(1).argmax(-1)[:, None, None]
        row, column = brightest // width, brightest % width
        inside = (rows - row).square() + (columns - column).square() <= radius**2
        share = torch.where(inside, light, 0.0)
        total = share.sum((-2, -1)).clamp(min=torch.finfo(light.dtype).tiny)
        x = column[:, 0, 0] + (share * (columns - column)).sum((-2, -1)) / total
        y = row[:, 0, 0] + (share * (rows - row)).sum((-2, -1)) / total
        found.append(torch.stack([x, y], -1))
        light = torch.where(inside, 0.0, light)
    return torch.stack(found, 1).reshape(*pictures.shape[:-2], count, 2).to(pictures)
