"""What a trained run is worth: bounds, evidence, imputation, and how its codes lie in the plane."""

import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from guides.describe import describe_sites
from inference.evidence import Budget, Evidence, log_evidence
from inference.evidence.record import SMALLEST_TAIL
from inference.experiments.predictive_summary import PredictiveSummary, draws_points, predict_run
from inference.experiments.runs import TrainedRun
from inference.metrics.counting import counting_accuracy
from inference.programs.decoding import FRAMES
from inference.programs.traces import evaluation_mode
from inference.queries.ask import reconstruct
from inference.recipes.cannonballs import BallVideosRecipe
from inference.recipes.digits import DigitsRecipe
from inference.runs.checkpoints import write_bytes
from inference.runs.folder import RunFolder
from inference.runs.records import with_tuples
from inference.runtime.host_memory import keep_freed_memory
from inference.runtime.processes import ALONE, Processes
from inference.scores.addition import AdditionScores, score_addition
from inference.scores.detection import DetectionSummary, summarize_detection
from inference.scores.imputation_curves import PATTERNS, ImputationCurve, imputation_curve
from inference.scores.position_r2 import position_r2
from inference.scores.tracking import TrackingSummary, summarize_tracking
from inference.scores.trajectories import TrajectoryScores, score_trajectories
from pyro_models.components.scene import PlacesObjects
from videos import VideoBatch

EVALUATION = "evaluation.json"  # in the run's folder
HALF = 0.5  # of a digit's box, which makes it visible
VIDEOS_AT_ONCE = 100  # whose codes a probe learns from
PARTS = ("reconstruction", "divergence", "weighted_reconstruction", "weighted_divergence")


@dataclass(frozen=True)
class Bounds:
    """Bound and evidence on test videos, nats per sequence.

    Attributes:
        elbo: mean bound, one draw.
        elbo_error: its standard error over sequences.
        log_evidence: mean estimate. Whether it is one of the evidence or a lower bound, `verdict` says.
        log_evidence_error: its standard error over sequences.
        num_particles: draws of the guide per sequence behind `importance_weighted`; in records of version 0.1.0, which
            have no verdict, behind `log_evidence`.
        num_sequences: test sequences behind all of them.
        pareto_k_above: share of sequences in which k-hat of these draws exceeds 0.7; None if they are too few for it.
        reconstruction: mean of log p(x | z), and
        divergence: of log q(z | x) - log p(z), over the guide's draws; `elbo` is their difference.
        weighted_reconstruction: the same with draws counted by their importance weights, and
        weighted_divergence: the same. Records of earlier versions have none of the four.
        importance_weighted: mean importance-weighted bound.
        verdict: "exact", "certified", "converged" or "lower bound".
        reasons: the verdict's words.
        width: nats per sequence by which `log_evidence` may be off, if it converged.
        seconds: time that `log_evidence` took, per sequence.
        effective_sample_size: mean over sequences, of the guide's draws.
    """

    elbo: float
    elbo_error: float
    log_evidence: float
    log_evidence_error: float
    num_particles: int
    num_sequences: int
    pareto_k_above: float | None
    reconstruction: float | None = None
    divergence: float | None = None
    weighted_reconstruction: float | None = None
    weighted_divergence: float | None = None
    importance_weighted: float | None = None
    verdict: str | None = None
    reasons: str | None = None
    width: float | None = None
    seconds: float | None = None
    effective_sample_size: float | None = None

    @property
    def is_lower_bound(self) -> bool:
        """Whether `log_evidence` may lie far below the evidence."""
        if self.verdict is not None:
            return self.verdict == "lower bound"
        return self.pareto_k_above != 0 or self.num_particles < SMALLEST_TAIL  # 0.1.0 wrote 0 where k-hat is not known


@dataclass(frozen=True)
class Evaluation:
    """Scores of one run on its test videos.

    Attributes:
        recipe: name of the recipe.
        step: training step of the weights.
        bounds: bound and evidence; None for a guide of point masses, whose objective bounds nothing.
        frames: frames in a sequence, to turn nats per sequence into nats per frame.
        position_r2: share of the variance of true positions that an affine and a quadratic map of the codes explain.
        curves: imputation errors, for models of binary frames.
        counting: share of frames whose number of objects is right, by what `reconstruct` gives (the likeliest objects);
            None without objects.
        visible_counting: the same of frames in which at least half of each digit lies; None without digits.
        tracking: of models that name objects.
        detection: the same where true objects have no names, in place of `tracking`.
        trajectories: of videos of cannonballs, in place of `curves` and `position_r2`.
        addition: of codes of digits, if it was asked for.
        predictive: of frames given those before them, if they were asked for.
    """

    recipe: str
    step: int
    bounds: Bounds | None
    frames: int
    position_r2: Mapping[str, float]
    curves: tuple[ImputationCurve, ...]
    counting: float | None = None
    visible_counting: float | None = None
    tracking: TrackingSummary | None = None
    detection: DetectionSummary | None = None
    trajectories: TrajectoryScores | None = None
    addition: AdditionScores | None = None
    predictive: PredictiveSummary | None = None


def write_evaluation(run: RunFolder, evaluation: Evaluation) -> Path:
    """Write an evaluation into the run's folder, in one piece; returns the file."""
    path = run.path / EVALUATION
    write_bytes(path, json.dumps(asdict(evaluation), indent=1).encode())
    return path


def read_evaluation(run: RunFolder) -> Evaluation | None:
    """What `write_evaluation` wrote last, None if the run has not been evaluated."""
    path = run.path / EVALUATION
    if not path.is_file():
        return None
    record = json.loads(path.read_text())
    bounds = None if record["bounds"] is None else Bounds(**record["bounds"])
    curves = tuple(ImputationCurve(**with_tuples(curve)) for curve in record["curves"])
    parts = {"bounds": bounds, "curves": curves}
    for name, kind in (("trajectories", TrajectoryScores), ("predictive", PredictiveSummary)):
        part = record.get(name)
        parts[name] = None if part is None else kind.from_record(part)
    for name, kind in (("tracking", TrackingSummary), ("detection", DetectionSummary), ("addition", AdditionScores)):
        part = record.get(name)
        parts[name] = None if part is None else kind(**with_tuples(part))
    return Evaluation(**{**record, **parts})


def run_evidence(
    run: TrainedRun,
    num_sequences: int,
    budget: Budget | None = None,
    seed: int = 0,
    progress: bool = False,
    processes: Processes = ALONE,
) -> Evidence:
    """Log evidence of the first test sequences, by what model and guide allow.

    Raises:
        ValueError: if the run's guide has no evidence, such as one of point masses; names the run.
    """
    options = {"seed": seed, "progress": progress, "processes": processes}
    return _weigh(run, num_sequences, method="auto", budget=budget, **options)


def check_has_evidence(run: TrainedRun) -> None:
    """Weigh one draw for one video, so that a run without evidence is refused before others have taken their time.

    Raises:
        ValueError: as `run_evidence`.
    """
    _weigh(run, 1, num_particles=1)


def _weigh(run: TrainedRun, num_sequences: int, **options: Any) -> Evidence:
    videos = run.test.select(slice(0, num_sequences))
    try:
        return log_evidence(run.model, run.guide, *videos.arguments, **options)
    except ValueError as error:
        raise ValueError(f"run {run.folder.path.name!r} has no evidence: {error}") from error


def evaluate(
    run: TrainedRun,
    *,
    num_particles: int = 100,
    num_evidence_sequences: int = 100,
    budget: Budget | None = None,
    num_masks: int = 4,
    num_addition_frames: int = 0,
    num_predictive_sequences: int = 0,
    seed: int = 0,
    progress: bool = False,
    processes: Processes = ALONE,
) -> Evaluation:
    """Score a run on its test videos.

    Args:
        run: from `load_run`.
        num_particles: draws of the guide per sequence for the bounds; particles of each repeat for predictive scores.
        num_evidence_sequences: test sequences for bounds and evidence.
        budget: how much to spend on the evidence; None = `Budget()`.
        num_masks: random masks per sequence and level of the imputation curves.
        num_addition_frames: frames from which a probe learns to add digits; 0 = no probe.
        num_predictive_sequences: test sequences for predictive scores, at least 2; 0 = no scores.
        seed: of draws, masks and probe.
        progress: show bars.
        processes: which share the work on evidence and imputation; all get the whole result.

    Raises:
        ValueError: if digits shall be added and videos have none, or frames predicted by a run that gives them no
            density, or the number of sequences for it is wrong.
    """
    digits = run.recipe if isinstance(run.recipe, DigitsRecipe) else None
    if num_addition_frames and digits is None:
        raise ValueError(
            f"num_addition_frames: expected 0, as videos of {run.folder.config['recipe']!r} have no digits to add, "
            f"got {num_addition_frames}"
        )
    keep_freed_memory()
    # First, as the run may refuse them, and they take less time than the evidence.
    predictive = predict_run(run, num_predictive_sequences, num_particles, seed, progress)
    evidence, bounds = _bounds(run, num_particles, num_evidence_sequences, budget, seed, progress, processes)
    known: dict[str, Any] = {
        "recipe": run.folder.config["recipe"],
        "step": run.step,
        "frames": run.test.num_frames,
        "predictive": None if predictive is None else predictive.beside(evidence),
        "bounds": bounds,
    }
    if isinstance(run.recipe, BallVideosRecipe):
        return Evaluation(
            **known,
            position_r2={},
            curves=(),
            trajectories=score_trajectories(run.model, run.guide, run.test, run.recipe.simulator(), seed=seed),
        )
    methods = getattr(run.guide, "completion_methods", ())
    curves = []
    sites = describe_sites(run.model, *run.test.select(slice(0, 1)).arguments)
    if sites[FRAMES].distribution.startswith("Bernoulli") and run.test.num_frames > 1:
        for pattern in PATTERNS:
            for method in (*methods, "last frame"):
                curve = imputation_curve(
                    run.model,
                    run.guide,
                    run.test,
                    pattern,
                    method,
                    num_masks=num_masks,
                    seed=seed,
                    progress=progress,
                    processes=processes,
                )
                curves.append(curve)
    named = run.recipe.names_objects
    visible = None if digits is None else digits.simulator("test").visibility(run.test) >= HALF
    return Evaluation(
        **known,
        position_r2=position_r2(run.model, run.guide, run.test),
        curves=tuple(curves),
        counting=counting(run.model, run.guide, run.test, seed=seed),
        visible_counting=None if visible is None else counting(run.model, run.guide, run.test, visible, seed=seed),
        tracking=summarize_tracking(run.model, run.guide, run.test, seed=seed) if named else None,
        detection=None if named else summarize_detection(run.model, run.guide, run.test, seed=seed),
        addition=_addition(run, num_addition_frames, seed, progress) if num_addition_frames else None,
    )


def counting(
    model: nn.Module, guide: nn.Module, videos: VideoBatch, visible: Tensor | None = None, *, seed: int = 0
) -> float | None:
    """Share of frames whose number of objects is right; None for a model without objects, or if the truth is not known.

    Args:
        model: a trained model.
        guide: its guide.
        videos: with `presence`.
        visible: bool (sequences, time, objects); frames with an object for which it is False are left out. None: all
            count.
        seed: of what `reconstruct` draws, if anything.
    """
    if videos.presence is None or not isinstance(model, PlacesObjects):
        return None
    with evaluation_mode(model, guide):
        latents = reconstruct(model, guide, *videos.arguments, seed=seed).latents
    presence = model.scene(latents).presence
    if presence is None:
        return None
    found, truth = presence.cpu() > 0.5, videos.presence.cpu()
    if visible is not None:
        frames = (visible.cpu() | ~truth).all(-1)
        found, truth = found[frames], truth[frames]
    return counting_accuracy(found, truth).item()


def _bounds(
    run: TrainedRun,
    num_particles: int,
    num_sequences: int,
    budget: Budget | None,
    seed: int,
    progress: bool,
    processes: Processes,
) -> tuple[Evidence, Bounds] | tuple[None, None]:
    if draws_points(run):
        return None, None
    start = time.monotonic()
    evidence = run_evidence(run, num_sequences, budget, seed, progress, processes)
    seconds = (time.monotonic() - start) / evidence.num_sequences
    weighed = _weigh(
        run,
        num_sequences,
        num_particles=num_particles,
        particles_per_chunk=min(25, num_particles),
        sequences_per_chunk=4,  # 2,000 frames at once: more only empties the caches
        seed=seed,
        progress=progress,
        processes=processes,
    )
    return evidence, bounds_of(evidence, weighed, seconds)


def bounds_of(evidence: Evidence, weighed: Evidence, seconds: float) -> Bounds:
    """Means over sequences.

    Args:
        evidence: by `log_evidence(method="auto")`.
        weighed: draws of the guide for the same sequences.
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
    return (values.double().std() / values.shape[0] ** 0.5).item()


def _addition(run: TrainedRun, num_frames: int, seed: int, progress: bool) -> AdditionScores:
    """The probe learns from videos as training would see them, had it not ended: new ones, of full length."""
    recipe = replace(run.recipe, batch_size=VIDEOS_AT_ONCE)
    splits = recipe.splits()
    return score_addition(
        run.model,
        run.guide,
        recipe.training_source(splits.train),
        splits.validation,
        run.test,
        num_frames=num_frames,
        first_step=recipe.num_steps,
        seed=seed,
        progress=progress,
    )
