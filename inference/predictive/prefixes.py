"""Log evidence of the first frame, the first two frames, ...; its differences are one-step-ahead scores."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from inference.estimators.corrected_draws import CorrectedDraws
from inference.estimators.multi_sample import log_mean_exp
from inference.estimators.particle_filter import FilterResult, FilterStep, ParticleFilter, Resampling, has_steps
from inference.evidence import Pilot, log_evidence
from inference.evidence.chunks import cells, check_arguments, chunk_of, device_of
from inference.evidence.pilot import Adaptation
from inference.evidence.settings import DrawSettings
from inference.programs.traces import Program, evaluation_mode, find_particle_dim, local_parameters
from inference.runtime.generators import child_seed, seeded

MOST_PARTICLES = 2048  # of all repeats and sequences that run together
PILOT_PARTICLES = 128  # at most


def prefix_evidence(
    model: Program,
    guide: Program,
    args: tuple[Tensor, Tensor | None, Tensor | None],
    *,
    num_particles: int,
    num_repeats: int,
    seed: int,
) -> tuple[Float[Tensor, "repeats time sequences"], str]:
    """Log of unbiased estimates of p(x_1, ..., x_t), nats, for every t and in independent repeats.

    If model and guide have steps, one particle filter gives the estimates for all t: the sum of its increments log
    p_hat(x_s | x_{<s}), the logarithms of the mean incremental weights, for s <= t (Doucet and Johansen 2009, section
    4.1). The guide may look ahead: frames after t then only affect the proposal, and the estimate is unbiased for any
    proposal. Otherwise the guide draws separately for each t, with frames after t marked as missing.

    Args:
        model: a `PyroModule` called `(frames, observed, controls)`.
        guide: called with the same arguments.
        args: frames (sequences, time, ...), observed or None, controls or None.
        num_particles: particles per repeat.
        num_repeats: number of repeats.
        seed: seed of the draws.

    Returns:
        The estimates, float64 on the CPU, and the method in words. They are meaningless where frame t is not observed
        in any sequence.

    Raises:
        ValueError: what `ParticleFilter.run` and `log_evidence` raise.
    """
    if has_steps(model, guide):
        estimates = _by_filters(model, guide, args, num_particles, num_repeats, seed)
        return estimates, f"{num_repeats} particle filters of {num_particles} particles"
    return _by_masks(model, guide, args, num_particles, num_repeats, seed)


def _by_filters(
    model: Program,
    guide: Program,
    args: tuple[Tensor, Tensor | None, Tensor | None],
    num_particles: int,
    num_repeats: int,
    seed: int,
) -> Tensor:
    """One pilot per video; filters run in parallel, each on its own copy of the videos."""
    num_sequences, num_steps = check_arguments(args), args[0].shape[1]
    found = torch.empty(num_repeats, num_steps, num_sequences, dtype=torch.float64)
    resampling, pilot = Resampling(), Pilot(max(2, min(num_particles, PILOT_PARTICLES)), looks_ahead=False)
    rows = max(1, min(num_sequences, MOST_PARTICLES // num_particles))
    at_once = max(1, MOST_PARTICLES // (num_particles * rows))
    adaptation, particle_dim, piloted = Adaptation({}, None), None, -1
    for repeats, sequences, row, column in cells(num_sequences, num_repeats, DrawSettings(at_once, rows)):
        batch, count = chunk_of(args, sequences, device_of(model, guide)), repeats.stop - repeats.start
        copies = [None if value is None else value.repeat(count, *[1] * (value.dim() - 1)) for value in batch]
        with torch.no_grad(), evaluation_mode(model, guide), local_parameters(model, guide):
            if particle_dim is None:
                particle_dim = find_particle_dim(model, guide, batch)
            if piloted != row:
                with seeded("pilots of prefixes", seed, row):
                    adaptation, piloted = pilot.adapt(model, guide, batch, resampling), row
            repeated = adaptation.repeat_sequences(count)
            weights = FilterWeights()
            particles = ParticleFilter(num_particles, resampling, particle_dim=particle_dim)
            with seeded("filters of prefixes", seed, column, row), CorrectedDraws(repeated.corrections):
                result = particles.run(model, guide, copies, watch=weights)
        found[repeats, :, sequences] = weights.totals(result).unflatten(1, (count, -1)).transpose(0, 1)
    return found


class FilterWeights:
    """Records the log incremental weights of a filter's steps."""

    def __init__(self) -> None:
        self.steps: list[Tensor] = []

    def __call__(self, step: FilterStep) -> None:
        """See `watch` of `ParticleFilter.run`."""
        self.steps.append(step.increments.to("cpu", torch.float64))

    def totals(self, result: FilterResult) -> Float[Tensor, "time sequences"]:
        """Log estimates of p(x_1, ..., x_t) after each step."""
        before = gathered = torch.zeros_like(self.steps[0])  # log weights since a sequence last resampled
        closed = torch.zeros_like(before[0])  # log estimate up to there
        totals = []
        for step, (weights, again) in enumerate(zip(self.steps, result.resampled.roll(1, 0).cpu(), strict=True)):
            if step > 0:
                closed = closed + torch.where(again, log_mean_exp(gathered), 0.0)
                before = torch.where(again, 0.0, gathered)
            gathered = before + weights
            totals.append(closed + log_mean_exp(gathered))
        return torch.stack(totals)


def _by_masks(
    model: Program,
    guide: Program,
    args: tuple[Tensor, Tensor | None, Tensor | None],
    num_particles: int,
    num_repeats: int,
    seed: int,
) -> tuple[Tensor, str]:
    """Estimates with the same random stream for every t, so noise common to two prefixes cancels in differences."""
    frames, observed, controls = args
    seen = torch.ones(frames.shape[:2], dtype=torch.bool, device=frames.device) if observed is None else observed
    found = torch.full((num_repeats, frames.shape[1], frames.shape[0]), torch.nan, dtype=torch.float64)
    rows = max(1, min(frames.shape[0], MOST_PARTICLES // num_particles))
    words = f"differences of log evidences, {num_repeats} times {num_particles} draws of the guide for each prefix"
    for step in range(frames.shape[1]):
        if not bool(seen[:, step].any()):
            continue
        mask = seen.clone()
        mask[:, step + 1 :] = False
        evidence = log_evidence(
            model,
            guide,
            frames,
            None if bool(mask.all()) else mask,
            controls,
            num_particles=num_repeats * num_particles,
            particles_per_chunk=max(1, MOST_PARTICLES // rows),
            sequences_per_chunk=rows,
            seed=child_seed("prefixes", seed),
        )
        found[:, step] = evidence.log_weights.unflatten(0, (num_repeats, -1)).logsumexp(1) - math.log(num_particles)
        assert evidence.verdict is not None
        if evidence.verdict.kind == "exact":
            words = f"exact, {evidence.verdict.words}"
    return found, words
