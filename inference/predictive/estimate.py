"""Predictive scores of a model: of each frame given those before it, and of frames that are held out."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from tqdm import tqdm

from guides.describe import describe_sites
from guides.site_table import SiteTable
from inference.estimators.particle_filter import has_steps
from inference.evidence import Budget, Verdict, log_evidence
from inference.evidence.chunks import check_arguments, chunk_of, device_of
from inference.predictive.held_out_draws import BRIER, CRPS, ENERGY, rows_of, scores_of_draws
from inference.predictive.mask_marginals import held_out_between, integrates_out
from inference.predictive.prefixes import MOST_PARTICLES, prefix_evidence
from inference.predictive.record import FrameScore, PredictiveScores
from inference.predictive.steps_ahead import StepsAhead
from inference.programs.decoding import FRAMES, Arguments, check_frames_site
from inference.programs.traces import Program
from inference.queries.imputation import check_frames, chunks, quietly
from inference.runtime.generators import child_seed

NUM_REPEATS = 8
VIDEOS_AT_ONCE = 4  # at least: so often does the bar move

Videos = tuple[Tensor, Tensor, Tensor | None]


def predictive_scores(
    model: Program,
    guide: Program,
    frames: Tensor,
    observed: Tensor | None = None,
    controls: Tensor | None = None,
    *,
    held_out: Tensor | None = None,
    num_samples: int = 64,
    num_particles: int = 64,
    budget: Budget | None = None,
    completion: str | None = None,
    seed: int = 0,
    progress: bool = False,
) -> PredictiveScores:
    """Score a model's predictions: each frame one step ahead, and frames that are held out; see `PredictiveScores`.

    One step ahead, log p(x_t | x_{<t}): the increments of eight particle filters where model and guide have steps,
    differences of importance-sampling estimates of log p(x_1, ..., x_t) otherwise. They add up to an estimate of the
    log evidence, below it in expectation.

    Held out, log p(x_held | x_seen). Where all held-out frames of a sequence come after the others, it is the sum of
    their scores one step ahead. Otherwise it is log p(x_seen, x_held) - log p(x_seen), both by
    `log_evidence(method="auto")`: of the model, whatever the guide, as far as both verdicts reach. A difference of two
    lower bounds is itself no bound, and too high where the guide is worse at videos with gaps than at whole ones.

    CRPS and energy score (grey frames) or Brier score (binary ones), see `inference.metrics.proper_scores`, are of
    draws of whole frames: latents from `queries.impute`, then pixels from the model. They are of model and guide
    together, since the guide's completion is not weighed.

    Held-out frames are blanked before anything that predicts them from both sides is run. Site weights of training do
    not enter.

    Args:
        model: a `PyroModule` called `(frames, observed, controls)`, whose one observed site is `frames`.
        guide: called with the same arguments. Scores of draws need its `complete`, or draws that mean something at
            missing frames.
        frames: (sequences, time, channels, height, width); at least two sequences, over which errors are taken.
        observed: bool (sequences, time), False = missing: neither read nor scored. None = all seen.
        controls: (sequences, time, control) or None; those of held-out steps are given to the model.
        held_out: bool (sequences, time), True = held out; observed frames only. None = one step ahead alone.
        num_samples: draws of held-out frames, at least 2.
        num_particles: of each of the eight repeats, one step ahead.
        budget: of `log_evidence`, for frames held out between others; None = `Budget()`.
        completion: one of `guide.completion_methods`, which has to draw; None = its first.
        seed: of all draws; the caller's random streams are untouched.
        progress: show bars.

    Raises:
        ValueError: if a shape or number is wrong, there is one sequence, no frame is held out or one that is not
            observed or not finite, the model has other observed sites or scores missing frames, and what
            `log_evidence`, `queries.impute` and the scores raise.
    """
    seen = check_frames(frames, observed).to(frames.device)
    held_out = None if held_out is None else held_out.to(frames.device)
    _check_sizes((frames, observed, controls), num_samples, num_particles)
    _check_values(frames, seen, held_out)
    table = _table(model, (frames, seen, controls), seed)
    drawn: dict[str, FrameScore] = {}
    shown = None
    if held_out is not None:
        shown = (_blanked(frames, held_out), seen & ~held_out, controls)
        drawn = scores_of_draws(
            model,
            guide,
            frames,
            shown,
            held_out,
            binary=table[FRAMES].discrete,
            num_samples=num_samples,
            completion=completion,
            seed=seed,
        )
    prefixes, method = _prefixes(model, guide, (frames, observed, controls), num_particles, seed, progress)
    ahead = StepsAhead(prefixes, seen.cpu(), _prefixes_are_marginals(model, guide, frames, seen, controls, seed))
    together, verdicts = None, None
    if held_out is not None and shown is not None:
        together = ahead.score(held_out.cpu(), by_frame=False)
        between = held_out_between(shown[1], held_out)
        if bool(between.any()):
            whole = (frames, seen, controls)
            together, verdicts = _by_difference(
                model, guide, whole, shown, held_out, between, together, budget=budget, seed=seed, progress=progress
            )
    return PredictiveScores(
        one_step_ahead=ahead.score(seen.cpu()),
        held_out=together,
        crps=drawn.get(CRPS),
        energy_score=drawn.get(ENERGY),
        brier_score=drawn.get(BRIER),
        observed=seen.cpu(),
        held_out_frames=None if held_out is None else held_out.cpu(),
        reference="probability" if table[FRAMES].discrete else "density",
        dimensions=frames[0, 0].numel(),
        num_samples=num_samples,
        method=f"{method}, {ahead.spread:.2g} nats apart",
        spread=ahead.spread,
        verdicts=verdicts,
    )


def _check_sizes(args: tuple[Tensor, Tensor | None, Tensor | None], num_samples: int, num_particles: int) -> None:
    num_sequences = check_arguments(args)
    if num_sequences < 2:
        raise ValueError(
            "frames: expected at least 2 sequences, as errors are taken over sequences, got 1; give more videos, or "
            "weigh the one by log_evidence"
        )
    for name, number, least in (("num_samples", num_samples, 2), ("num_particles", num_particles, 1)):
        if number < least:
            raise ValueError(f"{name}: expected at least {least}, got {number}")


def _check_values(frames: Tensor, seen: Tensor, held_out: Tensor | None) -> None:
    if not bool(seen.any()):
        raise ValueError(
            "observed: expected frames to score, True in the mask, got none; True means that a frame is there"
        )
    if held_out is not None:
        if held_out.dtype != torch.bool or held_out.shape != seen.shape:
            raise ValueError(
                f"held_out: expected bool (sequences, time) = {tuple(seen.shape)}, True = held out, "
                f"got {held_out.dtype} {tuple(held_out.shape)}"
            )
        if not bool(held_out.any()):
            raise ValueError(
                "held_out: expected at least one held-out frame, True in the mask, got none; mark some, or leave "
                "held_out=None for the scores one step ahead alone"
            )
        if overlap := int((held_out & ~seen).sum()):
            raise ValueError(
                f"held_out: expected observed frames, since their values are scored, got {overlap} for which observed "
                "is False; leave held-out frames observed, or take the missing ones out of held_out"
            )
    wrong = ~frames.flatten(2).isfinite().all(2) & seen
    if bool(wrong.any()):
        raise ValueError(
            f"frames: expected finite values in observed frames, got others in {int(wrong.sum())} of them; mark those "
            "as missing in observed"
        )


def _table(model: Program, args: Videos, seed: int) -> SiteTable:
    """Sites of the model."""
    with quietly(model, seed=seed):
        table = describe_sites(model, *chunk_of(args, slice(0, 1), device_of(model)))
    check_frames_site(table)
    others = [site.name for site in table if site.observed and site.name != FRAMES]
    if others:
        raise ValueError(
            f"model: expected {FRAMES!r} as its only observed site, got {', '.join(map(repr, others))} as well, which "
            "log scores would count as frames; score a model without it"
        )
    return table


def _blanked(frames: Tensor, held_out: Bool[Tensor, "sequences time"]) -> Tensor:
    """Frames without the held-out ones, so that a program that does not look at its mask learns nothing of them."""
    return torch.where(held_out[:, :, None, None, None], 0.0, frames)


def _prefixes(
    model: Program, guide: Program, args: Arguments, num_particles: int, seed: int, progress: bool
) -> tuple[Float[Tensor, "repeats time sequences"], str]:
    """`prefix_evidence` of some videos after others, under a bar."""
    parts, method = [], ""
    at_once = max(VIDEOS_AT_ONCE, MOST_PARTICLES // (num_particles * NUM_REPEATS))
    with tqdm(total=len(args[0]), desc="one step ahead", unit="video", disable=not progress, leave=False) as bar:
        for number, rows in enumerate(chunks(len(args[0]), at_once)):
            found, method = prefix_evidence(
                model,
                guide,
                chunk_of(args, rows, args[0].device),
                num_particles=num_particles,
                num_repeats=NUM_REPEATS,
                seed=child_seed("videos of prefixes", seed, number),
            )
            parts.append(found)
            bar.update(found.shape[2])
    return torch.cat(parts, 2), method


def _prefixes_are_marginals(
    model: Program, guide: Program, frames: Tensor, seen: Tensor, controls: Tensor | None, seed: int
) -> bool:
    """Whether masks that end early give the distribution of the first frames; filters need no masks."""
    if has_steps(model, guide):
        return True
    number = seen.cumsum(1)
    later = seen & (number > number[:, -1:] // 2)
    return integrates_out(model, guide, (_blanked(frames, later), seen & ~later, controls), later, seed=seed)


def _by_difference(
    model: Program,
    guide: Program,
    whole: Videos,
    shown: Videos,
    held_out: Tensor,
    rows: Bool[Tensor, " sequences"],
    others: FrameScore,
    *,
    budget: Budget | None,
    seed: int,
    progress: bool,
) -> tuple[FrameScore, tuple[Verdict, Verdict]]:
    """Log scores of held-out frames of some sequences, by the log evidence of all and of the shown frames.

    Args:
        model: the model.
        guide: its guide.
        whole: frames, observed and controls.
        shown: the same without held-out frames.
        held_out: which these are.
        rows: the sequences.
        others: the scores of the other sequences.
        budget: of each log evidence.
        seed: of the draws.
        progress: show bars.
    """
    every, without = (
        log_evidence(
            model,
            guide,
            frames[rows],
            seen[rows],
            None if controls is None else controls[rows],
            method="auto",
            budget=budget,
            seed=child_seed(purpose, seed),
            progress=progress,
        )
        for purpose, (frames, seen, controls) in (("with held-out frames", whole), ("without them", shown))
    )
    assert every.verdict is not None
    assert without.verdict is not None
    normalised = integrates_out(model, guide, rows_of(shown, rows), held_out[rows], seed=seed)
    rows = rows.cpu()
    totals, errors = others.totals.clone(), others.monte_carlo.clone()
    totals[rows] = every.log_evidence - without.log_evidence
    errors[rows] = (every.standard_error.square() + without.standard_error.square()).sqrt()
    score = FrameScore(totals, others.counts, errors, normalised=normalised and (others.normalised or bool(rows.all())))
    return score, (every.verdict, without.verdict)
