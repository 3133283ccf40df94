"""Requirements on every estimator of the log evidence, as functions that raise `AssertionError` where it fails.

    estimate(case, seed) -> log estimates of p(x_n), (repeats, sequences), each from independent draws
    claim(case, seed) -> Claim: estimates with the errors that the estimator states for them

Every check states how often it fails an honest estimator: with a probability of at most `FAILURE_RATE`. It also refuses
to pass where there are too few draws, or too noisy ones, to tell a wrong estimator from a right one.
"""

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from scipy.stats import binom
from torch import Tensor

from tests.oracles.conformance.case import Case
from tests.oracles.monte_carlo import FAILURE_RATE, assert_mean_within

Estimate = Callable[[Case, int], Tensor]
RESOLUTION = 0.25  # relative bias of an estimate of p(x) that must be detected
ROUNDING = 1e-6  # nats
MISSING = 7.0  # a plausible value of a frame
COVERED = math.erf(2 / 2**0.5)  # share of a Gaussian within two standard errors, 95.4 %
ASKED = 0.9  # required share for estimates, which are only nearly Gaussian


@dataclass(frozen=True, eq=False)
class Claim:
    """Estimates and what their estimator states about them; the tensors have one shape, (repeats, sequences).

    Attributes:
        log_evidence: in nats.
        standard_error: stated for each estimate, in nats.
        tail_index: k-hat of the weights (Vehtari et al. 2024); above 0.7 the standard error is not to be trusted.
        verdict: "exact", "converged" or other words, for all of them together.
        width: nats by which the mean over all of them may be off.
    """

    log_evidence: Tensor
    standard_error: Tensor
    tail_index: Tensor
    verdict: str = ""
    width: float | None = None


def check_unbiased(estimate: Estimate, case: Case, seeds: Sequence[int] = (0,), resolution: float = RESOLUTION) -> None:
    """The mean of estimates of p(x) is p(x): importance sampling, annealing and filters alike.

    Args:
        estimate: see above.
        case: any except those that demand bounds.
        seeds: seeds of the estimates.
        resolution: relative bias that must be detected; there must be enough repeats for it.

    Raises:
        ValueError: if the case demands bounds.
    """
    if case.demand == "bounds":
        raise ValueError(f"{case.name}: expected a case whose guide covers the posterior, got one that asks for bounds")
    excess = _excess(estimate, case, seeds)
    if case.demand == "equality":
        assert excess.abs().max() <= ROUNDING, f"{case.name}: off by {excess.abs().max():.3g} nats, not by rounding"
        return
    ratios = excess.exp()
    assert_mean_within(ratios, torch.ones_like(case.exact))
    visible = _normal(ratios.shape[1], sides=2) * ratios.std(0) / len(ratios) ** 0.5
    assert bool((visible <= resolution).all()), (
        f"{case.name}: expected enough draws to see a bias by {resolution:.0%}, got {len(ratios)}, among which one by "
        f"{visible.max():.0%} may pass; run more repeats"
    )


def check_never_above(estimate: Estimate, case: Case, seeds: Sequence[int] = (0,)) -> None:
    """The mean of log estimates is at most log p(x), by Jensen; and P(estimate > log p(x) + c) <= exp(-c), by Markov.

    This holds for every estimate that is unbiased or too low.
    """
    excess = _excess(estimate, case, seeds)
    error = excess.std(0) / len(excess) ** 0.5 if bool(excess.isfinite().all()) else torch.zeros_like(case.exact)
    above = excess.mean(0) - _normal(excess.shape[1], sides=1) * error
    assert bool((above <= ROUNDING).all()), (
        f"{case.name}: expected a mean of log estimates below the truth, got {excess.mean(0).tolist()} above it, "
        f"with standard errors {error.tolist()}"
    )
    limits = (0.5, 1.0, 2.0, 4.0)
    for limit in limits:
        count, chance = int((excess > limit + ROUNDING).sum()), math.exp(-limit)
        allowed = int(binom.isf(FAILURE_RATE / len(limits), excess.numel(), chance))
        assert count <= allowed, (
            f"{case.name}: expected at most {allowed} of {excess.numel()} estimates more than {limit} nats above the "
            f"truth, since the chance of one is at most {chance:.3g}, got {count}"
        )


def check_monotone(estimates: Sequence[Estimate], case: Case, seeds: Sequence[int] = (0,)) -> None:
    """More draws give higher estimates on average, at each step of the sequence.

    Args:
        estimates: by the same estimator, from few draws to many.
        case: one with a visible gap to the evidence at the fewest draws.
        seeds: seeds of each estimator.
    """
    apart = [[seed + 1000 * number for seed in seeds] for number in range(len(estimates))]
    means = [_excess(each, case, own).mean(1) for each, own in zip(estimates, apart, strict=True)]
    for few, many in zip(means[:-1], means[1:], strict=True):
        gain = many.mean() - few.mean()
        error = (few.var() / len(few) + many.var() / len(many)).sqrt()
        allowed = _normal(len(means) - 1, sides=1)
        assert gain > allowed * error, (
            f"{case.name}: expected more draws to lie higher, got {gain:.3g} nats with a standard error of {error:.2g}"
        )


def check_standard_errors(
    claim: Callable[[Case, int], Claim], case: Case, seeds: Sequence[int] = (0,), fewest: int = 300
) -> None:
    """Estimates lie within two stated standard errors of the log evidence in at least 90 %, where k-hat is at most 0.7.

    Args:
        claim: see above.
        case: any except those that demand bounds.
        seeds: seeds of the claims.
        fewest: least number of estimates with such a k-hat, so that the check cannot pass vacuously.
    """
    hits = judged = 0
    for seed in seeds:
        stated = claim(case, seed)
        reliable = stated.tail_index <= 0.7
        off = (stated.log_evidence - case.exact).abs()
        hits += int(((off <= 2 * stated.standard_error + ROUNDING) & reliable).sum())
        judged += int(reliable.sum())
    assert judged >= fewest, f"{case.name}: expected {fewest} estimates with a k-hat of at most 0.7, got {judged}"
    _assert_covered(hits, judged, f"{case.name}: estimates within two stated standard errors")


def check_verdicts(
    claim: Callable[[Case, int], Claim], cases: Sequence[Case], seeds: Sequence[int], fewest: int = 20
) -> None:
    """The mean lies within the stated width of the truth for at least 90 % of "converged" verdicts.

    "exact" verdicts must be exact each time.

    Args:
        claim: see above; one verdict for each case and seed.
        cases: any except those that demand bounds; they are judged together.
        seeds: seeds of the claims.
        fewest: least number of verdicts "converged" or "exact", so that the check cannot pass vacuously.
    """
    hits = judged = exact = 0
    for case in cases:
        for seed in seeds:
            stated = claim(case, seed)
            off = stated.log_evidence - case.exact
            if stated.verdict == "exact":
                exact += 1
                assert off.abs().max() <= ROUNDING, f"{case.name}: called exact, and off by {off.abs().max():.3g} nats"
            elif stated.verdict == "converged":
                assert stated.width is not None, f"{case.name}: called converged without a width"
                judged += 1
                hits += bool(off.mean().abs() <= stated.width + ROUNDING)
    assert judged + exact >= fewest, f"expected {fewest} verdicts to judge, got {judged + exact}"
    _assert_covered(hits, judged, "means within the stated width")


def check_missing(estimate: Estimate, case: Case, seed: int = 0) -> None:
    """The content of missing frames changes no bit of the estimates."""
    if case.observed is None or bool(case.observed.all()):
        raise ValueError(f"{case.name}: expected a case with missing frames, got none")
    first = estimate(case.with_missing(math.nan), seed)
    assert not bool(first.isnan().any()), f"{case.name}: expected numbers, got nan with nan in missing frames"
    other = estimate(case.with_missing(MISSING), seed)
    assert torch.equal(first, other), f"{case.name}: another estimate with {MISSING} in missing frames than with nan"


def check_own_noise(estimate: Estimate, simulated: Callable[[int], Case], seeds: Sequence[int]) -> None:
    """An estimator that gets the seed with which the videos were simulated uses other noise.

    If it reuses the simulation's noise, a guide that is the prior draws the true latents of the videos, and log
    estimates lie above the truth on average.

    Args:
        estimate: see above, with at most some hundred draws for each estimate.
        simulated: videos of a seed, and their evidence.
        seeds: seeds of both.
    """
    # each repeat separately, since a reused stream coincides only at its start
    excess = torch.cat([_excess(estimate, simulated(seed), [seed]).mT for seed in seeds])
    error = excess.std(0) / len(excess) ** 0.5
    assert bool((excess.mean(0) <= _normal(excess.shape[1], sides=1) * error).all()), (
        f"expected a mean of log estimates below the truth on videos of the same seed, got {excess.mean(0).tolist()} "
        f"above it in {excess.shape[1]} repeats, with standard errors {error.tolist()}"
    )


def _excess(estimate: Estimate, case: Case, seeds: Sequence[int]) -> Tensor:
    """Log estimates above the log evidence, (repeats, sequences)."""
    draws = torch.cat([estimate(case, seed) for seed in seeds])
    assert draws.dim() == 2, f"{case.name}: expected (repeats, sequences), got {tuple(draws.shape)}"
    assert draws.shape[1] == len(case.exact), f"{case.name}: expected {len(case.exact)} sequences, got {draws.shape[1]}"
    assert not bool((draws.isnan() | (draws == math.inf)).any()), f"{case.name}: expected numbers, got nan or infinity"
    return draws - case.exact


def _normal(comparisons: int, *, sides: int) -> float:
    """Number of standard errors that keeps the rate of false alarms over all comparisons below `FAILURE_RATE`."""
    return statistics.NormalDist().inv_cdf(1 - FAILURE_RATE / comparisons / sides)


def _assert_covered(hits: int, judged: int, what: str) -> None:
    """At least 90 %, or, for few estimates, the quantile at `FAILURE_RATE` of a binomial with 95.4 %."""
    needed = min(math.ceil(ASKED * judged), int(binom.ppf(FAILURE_RATE, judged, COVERED)))
    assert hits >= needed, f"{what}: expected at least {needed} of {judged}, got {hits}"
