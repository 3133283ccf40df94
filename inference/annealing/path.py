"""Temperatures and step sizes for the chains of each video, tuned on separate pilot chains."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from inference.annealing.chains import TemperedChains
from inference.annealing.densities import TemperedDensities
from inference.annealing.hamiltonian import Pace
from inference.annealing.pace import PaceFinder
from inference.annealing.population import resample

MOST_TEMPERATURES = 1000
BISECTIONS = 40


@dataclass(frozen=True, eq=False)
class TemperingPath:
    """Temperatures and step sizes from the guide to the posterior, found by pilot chains.

    Attributes:
        inverse: inverse temperatures of each video, from 0 to 1.
        distance: distance from the guide to each of them: the sum of the standard deviations of the steps' log weights,
            which for small steps does not depend on their number (the "communication barrier" of Syed et al. 2021).
        paces: paces of moves at each of them except the first.
        densities: densities of the pilot chains.
    """

    inverse: Float[Tensor, "knots sequences"]
    distance: Float[Tensor, "knots sequences"]
    paces: Sequence[Pace]
    densities: TemperedDensities

    def schedule(self, num_temperatures: int) -> tuple[Float[Tensor, "temperatures sequences"], list[Pace]]:
        """Inverse temperatures at equal distances, from 0 to 1, and the paces of moves at the intermediate ones.

        Args:
            num_temperatures: steps from the guide to the posterior, the same for all videos.
        """
        shares = torch.linspace(0, 1, num_temperatures + 1, dtype=torch.float64, device=self.distance.device)
        wanted = shares[:, None] * self.distance[-1]
        right = torch.searchsorted(self.distance.T.contiguous(), wanted.T.contiguous()).T
        right = right.clamp(1, len(self.distance) - 1)
        (near, start), (far, end) = (
            (self.distance.gather(0, place), self.inverse.gather(0, place)) for place in (right - 1, right)
        )
        part = ((wanted - near) / (far - near)).nan_to_num(0.0).clamp(0, 1)
        inverse = start + part * (end - start)
        inverse[0], inverse[-1] = 0.0, 1.0
        sizes = torch.stack([pace.sizes for pace in self.paces])
        scales = {name: torch.stack([p.scales[name] for p in self.paces]) for name in self.densities.coordinates}
        paces = []
        for index in right[1:-1] - 1:
            chosen = {}
            for name, knots in scales.items():
                places = self.densities.broadcast(index[None], name)[None].expand(1, *knots.shape[1:])
                chosen[name] = knots.gather(0, places)[0]
            paces.append(Pace(sizes.gather(0, index[None])[0], chosen))
        return inverse, paces


def find_path(densities: TemperedDensities, num_leapfrog: int, target_ess: float, threshold: float) -> TemperingPath:
    """Anneal from the guide to the posterior in steps that keep the conditional effective sample size.

    From b the next inverse temperature is the largest b' with

        CESS(b') = (sum_k W_k u_k)^2 / sum_k W_k u_k^2 >= target,   u_k = (p(x, z_k) / q(z_k | x))^(b' - b)

    where W_k are the weights of the chains, which sum to 1 (Zhou, Johansen and Aston 2016, eq. 3.4, over the number of
    chains). Each video has its own steps, since the distance from guide to posterior differs between videos.

    Args:
        densities: densities of the pilot chains, a few dozen for each video.
        num_leapfrog: leapfrog steps per move.
        target_ess: between 0 and 1.
        threshold: effective sample size, as a share of the chains, below which chains are resampled.
    """
    chains = TemperedChains(densities, densities.start())
    finder = PaceFinder(chains, num_leapfrog)
    here = torch.zeros_like(chains.log_weights[0])
    inverse, distance, paces = [here], [here], []
    while bool((here < 1).any()):
        if len(paces) == MOST_TEMPERATURES:
            warnings.warn(
                f"target_ess: {int((here < 1).sum())} of {len(here)} videos are not at the posterior after "
                f"{MOST_TEMPERATURES} temperatures (the farthest at inverse temperature {here.min().item():.2g}); "
                "the last step takes them there, so their estimates are noisy. The guide is far off: train it further, "
                "or lower target_ess",
                RuntimeWarning,
                stacklevel=2,
            )
            step = 1 - here
        else:
            step = largest_step(chains, 1 - here, target_ess)
        distance.append(distance[-1] + step * spread(chains))
        chains.reweigh(step)
        here = torch.where(step >= 1 - here, 1.0, here + step)
        inverse.append(here)
        resample(chains, 1, threshold)
        now = here.to(chains.log_joint)
        chains.flip(now)
        paces.append(finder.pace())
        if chains.can_move:
            finder.hear(chains.move(now, paces[-1], num_leapfrog))
    return TemperingPath(torch.stack(inverse), torch.stack(distance), paces, densities)


def largest_step(
    chains: TemperedChains, remaining: Float[Tensor, " sequences"], target_ess: float
) -> Float[Tensor, " sequences"]:
    """The largest step of each video that keeps the conditional effective sample size above the target."""
    ratio, weights = _living(chains)

    def size(step: Tensor) -> Tensor:
        first = torch.logsumexp(weights + step * ratio, 0)
        second = torch.logsumexp(weights + 2 * step * ratio, 0)
        return torch.exp(2 * first - second)

    low, high = torch.zeros_like(remaining), remaining
    whole = size(high) >= target_ess
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        enough = size(middle) >= target_ess
        low, high = torch.where(enough, middle, low), torch.where(enough, high, middle)
    return torch.where(whole, remaining, low)


def spread(chains: TemperedChains) -> Float[Tensor, " sequences"]:
    """The weighted standard deviation of log p - log q over the chains of each video."""
    ratio, weights = _living(chains)
    shares = weights.exp()
    mean = (shares * ratio).sum(0)
    return (shares * (ratio - mean).square()).sum(0).sqrt()


def _living(chains: TemperedChains) -> tuple[Tensor, Tensor]:
    """Log p - log q, and normalised log weights, with weight 0 for chains where p is 0."""
    ratio = chains.log_ratio
    dead = ~ratio.isfinite()
    weights = torch.where(dead, -torch.inf, chains.log_weights)
    weights = torch.where(dead.all(0), 0.0, weights)
    return torch.where(dead, 0.0, ratio), weights.log_softmax(0)
