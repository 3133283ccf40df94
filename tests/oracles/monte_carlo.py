"""Monte Carlo means against exact values, at a stated rate of false alarms."""

import statistics

import torch
from torch import Tensor

FAILURE_RATE = 1e-6  # of a whole comparison, whatever the number of entries


def assert_mean_within(draws: Tensor, expected: Tensor, failure_rate: float = FAILURE_RATE) -> None:
    """Check that the mean of independent draws (draws, *shape) is `expected` (*shape).

    The allowed number of standard errors keeps the rate of false alarms over all entries together below `failure_rate`
    (Bonferroni), since the mean of many draws is Gaussian.
    """
    mean = draws.mean(0)
    error = draws.std(0) / draws.shape[0] ** 0.5
    entries = max(expected.numel(), 1)
    allowed = statistics.NormalDist().inv_cdf(1 - failure_rate / entries / 2)
    rounding = 1e-12 * (1 + expected.abs())  # some entries have no noise at all
    off = (mean - expected).abs() / torch.maximum(error, rounding)
    assert bool((off <= allowed).all()), (
        f"mean {mean.tolist()} of {draws.shape[0]} draws, expected {expected.tolist()}: "
        f"off by {off.tolist()} standard errors, {allowed:.2f} allowed"
    )
    assert bool(torch.isfinite(mean).all())
