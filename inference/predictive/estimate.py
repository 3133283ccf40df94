"""Predictive scores of a model: each frame given those before it, and held-out frames."""

from typing import Unpack

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from tqdm import tqdm

from guides.describe import describe_sites
from guides.site_table import SiteTable
from inference.estimators.particle_filter import has_steps
from inference.evidence import Verdict, log_evidence
from inference.evidence.chunks import chunk_of, device_of
from inference.predictive.held_out import HeldOut, Videos
from inference.predictive.held_out_draws import BRIER, CRPS, ENERGY, scores_of_draws
from inference.predictive.mask_marginals import held_out_between, integrates_out
from inference.predictive.prefixes import MOST_PARTICLES, prefix_evidence
from inference.predictive.record import FrameScore, PredictiveScores
from inference.predictive.settings import PredictiveSettings, ScoreSettings
from inference.predictive.steps_ahead import StepsAhead
from inference.programs.decoding import FRAMES, Arguments, check_frames_site
from inference.programs.given_videos import check_given
from inference.programs.traces import Program
from inference.queries.imputation import chunks, mask_of, quietly
from inference.runtime.generators import child_seed
from inference.runtime.keywords import settings_of
from videos.typed import check_kind

NUM_REPEATS = 8
VIDEOS_AT_ONCE = 4  # minimum; the progress bar moves after each such chunk


def predictive_scores(
    model: Program,
    guide: Program,
    frames: Tensor,
    observed: Tensor | None = None,
    controls: Tensor | None = None,
    *,
    held_out: Tensor | None = None,
    **settings: Unpack[PredictiveSettings],
) -> PredictiveScores:
    """Score a model's predictions: each frame one step ahead, and held-out frames; see `PredictiveScores`.

    One step ahead, log p(x_t | x_{<t}): the increments of eight particle filters if model and guide have steps,
    otherwise differences of importance-sampling estimates of log p(x_1, ..., x_t). They add up to an estimate of the
    log evidence, below it in expectation.

    Held out, log p(x_held | x_seen). If all held-out frames of a sequence come after the others, it is the sum of their
    one-step-ahead scores. Otherwise it is log p(x_seen, x_held) - log p(x_seen), both by `log_evidence(method="auto")`:
    a score of the model, independent of the guide if both estimates have converged. A difference of two lower bounds is
    not a bound, and too high if the guide is worse on videos with gaps than on whole ones.

    CRPS and energy score (grey frames) or Brier score (binary ones), see `inference.metrics.proper_scores`, use draws
    of whole frames: latents from `queries.impute`, then pixels from the model. They score model and guide together,
    since the guide's completion is not importance-weighted.

    Held-out frames are blanked before they are predicted from both sides. Site weights of training are not used.

    Args:
        model: a `PyroModule` called `(frames, observed, controls)`, with `frames` as its only observed site.
        guide: called with the same arguments. Scores of draws need its `complete`, or meaningful draws at missing
            frames.
        frames: (sequences, time, channels, height, width); at least two sequences, for standard errors.
        observed: bool (sequences, time), False = missing: neither read nor scored. None = all seen.
        controls: (sequences, time, control) or None; the model is given those of held-out steps too.
        held_out: bool (sequences, time), True = held out; observed frames only. None = one step ahead only.
        settings: see below.

    Keyword Args:
        num_samples: draws of held-out frames, at least 2 (default 64).
        num_particles: particles in each of the eight repeats, one step ahead (default 64).
        budget: budget of `log_evidence`, for frames held out between others (default None: `Budget()`).
        completion: one of `guide.completion_methods`, which must draw (default None: its first).
        seed: seed of all draws (default 0); the caller's random streams are untouched.
        progress: show bars (default False).

    Raises:
        TypeError: for an unknown setting, or an argument that is no tensor.
        ValueError: if a shape or number is wrong, there is a single sequence, the mask holds out no frame or one that
            is not observed, an observed frame is not finite, or the model has other observed sites or scores missing
            frames; also what `log_evidence`, `queries.impute` and the scores raise.
    """
    how = settings_of(predictive_scores, ScoreSettings, settings)
    number = check_given(model, frames, observed, controls)
    check_kind("held_out", held_out, Tensor | None)
    seen = mask_of(frames, observed)
    held_out = None if held_out is None else held_out.to(frames.device)
    _check_count(number)
    _check_held_out(seen, held_out)
    whole = (frames, seen, controls)
    table = _table(model, whole, how.seed)
    videos = None if held_out is None else HeldOut(whole, held_out)
    drawn = {} if videos is None else scores_of_draws(model, guide, videos, table[FRAMES].discrete, how)
    prefixes, method = _prefixes(model, guide, (frames, observed, controls), how)
    ahead = StepsAhead(prefixes, seen.cpu(), _prefixes_are_marginals(model, guide, whole, how.seed))
    together, verdicts = None, None
    if videos is not None:
        together = ahead.score(videos.mask.cpu(), by_frame=False)
        between = held_out_between(videos.shown[1], videos.mask)
        if bool(between.any()):
            together, verdicts = _by_difference(model, guide, videos, between, together, how)
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
        num_samples=how.num_samples,
        method=f"{method}, {ahead.spread:.2g} nats apart",
        spread=ahead.spread,
        verdicts=verdicts,
    )


def _check_count(number: int) -> None:
    if number < 2:
        raise ValueError(
            "frames: expected at least 2 sequences, since standard errors are over sequences, got 1; give more videos, "
            "or use log_evidence for a single one"
        )


def _check_held_out(seen: Tensor, held_out: Tensor | None) -> None:
    if not bool(seen.any()):
        raise ValueError(
            "observed: expected frames to score, True in the mask, got none; True means that a frame is observed"
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
                "held_out=None for one-step-ahead scores only"
            )
        if overlap := int((held_out & ~seen).sum()):
            raise ValueError(
                f"held_out: expected observed frames, since their values are scored, got {overlap} for which observed "
                "is False; leave held-out frames observed, or take the missing ones out of held_out"
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
            "would enter the log scores of frames; score a model without it"
        )
    return table


def _prefixes(
    model: Program, guide: Program, args: Arguments, how: ScoreSettings
) -> tuple[Float[Tensor, "repeats time sequences"], str]:
    """`prefix_evidence` in chunks of videos, with a progress bar."""
    parts, method = [], ""
    at_once = max(VIDEOS_AT_ONCE, MOST_PARTICLES // (how.num_particles * NUM_REPEATS))
    with tqdm(total=len(args[0]), desc="one step ahead", unit="video", disable=not how.progress, leave=False) as bar:
        for number, rows in enumerate(chunks(len(args[0]), at_once)):
            found, method = prefix_evidence(
                model,
                guide,
                chunk_of(args, rows, args[0].device),
                num_particles=how.num_particles,
                num_repeats=NUM_REPEATS,
                seed=child_seed("videos of prefixes", how.seed, number),
            )
            parts.append(found)
            bar.update(found.shape[2])
    return torch.cat(parts, 2), method


def _prefixes_are_marginals(model: Program, guide: Program, whole: Videos, seed: int) -> bool:
    """Whether masking later frames gives the marginal of the first ones; filters need no masks."""
    if has_steps(model, guide):
        return True
    seen = whole[1]
    number = seen.cumsum(1)
    later = seen & (number > number[:, -1:] // 2)
    return integrates_out(model, guide, HeldOut(whole, later).shown, later, seed=seed)


def _by_difference(
    model: Program,
    guide: Program,
    videos: HeldOut,
    rows: Bool[Tensor, " sequences"],
    others: FrameScore,
    how: ScoreSettings,
) -> tuple[FrameScore, tuple[Verdict, Verdict]]:
    """Log scores of held-out frames of some sequences: log evidence of all frames minus that of the shown ones.

    Args:
        model: the model.
        guide: its guide.
        videos: videos with held-out frames.
        rows: mask of the sequences.
        others: scores of the other sequences.
        how: budget of each log evidence, seed, and whether to show bars.
    """
    chosen = videos.select(rows)
    every, without = (
        log_evidence(
            model,
            guide,
            *args,
            method=how.budget or "auto",
            seed=child_seed(purpose, how.seed),
            progress=how.progress,
        )
        for purpose, args in (("with held-out frames", chosen.whole), ("without them", chosen.shown))
    )
    assert every.verdict is not None
    assert without.verdict is not None
    normalised = integrates_out(model, guide, chosen.shown, chosen.mask, seed=how.seed)
    rows = rows.cpu()
    totals, errors = others.totals.clone(), others.monte_carlo.clone()
    totals[rows] = every.log_evidence - without.log_evidence
    errors[rows] = (every.standard_error.square() + without.standard_error.square()).sqrt()
    score = FrameScore(totals, others.counts, errors, normalised=normalised and (others.normalised or bool(rows.all())))
    return score, (every.verdict, without.verdict)
