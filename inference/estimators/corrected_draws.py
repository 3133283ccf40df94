"""Gaussian draws of a guide, moved and scaled for each video by what weighted particles say of them."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import pyro.distributions as dist
import torch
from jaxtyping import Bool, Float
from pyro.poutine.messenger import Messenger
from torch import Tensor

from inference.programs.masked_latents import kept
from inference.programs.traces import ImportanceTraces, sample_sites

LARGEST_MATRIX = 16  # event size up to which the entries of a draw are given a joint covariance
NEVER = 1e-6  # share of the weight below which a draw counts as masked everywhere
BISECTIONS = 12
UNCORRECTED = "uncorrected"  # where a site's record keeps the guide's own distribution


class Correction(NamedTuple):
    """Of a site with the guide's Gaussian m + L e, e ~ N(0, I): e ~ N(shift, factor factor') instead.

    Both have the layout of the site's value, with size 1 for particles. `factor` is a lower triangular matrix for each
    vector of at most 16 entries, and a scale for each entry otherwise.
    """

    shift: Tensor
    factor: Tensor
    event_dims: int

    def repeat_sequences(self, count: int) -> "Correction":
        """For a batch that holds every sequence `count` times, one copy of the batch after the other."""
        matrix = self.factor.dim() - self.shift.dim()
        shift = torch.cat([self.shift] * count, -1 - self.event_dims)
        return Correction(shift, torch.cat([self.factor] * count, -1 - self.event_dims - matrix), self.event_dims)


class CorrectedDraws(Messenger):
    """Inside, latent sites with a Gaussian distribution are drawn as `corrections` say; others are left alone.

    The weights p / q are those of the corrected draws. Corrections that were found from other draws leave estimates
    unbiased.

    Args:
        corrections: by site.
    """

    def __init__(self, corrections: Mapping[str, Correction]) -> None:
        super().__init__()
        self.corrections = corrections

    def _pyro_sample(self, msg: Any) -> None:
        if msg["is_observed"] or msg["value"] is not None or _gaussian(msg["fn"]) is None:
            return
        msg["infer"] = {**msg["infer"], UNCORRECTED: msg["fn"]}
        correction = self.corrections.get(msg["name"])
        if correction is not None:
            msg["fn"] = _corrected(msg["fn"], correction)


def find_corrections(
    traces: ImportanceTraces, log_shares: Float[Tensor, "particles sequences"], widening: float
) -> dict[str, Correction]:
    """Match the first two moments of weighted draws, site by site and video by video.

    Few effective draws say little, and their mean is off by chance in every dimension. So weights are tempered until at
    least a quarter of the particles count (at most as much as the event has entries, times three), the mean is shrunk
    towards the guide's (James and Stein 1961), and the covariance is mixed with the guide's own. Draws that are masked,
    such as the place of an absent object, do not count.

    Args:
        traces: drawn inside `CorrectedDraws`.
        log_shares: logarithms of normalised weights.
        widening: factor of the variances, above 1 so that tails stay covered.
    """
    corrections = {}
    for site in sample_sites(traces.guide).values():
        own = site["infer"].get(UNCORRECTED)
        if own is None or site["is_observed"]:
            continue
        gaussian = _gaussian(own)
        assert gaussian is not None
        assert traces.particle_dim is not None
        event_dims = len(site["fn"].event_shape)
        noise = _noise(gaussian, site["value"])
        size = max(own.event_shape.numel(), 1)
        dim = traces.particle_dim - event_dims
        tempered = tempered_shares(log_shares, min(3.0 * size, 0.25 * traces.num_particles))
        weights = traces.to_site(tempered, site) * kept(site["fn"], site["mask"])
        total = weights.sum(dim, keepdim=True).clamp_min(torch.finfo(weights.dtype).tiny)
        weights = weights / total
        effective = 1 / weights.square().sum(dim, keepdim=True).clamp_min(1 / traces.num_particles)
        effective = torch.where(total > NEVER, effective, 0.0)
        mean = (weights * noise).sum(dim, keepdim=True)
        off = noise - mean
        variance = (weights * off.square()).sum(dim, keepdim=True)
        entries = list(range(-event_dims, 0))
        length, chance = mean.square(), variance / effective.clamp_min(1.0)
        if entries:
            length, chance = length.sum(entries, keepdim=True), chance.sum(entries, keepdim=True)
        shrink = torch.where(effective > 1, (1 - chance / length.clamp_min(1e-12)).clamp_min(0.0), 0.0)
        if _is_vector(own):
            squares = weights.unsqueeze(-1) * off.unsqueeze(-1) * off.unsqueeze(-2)
            prior = torch.eye(size, dtype=noise.dtype, device=noise.device)
            covariance = _mixed(squares.sum(dim - 1, keepdim=True), prior, effective.unsqueeze(-1), size + 1)
            factor = torch.linalg.cholesky(widening * covariance)
        else:
            factor = (widening * _mixed(variance, 1.0, effective, 2)).sqrt()
        corrections[site["name"]] = Correction(shrink * mean, factor, event_dims)
    return corrections


def choose_corrections(
    first: Mapping[str, Correction], second: Mapping[str, Correction], better: Bool[Tensor, " sequences"]
) -> dict[str, Correction]:
    """For each video the second corrections where they are better; a site without a correction is left alone.

    Args:
        first: by site.
        second: by site, the same sites or more.
        better: which videos take the second.
    """
    chosen = {}
    for name, new in second.items():
        matrix = new.factor.dim() - new.shift.dim()
        old = first.get(name)
        if old is None:
            unit = torch.eye(new.factor.shape[-1]).to(new.factor) if matrix else torch.ones_like(new.factor)
            old = Correction(torch.zeros_like(new.shift), unit.expand_as(new.factor), new.event_dims)
        places = (..., *[None] * new.event_dims)
        shift = torch.where(better[places], new.shift, old.shift)
        factor = torch.where(better[(*places, *[None] * matrix)], new.factor, old.factor)
        chosen[name] = Correction(shift, factor, new.event_dims)
    return chosen


def tempered_shares(
    log_shares: Float[Tensor, "particles sequences"], target: float
) -> Float[Tensor, "particles sequences"]:
    """Weights to the largest power in [0, 1] at which `target` particles count, video by video.

    Where every particle is impossible, all weights are the same.
    """
    log_shares = torch.where(log_shares.isnan(), 0.0, log_shares)
    low, high = torch.zeros_like(log_shares[0]), torch.ones_like(log_shares[0])
    power = high
    for _ in range(BISECTIONS):
        shares = (power * log_shares).softmax(0)
        enough = 1 / shares.square().sum(0) >= target
        low, high = torch.where(enough, power, low), torch.where(enough, high, power)
        power = torch.where(low == 1, low, 0.5 * (low + high))
    return (power * log_shares).softmax(0)


def _mixed(found: Tensor, prior: Tensor | float, effective: Tensor, strength: int) -> Tensor:
    return (effective * found + strength * prior) / (effective + strength)


def _gaussian(distribution: Any) -> Any:
    """The Normal or MultivariateNormal within a latent's distribution, None if it is something else."""
    if isinstance(distribution, dist.MaskedDistribution):
        return _gaussian(distribution.base_dist)
    if isinstance(distribution, dist.Independent) and isinstance(distribution.base_dist, dist.Normal):
        return distribution.base_dist
    return distribution if isinstance(distribution, dist.Normal | dist.MultivariateNormal) else None


def _is_vector(distribution: Any) -> bool:
    """Whether a draw is a vector small enough for a covariance."""
    return len(distribution.event_shape) == 1 and distribution.event_shape[0] <= LARGEST_MATRIX


def _noise(gaussian: Any, value: Tensor) -> Tensor:
    off = value - gaussian.loc
    if isinstance(gaussian, dist.Normal):
        return off / gaussian.scale
    factor = gaussian.scale_tril.expand(*off.shape, off.shape[-1])
    return torch.linalg.solve_triangular(factor, off.unsqueeze(-1), upper=False).squeeze(-1)


def _corrected(distribution: Any, correction: Correction) -> Any:
    if isinstance(distribution, dist.MaskedDistribution):
        return _corrected(distribution.base_dist, correction).mask(distribution._mask)
    gaussian = _gaussian(distribution)
    normal = isinstance(gaussian, dist.Normal)
    if correction.factor.dim() == correction.shift.dim():
        moved = dist.Normal(gaussian.loc + gaussian.scale * correction.shift, gaussian.scale * correction.factor)
        return moved.to_event(correction.event_dims)
    own = torch.diag_embed(gaussian.scale) if normal else gaussian.scale_tril
    loc = gaussian.loc + (own @ correction.shift.unsqueeze(-1)).squeeze(-1)
    return dist.MultivariateNormal(loc, scale_tril=own @ correction.factor, validate_args=False)
