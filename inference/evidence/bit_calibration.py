"""Exact calibration tests for binary latents, such as presence."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True, eq=False)
class BitCalibration:
    """True bits of a site, and those drawn from the guide.

    If draws are from the posterior, truth and draws are exchangeable: given that s of these K + 1 bits are 1, the true
    one is 1 with probability s / (K + 1), whatever the posterior. So two counts over videos are sums of independent
    bits with known probabilities: how often the truth is 1, and how often it is a surprise, that is, the value of fewer
    than half of the K + 1 bits. A rank with random tie-breaking ignores how confident the draws were, and is mostly
    noise: a guide that doubles its log odds nearly always passes it.

    Attributes:
        truth: 0 or 1, (sequences, coordinates).
        shares: s / (K + 1), (sequences, coordinates).
        weighted_shares: the same with draws weighted by p(x, z) / q(z | x).
    """

    truth: Float[Tensor, "sequences coordinates"]
    shares: Float[Tensor, "sequences coordinates"]
    weighted_shares: Float[Tensor, "sequences coordinates"]

    @classmethod
    def of(
        cls,
        truth: Float[Tensor, "sequences coordinates"],
        draws: Float[Tensor, "draws sequences coordinates"],
        shares: Float[Tensor, "draws sequences"],
    ) -> "BitCalibration":
        """Build from the draws.

        Args:
            truth: 0 or 1.
            draws: 0 or 1.
            shares: normalised weights p / q, which sum to 1 over draws.
        """
        number = len(draws)
        plain, weighed = draws.mean(0), (shares[..., None] * draws).sum(0)
        return cls(truth, *((number * ones + truth) / (number + 1) for ones in (plain, weighed)))

    def p_value(self, weighted: bool = False) -> float:
        """The smallest two-sided p-value of both counts of each coordinate, times their number (Bonferroni).

        Args:
            weighted: use the weighted draws.
        """
        return min(1.0, 2 * min(one.p.min().item() for one in self._counts(weighted)) * self.truth.shape[1])

    def shape(self, weighted: bool = False) -> str:
        """Name the worse of the two counts: "biased", "too narrow" (overconfident) or "too wide" (underconfident).

        Args:
            weighted: use the weighted draws.
        """
        ones, surprises = self._counts(weighted)
        if ones.p.min() <= surprises.p.min():
            return "biased"
        return "too narrow" if surprises.excess[surprises.p.argmin()] > 0 else "too wide"

    def _counts(self, weighted: bool) -> tuple["_Count", "_Count"]:
        shares = self.weighted_shares if weighted else self.shares
        likely = (shares > 0.5).to(shares)
        return _count(self.truth, shares), _count((self.truth - likely).abs(), torch.minimum(shares, 1 - shares))


@dataclass(frozen=True, eq=False)
class _Count:
    """Two-sided p-value of a count for each coordinate, and how far it is above its expectation."""

    p: Float[Tensor, " coordinates"]
    excess: Float[Tensor, " coordinates"]


def _count(bits: Tensor, probabilities: Tensor) -> _Count:
    chances = poisson_binomial(probabilities.T)
    count = bits.sum(0).round().long()[:, None]
    at_most = chances.cumsum(1)
    at_least = chances.flip(1).cumsum(1).flip(1)
    tail = torch.minimum(at_most.gather(1, count), at_least.gather(1, count))[:, 0]
    return _Count((2 * tail).clamp(1e-15, 1.0), (bits - probabilities).sum(0))


def poisson_binomial(
    probabilities: Float[Tensor, "coordinates sequences"],
) -> Float[Tensor, "coordinates counts"]:
    """The distribution of a sum of independent bits, by convolving halves; rounding errors are about 1e-15.

    Args:
        probabilities: probabilities of the bits; the sum is over the last dim.
    """
    number = probabilities.shape[1]
    chances = torch.stack([1 - probabilities, probabilities], -1).double()
    while chances.shape[1] > 1:
        if chances.shape[1] % 2:
            none = torch.zeros_like(chances[:, :1])
            none[..., 0] = 1.0
            chances = torch.cat([chances, none], 1)
        size = 2 * chances.shape[-1] - 1
        spectra = torch.fft.rfft(chances, size)
        chances = torch.fft.irfft(spectra[:, ::2] * spectra[:, 1::2], size)
    return chances[:, 0, : number + 1].clamp_min(0.0)
