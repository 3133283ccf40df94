"""Evaluation of a trained run: bounds, evidence, and the scores of its recipe."""

import logging
import math
import time
from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, Unpack

from torch import Tensor

from inference.evidence import Budget, Evidence, log_evidence
from inference.evidence.settings import EvidenceSettings
from inference.experiments.evaluation import Bounds, Evaluation
from inference.experiments.predictive_summary import PREDICTIVE, draws_points, predict_run
from inference.experiments.runs import TrainedRun
from inference.runtime.host_memory import keep_freed_memory
from inference.runtime.keywords import split_settings, suggestion
from inference.runtime.processes import ALONE, Processes
from inference.scores.score import Evaluated, FreshVideos, Score

_log = logging.getLogger(__name__)

PARTS = ("reconstruction", "divergence", "weighted_reconstruction", "weighted_divergence")


def run_evidence(
    run: TrainedRun,
    num_sequences: int,
    budget: Budget | None = None,
    seed: int = 0,
    progress: bool = False,
    processes: Processes = ALONE,
) -> Evidence:
    """Log evidence of the first test sequences, by the best method that model and guide support.

    Raises:
        ValueError: if the run's guide gives no evidence, as a guide of point masses does; names the run.
    """
    how: EvidenceSettings = {"seed": seed, "progress": progress, "processes": processes}
    return _weigh(run, num_sequences, budget or "auto", **how)


def check_has_evidence(run: TrainedRun) -> None:
    """Compute one log weight for one video: refuses a run without evidence before others are evaluated.

    Raises:
        ValueError: as `run_evidence`.
    """
    _weigh(run, 1, num_particles=1)


def _weigh(
    run: TrainedRun,
    num_sequences: int,
    method: Literal["auto"] | Budget | None = None,
    num_particles: int | None = None,
    **how: Unpack[EvidenceSettings],
) -> Evidence:
    videos = run.test.select(slice(0, num_sequences))
    try:
        return log_evidence(run.model, run.guide, *videos.arguments, method=method, num_particles=num_particles, **how)
    except ValueError as error:
        raise ValueError(f"run {run.folder.path.name!r} has no evidence: {error}") from error


@dataclass(frozen=True)
class EvaluationSettings:
    """Keyword settings of `evaluate`; the other keywords are options of scores.

    Attributes:
        num_particles: draws of the guide per sequence for the bounds; particles of each repeat for predictive scores.
        num_evidence_sequences: test sequences for bounds and evidence.
        budget: how much to spend on the evidence; None = `Budget()`.
        num_predictive_sequences: test sequences for predictive scores, at least 2; 0 = none.
        seed: seed of draws, masks and probes.
        progress: show bars.
        processes: processes that share the work on evidence and imputation; all get the whole result.
    """

    num_particles: int = 100
    num_evidence_sequences: int = 100
    budget: Budget | None = None
    num_predictive_sequences: int = 0
    seed: int = 0
    progress: bool = False
    processes: Processes = ALONE


def evaluate(run: TrainedRun, **settings: Any) -> Evaluation:
    """Score a run on its test videos: bounds, evidence, and its recipe's scores.

    Args:
        run: from `load_run`.
        settings: see below; others are options of the recipe's scores, such as `num_masks` of imputation errors.

    Keyword Args:
        num_particles: draws of the guide per sequence for the bounds; particles of each repeat for predictive scores
            (default 100).
        num_evidence_sequences: test sequences for bounds and evidence (default 100).
        budget: how much to spend on the evidence (default None: `Budget()`).
        num_predictive_sequences: test sequences for predictive scores, at least 2 (default 0: none).
        seed: seed of draws, masks and probes (default 0).
        progress: show bars (default False).
        processes: processes that share the work on evidence and imputation; all get the whole result (default: this one
            alone).

    Raises:
        TypeError: for a keyword that is neither a setting nor an option of the scores.
        ValueError: if predictive scores are requested for a run whose guide has no density, or for a single sequence;
            also what scores raise.
    """
    how, options = split_settings(EvaluationSettings, settings)
    scores = defined_scores(run, options)
    for score in scores:
        score.check(run.test)
    keep_freed_memory()
    # First: the run may refuse predictive scores, and they take less time than the evidence.
    predictive = predict_run(run, how.num_predictive_sequences, how.num_particles, how.seed, how.progress)
    evidence, bounds = _bounds(run, how)
    evaluated = replace(evaluated_run(run), seed=how.seed, progress=how.progress, processes=how.processes)
    found = {score.name: score.compute(evaluated) for score in scores}
    found[PREDICTIVE] = None if predictive is None else predictive.beside(evidence)
    return Evaluation(
        recipe=run.recipe.name,
        step=run.step,
        bounds=bounds,
        frames=run.test.num_frames,
        scores={name: value for name, value in found.items() if value is not None},
    )


def score_options(scores: Iterable[Score]) -> dict[str, Any]:
    """Options of some scores with their values; only those that can be given as text."""
    return {
        option.name: getattr(score, option.name)
        for score in scores
        for option in fields(score)
        if isinstance(getattr(score, option.name), bool | int | float | str) or option.type == tuple[int, ...]
    }


def scores_with(run: TrainedRun, options: dict[str, Any]) -> list[Score]:
    """The scores of a run's recipe, with some options replaced.

    Raises:
        TypeError: for an option that none of them has.
    """
    known = score_options(run.recipe.scores())
    if unknown := sorted(set(options) - set(known)):
        listed = ", ".join(known) or "none"
        settings = [setting.name for setting in fields(EvaluationSettings)]
        raise TypeError(
            f"{', '.join(unknown)}: expected settings of evaluate ({', '.join(settings)}) or options of the scores of "
            f"{run.recipe.name!r} ({listed}), got {', '.join(unknown)}; {suggestion(unknown, [*settings, *known])}"
        )
    return [
        replace(score, **{name: options[name] for name in options.keys() & {option.name for option in fields(score)}})
        for score in run.recipe.scores()
    ]


def defined_scores(run: TrainedRun, options: dict[str, Any]) -> list[Score]:
    """Those of `scores_with` that the test videos have the truth for; a line of the log names the others.

    Raises:
        TypeError: as `scores_with`.
    """
    scores = scores_with(run, options)
    lacking = {score.name: [name for name in score.needs if getattr(run.test, name) is None] for score in scores}
    if left_out := [name for name, missing in lacking.items() if missing]:
        unknown = ", ".join(dict.fromkeys(name for missing in lacking.values() for name in missing))
        _log.info("left out, since the test videos come without %s: %s", unknown.replace("_", " "), ", ".join(left_out))
    return [score for score in scores if not lacking[score.name]]


def evaluated_run(run: TrainedRun) -> Evaluated:
    """A run in the form that scores and pictures take."""

    def fresh_videos(batch_size: int) -> FreshVideos:
        recipe = run.recipe.with_options(batch_size=batch_size)
        splits = recipe.splits()
        return FreshVideos(recipe.training_source(splits.train), recipe.num_steps, splits.validation)

    return Evaluated(run.model, run.guide, run.test, fresh_videos=fresh_videos)


def _bounds(run: TrainedRun, how: EvaluationSettings) -> tuple[Evidence, Bounds] | tuple[None, None]:
    if draws_points(run):
        return None, None
    start = time.monotonic()
    num_sequences = how.num_evidence_sequences
    evidence = run_evidence(run, num_sequences, how.budget, how.seed, how.progress, how.processes)
    seconds = (time.monotonic() - start) / evidence.num_sequences
    weighed = _weigh(
        run,
        num_sequences,
        num_particles=how.num_particles,
        particles_per_chunk=min(25, how.num_particles),
        sequences_per_chunk=4,  # 2,000 frames at once: more only empties the caches
        seed=how.seed,
        progress=how.progress,
        processes=how.processes,
    )
    return evidence, bounds_of(evidence, weighed, seconds)


def bounds_of(evidence: Evidence, weighed: Evidence, seconds: float) -> Bounds:
    """Means over sequences.

    Args:
        evidence: by `log_evidence(method="auto")`.
        weighed: importance sampling with the guide, for the same sequences.
        seconds: time that `evidence` took, per sequence.
    """
    verdict = evidence.verdict
    assert verdict is not None
    unknown = bool(weighed.pareto_k.isnan().any())
    return Bounds(
        elbo=weighed.elbo.mean().item(),
        elbo_error=_standard_error(weighed.elbo),
        log_evidence=evidence.log_evidence.mean().item(),
        log_evidence_error=_standard_error(evidence.log_evidence),
        num_particles=weighed.num_particles,
        num_sequences=evidence.num_sequences,
        pareto_k_above=None if unknown else (weighed.pareto_k > 0.7).double().mean().item(),
        **{name: getattr(weighed, name).mean().item() for name in PARTS},
        importance_weighted=weighed.log_evidence.mean().item(),
        verdict=verdict.kind,
        reasons=verdict.words,
        width=verdict.width,
        seconds=seconds,
        effective_sample_size=weighed.effective_sample_size.mean().item(),
    )


def _standard_error(values: Tensor) -> float:
    number = values.shape[0]
    return (values.double().std() / number**0.5).item() if number > 1 else math.nan
