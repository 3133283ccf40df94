"""Noise that tells slots apart: of a draw before a refinement, and of where slots start."""

from functools import cache

import torch
from jaxtyping import Float
from torch import Tensor

from guides.aside import normal_aside


def noise_like(
    like: Float[Tensor, "*batch slots sequences latent"], number: int, fixed: bool, start: int = 0
) -> Float[Tensor, "*batch slots sequences latent"]:
    """Standard normal numbers for the draw before a refinement.

    Args:
        like: has the shape, dtype and device of the result.
        number: of the refinement, from 0.
        fixed: whether they are always the same, and the same for all sequences; those of a slot do not depend on how
            many there are. Else they are drawn aside.
        start: number of the start, for fixed ones.
    """
    if not fixed:
        return normal_aside(like)
    slots, size = like.shape[-3], like.shape[-1]
    return fixed_normals(number, slots, size, start).to(like)[:, None].expand_as(like)


@cache
def fixed_normals(number: int, slots: int, size: int, start: int = 0) -> Tensor:
    """Always the same standard normal numbers, (slots, size)."""
    seeds = [1_000_000 * start + 1000 * number + slot for slot in range(slots)]
    return torch.stack([torch.randn(size, generator=torch.Generator().manual_seed(seed)) for seed in seeds])


def apart(noise: Float[Tensor, "*batch slots sequences latent"]) -> Float[Tensor, "*batch slots sequences latent"]:
    """Orthogonal vectors of length sqrt(latent), one for each slot, in random directions where the noise is normal.

    The first vector has the direction of the first slot's noise, the next that of its part orthogonal to the first, and
    so on; as many slots as the latent has entries are orthogonal to one another, and so are as many that follow.
    """
    size, precision = noise.shape[-1], torch.promote_types(noise.dtype, torch.float32)
    parts = []
    for part in noise.split(size, -3):
        basis, triangle = torch.linalg.qr(part.movedim(-3, -1).to(precision))
        signs = torch.where(triangle.diagonal(dim1=-2, dim2=-1) < 0, -1.0, 1.0)
        parts.append((size**0.5 * signs.unsqueeze(-2) * basis).to(noise).movedim(-1, -3))
    return torch.cat(parts, -3)
