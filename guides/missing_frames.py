"""A guide's distribution at a step whose frame is missing: the model's prior."""

import pyro.distributions as dist
import torch
from jaxtyping import Bool
from torch import Tensor


def where_seen(
    seen: Bool[Tensor, "*steps"] | None, distribution: dist.Independent, prior: dist.Independent
) -> dist.Independent:
    """The guide's distribution where a frame is seen, the model's elsewhere; both diagonal Gaussians.

    Args:
        seen: broadcasts against the batch dims of the distributions; None = everywhere.
        distribution: the guide's, one event dim.
        prior: the model's distribution.
    """
    if seen is None:
        return distribution
    mean = torch.where(seen[..., None], distribution.mean, prior.mean)
    return dist.Normal(mean, torch.where(seen[..., None], distribution.stddev, prior.stddev)).to_event(1)
