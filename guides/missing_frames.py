"""What a guide says of a step whose frame is missing: what the model says."""

import pyro.distributions as dist
import torch
from jaxtyping import Bool
from torch import Tensor


def where_seen(seen: Bool[Tensor, "*steps"] | None, law: dist.Independent, prior: dist.Independent) -> dist.Independent:
    """The guide's law where a frame is seen, the model's elsewhere; both are diagonal Gaussians.

    Args:
        seen: broadcasts against the batch dims of the laws; None = everywhere.
        law: the guide's, one event dim.
        prior: the model's.
    """
    if seen is None:
        return law
    mean = torch.where(seen[..., None], law.mean, prior.mean)
    return dist.Normal(mean, torch.where(seen[..., None], law.stddev, prior.stddev)).to_event(1)
