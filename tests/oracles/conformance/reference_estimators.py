"""Short estimators written by hand, which the checks must pass, and wrong ones, which they must fail.

They stand for another library and share no code with ours. Their seeds are below 2^32, since torch reads only 32 bits
of a seed on a CPU.
"""

import math
from collections.abc import Callable

import torch
from pyro import plate, poutine
from torch import Tensor

from tests.oracles.conformance import hidden_markov
from tests.oracles.conformance.case import Case, seen_frames
from tests.oracles.conformance.checks import Claim, Estimate


def log_weights(case: Case, seed: int, particles: int, repeats: int, *, stream: int = 2**30) -> Tensor:
    """Log p(x, z) - log q(z | x) of draws of the guide, (particles, repeats, sequences)."""
    batch = case.tiled(repeats)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(stream + seed)
        guide = poutine.trace(plate("particles", particles, dim=-3)(batch.guide)).get_trace(*batch.arguments)
        replayed = poutine.replay(plate("particles", particles, dim=-3)(batch.model), trace=guide)
        model = poutine.trace(replayed).get_trace(*batch.arguments)
    total = torch.zeros(particles, len(batch.exact), dtype=torch.float64)
    for trace, sign in ((model, 1), (guide, -1)):
        trace.compute_log_prob()
        for site in trace.nodes.values():
            if site["type"] == "sample" and type(site["fn"]).__name__ != "_Subsample":
                term = site["log_prob"].reshape(-1, *site["log_prob"].shape[-2:])
                total = total + sign * term.sum(-2)
    return total.unflatten(1, (repeats, -1))


def importance_sampling(particles: int, repeats: int, *, stream: int = 2**30) -> Estimate:
    """Log 1/K sum_k p(x, z_k) / q(z_k | x)."""

    def estimate(case: Case, seed: int) -> Tensor:
        weights = log_weights(case, seed, particles, repeats, stream=stream)
        return weights.logsumexp(0) - math.log(particles)

    return estimate


def importance_claims(particles: int, repeats: int, *, shrunk: float = 1.0, verdict: str = "converged") -> Callable:
    """Claims by the delta method; the weights of the cases are bounded, so that k-hat is taken to be 0.

    Args:
        particles: number of particles of each estimate.
        repeats: number of estimates of each video.
        shrunk: factor by which the stated errors are too small.
        verdict: stated verdict.
    """

    def claim(case: Case, seed: int) -> Claim:
        weights = log_weights(case, seed, particles, repeats)
        log_evidence = weights.logsumexp(0) - math.log(particles)
        error = (weights - log_evidence).exp().std(0) / particles**0.5 / shrunk
        width = 2 * error.square().sum().sqrt().item() / error.numel()
        return Claim(log_evidence, error, torch.zeros_like(error), verdict, width)

    return claim


def bootstrap_filter(particles: int, repeats: int, *, resets: bool = True) -> Estimate:
    """A particle filter of the hidden Markov model that draws from the transition (Gordon, Salmond and Smith 1993).

    Args:
        particles: K.
        repeats: filters of each video.
        resets: whether weights start at zero again after each resampling.
    """

    def estimate(case: Case, seed: int) -> Tensor:
        batch = case.tiled(repeats)
        x, mask = seen_frames(batch.frames, batch.observed)
        total = torch.zeros(len(x), dtype=torch.float64)
        weights = torch.zeros(len(x), particles, dtype=torch.float64)
        chances = hidden_markov.INITIAL.expand(len(x), particles, 3)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(2**29 + seed)
            for index in range(x.shape[1]):
                state = torch.multinomial(chances.reshape(-1, 3), 1).reshape(len(x), particles)
                fit = -0.5 * ((x[:, index] - hidden_markov.MEANS[state]) / hidden_markov.SCALE) ** 2
                fit = fit - math.log(hidden_markov.SCALE) - 0.5 * math.log(2 * math.pi)
                weights = weights + torch.where(mask[:, index, None], fit, 0.0)
                total = total + weights.logsumexp(1) - math.log(particles)
                ancestors = torch.multinomial(weights.softmax(1), particles, replacement=True)
                weights = torch.zeros_like(weights) if resets else weights.gather(1, ancestors)
                chances = hidden_markov.TRANSITION[state.gather(1, ancestors)]
        return total.unflatten(0, (repeats, -1))

    return estimate


def not_divided(particles: int, repeats: int) -> Estimate:
    """Log sum_k w_k: above by log K."""

    def estimate(case: Case, seed: int) -> Tensor:
        return log_weights(case, seed, particles, repeats).logsumexp(0)

    return estimate


def with_entropy_of_another_site(particles: int, repeats: int) -> Estimate:
    """The guide draws a site that the model lacks, and its log q is subtracted from the log weights."""
    chances = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)

    def estimate(case: Case, seed: int) -> Tensor:
        weights = log_weights(case, seed, particles, repeats)
        drawn = torch.multinomial(
            chances, weights.numel(), replacement=True, generator=torch.Generator().manual_seed(2**28 + seed)
        )
        return (weights - chances[drawn].log().reshape(weights.shape)).logsumexp(0) - math.log(particles)

    return estimate


def best_of_two(particles: int, repeats: int) -> Estimate:
    """Two estimates of which the higher one is kept, since both are lower bounds in expectation."""

    def estimate(case: Case, seed: int) -> Tensor:
        both = importance_sampling(particles, 2 * repeats)(case, seed)
        return both.unflatten(0, (2, -1)).amax(0)

    return estimate


def mean_of_logs(particles: int, repeats: int) -> Estimate:
    """1/K sum_k log w_k: the ELBO, which more draws do not raise."""

    def estimate(case: Case, seed: int) -> Tensor:
        return log_weights(case, seed, particles, repeats).mean(0)

    return estimate


def all_frames_seen(particles: int, repeats: int) -> Estimate:
    """Ignores the mask and reads missing frames, NaN as zero."""

    def estimate(case: Case, seed: int) -> Tensor:
        frames = case.frames.nan_to_num(0.0)
        blind = Case(case.name, case.model, case.guide, frames, case.exact, controls=case.controls)
        return importance_sampling(particles, repeats)(blind, seed)

    return estimate


def one_standard_deviation_up(particles: int, repeats: int) -> Estimate:
    """Too high by an amount of the size of its noise: only a check with many repeats detects it."""

    def estimate(case: Case, seed: int) -> Tensor:
        draws = importance_sampling(particles, repeats)(case, seed)
        return draws + draws.std(0)

    return estimate
