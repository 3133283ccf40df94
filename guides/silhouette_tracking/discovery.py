"""A person who was not there before, found where one more explains a frame best."""

from typing import NamedTuple

import pyro.distributions as dist
import torch
from jaxtyping import Float
from torch import Tensor

from guides.silhouette_tracking.correlation import CorrelationMap
from guides.silhouette_tracking.refinement import Effort, refine
from pyro_models.walking_people import WalkingPeople

_LEAST_OUTSIDE = 0.01  # of the probability of entries


class Newcomer(NamedTuple):
    """Where somebody enters, if anybody.

    Attributes:
        mean: of the place.
        covariance: of the place.
        gain: log of p(frame | one more person) / p(frame), the person's place integrated out: by Laplace's method, plus
            the probability of entries off the map, where a person changes nothing.
    """

    mean: Float[Tensor, "*batch 4"]
    covariance: Float[Tensor, "*batch 4 4"]
    gain: Float[Tensor, "*batch"]


def discover(
    model: WalkingPeople,
    correlation: CorrelationMap,
    image: Float[Tensor, "... height width"],
    without: Float[Tensor, "*batch height width"],
    how: Effort,
) -> Newcomer:
    """Look for a person in what the others leave unexplained.

    The search starts at the maximum of the correlation map plus the log density of entries; the place is refined with
    the likeliest Gaussian of the mixture of entries as its prior.

    Args:
        model: the model.
        correlation: its silhouettes, transformed.
        image: a mask of zeros and ones.
        without: product of 1 - w m over the people there are.
        how: number of Gauss-Newton steps, and the weight of pixels.
    """
    motion = model.motion
    image = image.expand(without.shape)
    grid = correlation.grid
    entries = motion.entry_distribution(grid[..., 0]).log_prob(grid)
    start = correlation.best(how.weight * correlation.gain(image, without) + entries)
    means, scales = motion.entry(start[..., 0])
    member = (dist.Normal(means, scales).to_event(1).log_prob(start[..., None, :]) + motion.entry_logits).argmax(-1)
    pick = member[..., None, None].expand(*member.shape, 1, 4)
    prior = means.gather(-2, pick), scales.gather(-2, pick).square().diag_embed()
    alone = torch.ones_like(start[..., :1])
    one = refine(model, image, alone, prior, start=start[..., None, :], others=without, how=how)
    gain = one.gain[..., 0] + motion.entry_logits.log_softmax(-1)[member]
    outside = 1 - entries.exp().sum() * correlation.cell
    gain = torch.logaddexp(gain, outside.clamp(min=_LEAST_OUTSIDE).log())
    return Newcomer(one.mean[..., 0, :], one.covariance[..., 0, :, :], gain)
