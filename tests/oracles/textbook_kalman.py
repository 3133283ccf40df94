"""The twenty-line Kalman filter and Rauch-Tung-Striebel smoother of the textbooks, in float64, with explicit inverses.

For one sequence; valid only where every predicted covariance is regular. Independent of the code under test.
"""

import torch
from torch import Tensor


def textbook_kalman(
    mean: Tensor,
    covariance: Tensor,
    transitions: Tensor,
    transition_noise: Tensor,
    emissions: Tensor,
    emission_noise: Tensor,
    values: Tensor,
    observed: Tensor,
) -> tuple[Tensor, list[Tensor], list[Tensor], list[Tensor], list[Tensor]]:
    """log p(a), filtered means and covariances, smoothed ones; parameters with their full time dim."""
    total = torch.zeros((), dtype=torch.float64)
    predicted, filtered = [], []
    for t in range(len(values)):
        if t > 0:
            mean, covariance = transitions[t - 1] @ mean, transitions[t - 1] @ covariance @ transitions[t - 1].T
            covariance = covariance + transition_noise[t - 1]
        predicted.append((mean, covariance))
        if observed[t]:
            spread = emissions[t] @ covariance @ emissions[t].T + emission_noise[t]
            law = torch.distributions.MultivariateNormal(emissions[t] @ mean, spread)
            total = total + law.log_prob(values[t])
            gain = covariance @ emissions[t].T @ torch.linalg.inv(spread)
            mean = mean + gain @ (values[t] - emissions[t] @ mean)
            covariance = covariance - gain @ spread @ gain.T
        filtered.append((mean, covariance))
    smoothed = [filtered[-1]]
    for t in reversed(range(len(values) - 1)):
        gain = filtered[t][1] @ transitions[t].T @ torch.linalg.inv(predicted[t + 1][1])
        later_mean, later_covariance = smoothed[0]
        smoothed.insert(
            0,
            (
                filtered[t][0] + gain @ (later_mean - predicted[t + 1][0]),
                filtered[t][1] + gain @ (later_covariance - predicted[t + 1][1]) @ gain.T,
            ),
        )
    return total, *zip(*filtered, strict=True), *zip(*smoothed, strict=True)
