"""Latents without a density where they are masked, such as the position of an absent object.

Their values there are arbitrary. Exact draws from a posterior and moves between presences need a distribution over all
latents, so masked ones are given the distribution that the guide draws them from.
"""

from collections.abc import Mapping
from typing import Any

import pyro.distributions as dist
import torch
from pyro.poutine.messenger import Messenger
from torch import Tensor


class MaskedAnew(Messenger):
    """Inside, sites take given values where they are not masked, and draws from their own distributions where they are.

    A guide run inside, at the true latents of a simulated video, completes them to an exact draw of all its latents.

    Args:
        values: by site, in the layout of the program that runs inside.
    """

    def __init__(self, values: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.values = values

    def _pyro_sample(self, msg: Any) -> None:
        value = self.values.get(msg["name"])
        if value is None or msg["is_observed"] or msg["value"] is not None:
            return
        distribution = msg["fn"]
        if is_masked(msg):
            present = kept(distribution, msg["mask"])
            value = torch.where(present, value, unmasked(distribution).sample())
        msg["value"], msg["done"] = value, True


def is_masked(site: Mapping[str, Any]) -> bool:
    """Whether some of a site's values may be masked."""
    distribution = site["fn"]
    while isinstance(distribution, dist.Independent):
        distribution = distribution.base_dist
    return isinstance(distribution, dist.MaskedDistribution) or site["mask"] is not None


def unmasked(distribution: Any) -> Any:
    """The distribution with nothing masked."""
    if isinstance(distribution, dist.MaskedDistribution):
        return unmasked(distribution.base_dist)
    if isinstance(distribution, dist.Independent):
        return unmasked(distribution.base_dist).to_event(distribution.reinterpreted_batch_ndims)
    return distribution


def kept(distribution: Any, mask: Tensor | bool | None) -> Tensor:
    """Unmasked entries under an outer mask and masks within a distribution, shaped to broadcast with its values."""
    event = (..., *[None] * len(distribution.event_shape))
    outside = torch.as_tensor(True if mask is None else mask)[event]
    if isinstance(distribution, dist.MaskedDistribution):
        return outside & torch.as_tensor(distribution._mask)[event] & kept(distribution.base_dist, None)
    if isinstance(distribution, dist.Independent):
        return outside & kept(distribution.base_dist, None)
    return outside
