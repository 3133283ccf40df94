"""A simultaneous confidence band for the empirical distribution of uniform numbers."""

from functools import lru_cache

import numpy as np
from scipy.special import gammaln
from scipy.stats import binom

HALVINGS = 14


@lru_cache(maxsize=64)
def simultaneous_band(number: int, level: float, num_points: int = 64) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points z_i = i / (P + 1), and limits between which the ECDF lies at all of them with a probability of `level`.

    The limits at each point are quantiles of the binomial distribution of its count, all of the same level, which is
    raised until the ECDF, a Markov chain over the points, stays inside with probability `level` (Säilynoja, Bürkner and
    Vehtari 2022, algorithm 1). Unlike Kolmogorov's band it is narrow at both ends, where guides that are too narrow or
    too wide show.

    Args:
        number: number of independent numbers.
        level: level of the band, between 0 and 1.
        num_points: P.

    Returns:
        Points, lower and upper limits of the ECDF, each (num_points,).
    """
    points = np.arange(1, num_points + 1) / (num_points + 1)
    widest, narrowest = np.log((1 - level) / num_points), np.log(1 - level)  # log of what a point leaves outside
    for _ in range(HALVINGS):
        middle = (widest + narrowest) / 2
        enough = _probability_inside(number, points, *_limits(number, points, np.exp(middle))) >= level
        widest, narrowest = (middle, narrowest) if enough else (widest, middle)
    lower, upper = _limits(number, points, np.exp(widest))
    return points, lower / number, upper / number


def _limits(number: int, points: np.ndarray, outside: float) -> tuple[np.ndarray, np.ndarray]:
    return binom.ppf(outside / 2, number, points).astype(int), binom.isf(outside / 2, number, points).astype(int)


def _probability_inside(number: int, points: np.ndarray, lower: np.ndarray, upper: np.ndarray) -> float:
    """Probability that counts of numbers below the points are within the limits (inclusive) at all points."""
    log_factorials = gammaln(np.arange(number + 1) + 1.0)
    counts, inside, before = np.zeros(1, dtype=int), np.ones(1), 0.0
    for point, low, high in zip(points, lower, upper, strict=True):
        following = np.arange(low, high + 1)
        new = following - counts[:, None]  # numbers between this point and the one before
        rest = number - counts[:, None]
        chance = (point - before) / (1 - before)
        places = np.clip(new, 0, rest)
        log_chances = (
            log_factorials[rest]
            - log_factorials[places]
            - log_factorials[rest - places]
            + places * np.log(chance)
            + (rest - places) * np.log1p(-chance)
        )
        inside = inside @ np.where(new == places, np.exp(log_chances), 0.0)
        counts, before = following, point
    return float(inside.sum())
