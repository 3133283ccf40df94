"""How well a trained model predicts the frames of test videos, summarised for a record."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Bool
from torch import Tensor, nn

from guides.describe import describe_sites
from guides.incomplete_models import need_of_guide
from inference.evidence import Evidence
from inference.experiments.runs import TrainedRun
from inference.predictive.estimate import predictive_scores
from inference.predictive.record import ScoreSummary, score_table
from inference.queries.imputation import mask_of, quietly
from videos import VideoBatch

PREDICTIVE = "predictive"  # name of these scores in an evaluation
PART_HELD_OUT = 4  # a quarter of a video's frames is forecast


@dataclass(frozen=True)
class PredictiveSummary:
    """Predictive scores of some videos; `PredictiveScores` states the conventions. Prints as a table.

    Attributes:
        scores: one line for each kind of score. Log scores are nats per frame, larger is better; the others are losses.
        reference: what log scores are logarithms of: "density" with respect to Lebesgue measure of pixel values on the
            scale where [0, 1] is black to white, or "probability".
        dimensions: channels * height * width of a frame, which converts nats to bits per dimension.
        num_sequences: number of videos.
        total: log scores one step ahead, summed over the frames of a video; mean over videos, nats per sequence.
        frames_held_out: largest number of frames forecast at the end of a video; 0 if there is nothing to forecast.
        notes: the conventions in words, how the numbers were computed, and warnings.
        seconds: time spent on all scores.
        log_evidence: mean log evidence of the same videos by `log_evidence`, nats per sequence. `total` estimates it
            and is below it in expectation. None if it was not computed for these videos.
        verdict: verdict on that log evidence.
    """

    scores: tuple[ScoreSummary, ...]
    reference: str
    dimensions: int
    num_sequences: int
    total: float
    frames_held_out: int
    notes: tuple[str, ...]
    seconds: float
    log_evidence: float | None = None
    verdict: str | None = None

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> "PredictiveSummary":
        """Rebuild a summary from its record: `dataclasses.asdict`, then JSON."""
        scores = tuple(ScoreSummary(**one) for one in record["scores"])
        return cls(**{**record, "scores": scores, "notes": tuple(record["notes"])})

    def beside(self, evidence: Evidence | None) -> "PredictiveSummary":
        """A copy with the log evidence of the same videos, if `evidence` covers them."""
        if evidence is None or evidence.num_sequences < self.num_sequences:
            return self
        assert evidence.verdict is not None
        mean = evidence.log_evidence[: self.num_sequences].mean().item()
        return replace(self, log_evidence=mean, verdict=evidence.verdict.kind)

    def __str__(self) -> str:
        total = f"one step ahead adds up to {self.total:.2f} nats per sequence"
        if self.log_evidence is not None:
            total += f"; log evidence of the same {self.num_sequences} videos ({self.verdict}): {self.log_evidence:.2f}"
        return "\n".join([score_table(self.scores), *self.notes, total, f"predictive scores: {self.seconds:.2g} s"])


def predict_run(
    run: TrainedRun, num_sequences: int, num_particles: int, seed: int = 0, progress: bool = False
) -> PredictiveSummary | None:
    """`summarize_predictive` of a run's first test videos; None if none are requested.

    Args:
        run: from `load_run`.
        num_sequences: test videos, at least 2; 0 = none.
        num_particles: particles in each of the eight repeats.
        seed: seed of all draws.
        progress: show a bar.

    Raises:
        ValueError: if there is one sequence, or the guide draws point masses; also what `predictive_scores` raises.
            Names the run.
    """
    if num_sequences == 0:
        return None
    name = "num_predictive_sequences (--predictive)"
    if num_sequences < 2:
        raise ValueError(
            f"{name}: expected at least 2 test videos, since standard errors are over videos, got {num_sequences}; "
            "give more, or 0 for no predictive scores"
        )
    if draws_points(run):
        raise ValueError(
            f"{name}: expected a guide with densities, since log scores are estimated from importance weights, "
            f"got one of point masses (Delta) in run {run.folder.path.name!r}; leave --predictive out"
        )
    videos = run.test.select(slice(0, num_sequences))
    options = {"num_particles": num_particles, "seed": seed, "progress": progress}
    try:
        return summarize_predictive(run.model, run.guide, videos, **options)
    except ValueError as error:
        raise ValueError(f"run {run.folder.path.name!r} has no predictive scores (--predictive): {error}") from error


def draws_points(run: TrainedRun) -> bool:
    """Whether a run's guide draws point masses, whose weights give no bound."""
    if need_of_guide(run.model):  # it takes point masses from its guide, without a density in either
        return False
    sites = describe_sites(run.guide, *run.test.select(slice(0, 1)).arguments)
    return any(site.distribution == "Delta" for site in sites.latent)


def summarize_predictive(
    model: nn.Module,
    guide: nn.Module,
    videos: VideoBatch,
    *,
    num_particles: int,
    seed: int = 0,
    progress: bool = False,
) -> PredictiveSummary:
    """Score each seen frame one step ahead, and a forecast of the last quarter of each video.

    Frames are held out only at the end: their log score is then a sum of one-step-ahead scores. The log score of a gap
    would be a difference of two bounds and could be far too high.

    Args:
        model: a trained model.
        guide: its guide.
        videos: at least two.
        num_particles: particles in each of the eight repeats, see `predictive_scores`.
        seed: seed of all draws.
        progress: show a bar.

    Raises:
        ValueError: what `predictive_scores` raises.
    """
    start = time.monotonic()
    seen = mask_of(videos.frames, videos.observed)
    last = last_frames(seen)
    forecast = bool(last.any())
    scores = predictive_scores(
        model,
        guide,
        *videos.arguments,
        held_out=last if forecast else None,
        num_particles=num_particles,
        seed=seed,
        progress=progress,
    )
    if forecast:
        number = int(last.sum(1).max())
        frames = "last frame" if number == 1 else f"last {number} frames"
        notes = [*scores.notes, f"the {frames} of each video of {videos.num_frames} are held out: a forecast"]
    else:
        number = 0
        notes = [
            *scores.notes,
            "no forecast: each video has a single observed frame, and a forecast needs an earlier one; the "
            "one-step-ahead score is log p(x) of that frame",
        ]
    with quietly(model, guide, seed=seed):
        latent = describe_sites(model, *videos.select(slice(0, 1)).arguments).latent
    if forecast and not latent:
        notes.append(
            "the model has no latents: in a forecast it is fed its own expected frames, so draws differ only by pixel "
            "noise; log scores are exact"
        )
    return PredictiveSummary(
        scores=scores.summaries,
        reference=scores.reference,
        dimensions=scores.dimensions,
        num_sequences=videos.num_sequences,
        total=scores.one_step_ahead.totals.mean().item(),
        frames_held_out=number,
        notes=tuple(notes),
        seconds=time.monotonic() - start,
    )


def last_frames(seen: Bool[Tensor, "sequences time"]) -> Bool[Tensor, "sequences time"]:
    """The last quarter of each video's observed frames, at least one; none if a video has a single observed frame.

    Args:
        seen: True where a frame is observed.
    """
    number = seen.sum(1, keepdim=True)
    held_out = torch.minimum((number // PART_HELD_OUT).clamp(min=1), number - 1)
    return seen & (seen.cumsum(1) > number - held_out)
