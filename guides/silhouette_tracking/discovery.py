"""People who were not there before, found one by one where they explain a frame best."""

from typing import NamedTuple

import pyro.distributions as dist
import torch
from jaxtyping import Float
from torch import Tensor

from guides.silhouette_tracking.correlation import CorrelationMap
from guides.silhouette_tracking.refinement import refine
from pyro_models.walking_people import WalkingPeople


class Search(NamedTuple):
    """How hard people are looked for.

    Attributes:
        candidates: how many may enter in a frame.
        refinements: Gauss-Newton steps for each.
    """

    candidates: int
    refinements: int


class Newcomers(NamedTuple):
    """Candidates, the best first.

    Attributes:
        mean: of the place.
        covariance: of the place.
        gain: log of p(frame | one more person) / p(frame), the person's place integrated out by Laplace's method.
    """

    mean: Float[Tensor, "*batch candidates 4"]
    covariance: Float[Tensor, "*batch candidates 4 4"]
    gain: Float[Tensor, "*batch candidates"]

    def for_slots(self, free: Tensor) -> "Newcomers":
        """Candidate n for the n-th free slot; slots for which there is none have the last one, at a gain of -inf.

        Args:
            free: bool (*batch, slots).
        """
        candidates = self.gain.shape[-1]
        rank = free.long().cumsum(-1) - 1
        served = free & (rank < candidates)
        rank = rank.clamp(0, candidates - 1)
        mean = self.mean.gather(-2, rank[..., None].expand(*rank.shape, 4))
        covariance = self.covariance.gather(-3, rank[..., None, None].expand(*rank.shape, 4, 4))
        return Newcomers(mean, covariance, torch.where(served, self.gain.gather(-1, rank), -torch.inf))


def discover(
    model: WalkingPeople,
    correlation: CorrelationMap,
    image: Float[Tensor, "... height width"],
    without: Float[Tensor, "*batch height width"],
    prior_logit: Tensor,
    search: Search,
) -> Newcomers:
    """Look for people in what the others leave unexplained; each candidate counts for the next with its probability.

    A candidate starts at the maximum of the correlation map plus the log density of entries, and is refined with the
    likeliest Gaussian of the mixture of entries as its prior.

    Args:
        model: the model.
        correlation: its silhouettes, transformed.
        image: a mask of zeros and ones.
        without: product of 1 - w m over the people there are.
        prior_logit: of a slot being filled by a person in sight.
        search: numbers of candidates and of steps.
    """
    motion = model.motion
    image = image.expand(without.shape)
    grid = correlation.grid
    entries = motion.place_law(None, grid[..., 0]).log_prob(grid)
    found = []
    for _ in range(search.candidates):
        start = correlation.best(correlation.gain(image, without) + entries)
        means, scales = motion.entry(start[..., 0])
        member = (dist.Normal(means, scales).to_event(1).log_prob(start[..., None, :]) + motion.entry_logits).argmax(-1)
        pick = member[..., None, None].expand(*member.shape, 1, 4)
        prior = means.gather(-2, pick), scales.gather(-2, pick).square().diag_embed()
        alone = torch.ones_like(start[..., :1])
        one = refine(
            model, image, alone, prior, start=start[..., None, :], others=without, num_steps=search.refinements
        )
        gain = one.gain + motion.entry_logits.log_softmax(-1)[member][..., None]
        without = without * (1 - (gain + prior_logit).sigmoid()[..., None] * one.cover[..., 0, :, :])
        found.append(Newcomers(one.mean, one.covariance, gain))
    return Newcomers(
        *(torch.cat(parts, dim) for parts, dim in zip(zip(*found, strict=True), (-2, -3, -1), strict=True))
    )
