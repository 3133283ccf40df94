"""Some of the frames of a video that are seen, and distributions where there are none."""

import pyro.distributions as dist
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from pyro_models.vtssi.gaussians import Gaussian


def first_seen(
    images: Float[Tensor, "sequences time height width"], seen: Bool[Tensor, "sequences time"] | None, count: int
) -> tuple[Float[Tensor, "frames sequences height width"], Bool[Tensor, "frames sequences"]]:
    """The first frames of each sequence that are seen, and which of them there are.

    Args:
        images: frames, zero where missing.
        seen: False where a frame is missing; None = all are seen.
        count: how many; a shorter video has as many as its frames.
    """
    if seen is None:
        firsts = images[:, :count].transpose(0, 1)
        return firsts, torch.ones_like(firsts[..., 0, 0], dtype=torch.bool)
    order = (~seen).to(torch.uint8).argsort(dim=1, stable=True)[:, :count]
    firsts = images.gather(1, order[..., None, None].expand(-1, -1, *images.shape[2:]))
    return firsts.transpose(0, 1), seen.gather(1, order).T


def spread_seen(
    images: Float[Tensor, "sequences time height width"], seen: Bool[Tensor, "sequences time"] | None, count: int
) -> tuple[Float[Tensor, "frames sequences height width"], Bool[Tensor, "frames sequences"]]:
    """The same number of frames, evenly spread over those that are seen, from the first to the last of them.

    Args:
        images: frames, zero where missing.
        seen: False where a frame is missing; None = all are seen.
        count: how many; where fewer are seen, those.
    """
    every, valid = first_seen(images, seen, images.shape[1])
    count, number = min(count, len(every)), valid.sum(0)
    shares = torch.linspace(0, 1, count, dtype=torch.float64, device=images.device)[:, None]
    spread = (shares * (number - 1).clamp(min=0)).round().long()
    rank = torch.arange(count, device=images.device)[:, None]
    index = torch.where(number >= count, spread, rank)
    return every.gather(0, index[..., None, None].expand(-1, -1, *every.shape[2:])), valid.gather(0, index)


def where_counted(seen: Bool[Tensor, "..."] | None, count: Gaussian, prior: dist.Normal) -> dist.Normal:
    """The guide's distribution of c where a frame is seen, the model's elsewhere.

    Args:
        seen: broadcasts against c; None = everywhere.
        count: the guide's mean and standard deviation.
        prior: the model's distribution.
    """
    if seen is None:
        return dist.Normal(count.loc, count.scale)
    return dist.Normal(torch.where(seen, count.loc, prior.loc), torch.where(seen, count.scale, prior.scale))
