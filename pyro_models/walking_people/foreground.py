"""Pixels of a foreground mask: covered by anybody, missed where something stands in front, false elsewhere."""

from typing import NamedTuple

import pyro.distributions as dist
import torch
from jaxtyping import Float
from torch import Tensor, nn

CERTAIN = 1e-6  # of a cover: its complement divides


class PixelOdds(NamedTuple):
    """What a frame says about its pixels.

    Attributes:
        score: derivative of the log probability of each pixel by its cover c.
        information: Fisher information of each pixel about its cover.
    """

    score: Float[Tensor, "*batch height width"]
    information: Float[Tensor, "*batch height width"]


class ForegroundPixels(nn.Module):
    """A pixel i is covered by the union of people, and marked as foreground with an error rate of either kind::

        c_i = 1 - prod_k (1 - w_k m_k(i));   x_i ~ Bernoulli((1 - c_i) false_i + c_i (1 - miss_i))

    w_k is 1 for people who are to be seen, 0 for others; with probabilities instead, c_i is the mean over people who
    are independently there or not. Both error rates are learned for each pixel: nobody is seen behind a lamp post,
    where miss_i is near 1, and a tape in the wind is foreground of its own, false_i.

    Args:
        frame_size: height and width of a frame, pixels.
        false_rate: initial false_i.
        miss_rate: initial miss_i.

    Raises:
        ValueError: if a rate is not in (0, 0.5).
    """

    def __init__(self, frame_size: tuple[int, int], false_rate: float = 0.01, miss_rate: float = 0.1) -> None:
        super().__init__()
        for name, rate in (("false_rate", false_rate), ("miss_rate", miss_rate)):
            if not 0 < rate < 0.5:
                raise ValueError(f"{name}: expected a share of pixels in (0, 0.5), got {rate}")
        self.false_logit = nn.Parameter(torch.full(frame_size, false_rate).logit())
        self.miss_logit = nn.Parameter(torch.full(frame_size, miss_rate).logit())

    def forward(self, cover: Float[Tensor, "*batch height width"]) -> dist.Independent:
        """Distribution of a frame (1, height, width) with these covers."""
        return dist.Bernoulli(self.probability(cover).unsqueeze(-3)).to_event(3)

    def probability(self, cover: Float[Tensor, "*batch height width"]) -> Float[Tensor, "*batch height width"]:
        """Probability that each pixel is foreground."""
        false, seen = self._rates()
        return false + (seen - false) * cover

    def log_prob(
        self, cover: Float[Tensor, "*batch height width"], image: Float[Tensor, "... height width"]
    ) -> Float[Tensor, "*batch height width"]:
        """Log probability of each pixel of a mask of zeros and ones."""
        probability = self.probability(cover)
        return torch.where(image > 0.5, probability, 1 - probability).log()

    def covered(
        self, cover: Float[Tensor, "*batch height width"], image: Float[Tensor, "... height width"]
    ) -> Float[Tensor, "*batch height width"]:
        """Probability that each pixel of a mask was covered, given the mask."""
        false, seen = self._rates()
        on, off = cover * seen, cover * (1 - seen)
        return torch.where(image > 0.5, on / (on + (1 - cover) * false), off / (off + (1 - cover) * (1 - false)))

    def odds(self, cover: Float[Tensor, "*batch height width"], image: Float[Tensor, "... height width"]) -> PixelOdds:
        """Score and Fisher information of each pixel about its cover."""
        false, seen = self._rates()
        probability = false + (seen - false) * cover
        information = (seen - false) / (probability * (1 - probability))
        return PixelOdds((image - probability) * information, (seen - false) * information)

    def mean_rates(self) -> tuple[Tensor, Tensor]:
        """Means over pixels of false and 1 - miss."""
        false, seen = self._rates()
        return false.mean(), seen.mean()

    def _rates(self) -> tuple[Tensor, Tensor]:
        """The rates false and 1 - miss."""
        return self.false_logit.sigmoid(), (-self.miss_logit).sigmoid()


def union(cover: Tensor, weight: Tensor, dim: int) -> Tensor:
    """1 - prod_k (1 - w_k m_k).

    Args:
        cover: m, (*batch, height, width), with people in one of the dims.
        weight: w, (*batch).
        dim: dim of people, counted from the right of `cover`.
    """
    return 1 - (1 - weight[..., None, None] * cover).prod(dim)
