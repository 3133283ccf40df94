"""Proper scores of a predictive distribution given by draws: CRPS, energy score, Brier score.

All are losses, smaller is better, and proper: the true distribution has the smallest expected score (Gneiting and
Raftery 2007). All are computed from independent draws, and fair (Ferro 2014): their expectation does not depend on the
number of draws, and scores from 10 and from 1,000 draws can be compared. A fair score may be negative by chance.
"""

import torch
from torch import Tensor

from videos.typed import typed


@typed
def crps(samples: Tensor, truth: Tensor) -> Tensor:
    """Continuous ranked probability score of each number, in the units of the numbers.

        E|X - x| - E|X - X'| / 2        X, X' independent draws

    (Gneiting and Raftery 2007, eq. 21, with the sign of a loss). Estimated by the mean over draws and over pairs of
    different draws, in float64.

    Args:
        samples: (draws, *shape), at least 2 independent draws.
        truth: (*shape), what came.

    Returns:
        (*shape), float64.

    Raises:
        ValueError: if shapes do not fit, there are fewer than 2 draws, or a number is not finite.
    """
    apart = _check(samples, truth)
    count = len(apart)
    ranks = 2 * torch.arange(1, count + 1, dtype=apart.dtype, device=apart.device) - count - 1
    # sum of distances over pairs of sorted draws: draw k is the larger one in k - 1 of its count - 1 pairs
    pairs = torch.tensordot(ranks, apart.sort(0).values, 1)
    return apart.abs().mean(0) - pairs / (count * (count - 1))


@typed
def energy_score(samples: Tensor, truth: Tensor, event_dims: int = 1) -> Tensor:
    """Energy score of each vector: the CRPS with Euclidean distances, in the unit of the numbers.

        E|X - x| - E|X - X'| / 2        X, X' independent draws, |.| the Euclidean norm

    (Gneiting and Raftery 2007, eq. 22 with beta = 1, with the sign of a loss). Unlike the mean CRPS of its entries, it
    is sensitive to the dependence between entries.

    Args:
        samples: (draws, *shape), at least 2 independent draws.
        truth: (*shape), what came.
        event_dims: number of dims, from the right, that form one vector.

    Returns:
        (*shape) without the event dims, float64.

    Raises:
        ValueError: if shapes do not fit, there are fewer than 2 draws, or a number is not finite.
    """
    apart = _check(samples, truth)
    if not 1 <= event_dims <= truth.dim():
        raise ValueError(f"event_dims: expected 1 to {truth.dim()}, the dims of truth, got {event_dims}")
    vectors = apart.flatten(-event_dims).movedim(0, -2)
    count = len(apart)
    # cdist by matrix products loses precision if draws are close together
    distances = torch.cdist(vectors, vectors, compute_mode="donot_use_mm_for_euclid_dist")
    return vectors.norm(dim=-1).mean(-1) - distances.sum((-2, -1)) / (2 * count * (count - 1))


@typed
def brier_score(probabilities: Tensor, truth: Tensor) -> Tensor:
    """Brier score of each binary number, (P - x)^2, P the marginal probability of a one.

    P is the mean of the probabilities given each draw of the latents. The square of that mean is biased by the draws'
    variance over their number, so the estimate is the mean of (P_i - x) (P_j - x) over pairs of different draws. It
    equals the CRPS of a binary number, and half of Brier's (1950) sum over the two outcomes.

    Args:
        probabilities: (draws, *shape), probability of a one given each of at least 2 independent draws, in [0, 1].
        truth: (*shape), zeros and ones.

    Returns:
        (*shape), float64.

    Raises:
        ValueError: if shapes do not fit, there are fewer than 2 draws, or values are not finite or not as described.
    """
    apart = _check(probabilities, truth, "probabilities")
    if not bool(((truth == 0) | (truth == 1)).all()):
        raise ValueError("truth: expected zeros and ones, got other values; grey values have a CRPS")
    if not bool(((probabilities >= 0) & (probabilities <= 1)).all()):
        raise ValueError("probabilities: expected values in [0, 1], got others; give probabilities, not logits")
    count = len(apart)
    return (apart.sum(0).square() - apart.square().sum(0)) / (count * (count - 1))


def _check(samples: Tensor, truth: Tensor, name: str = "samples") -> Tensor:
    """Draws relative to the truth, float64."""
    if samples.dim() == 0 or samples.shape[1:] != truth.shape:
        raise ValueError(
            f"{name}: expected (draws, *shape of truth) = (..., {', '.join(map(str, truth.shape))}), "
            f"got {tuple(samples.shape)}; the draws come first"
        )
    if len(samples) < 2:
        raise ValueError(
            f"{name}: expected at least 2 draws, since a fair score takes pairs of them, got {len(samples)}; draw more"
        )
    for argument, values in ((name, samples), ("truth", truth)):
        if values.is_meta:
            raise ValueError(f"{argument}: expected numbers, got a tensor without any, on the device 'meta'")
        if not bool(values.isfinite().all()):
            raise ValueError(f"{argument}: expected finite numbers, got NaN or infinite ones; leave those out")
    return samples.double() - truth.double()
