"""The record of predictive scores: per frame and per sequence, with methods and errors."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from jaxtyping import Bool, Float, Int
from torch import Tensor

from inference.evidence import Verdict
from inference.evidence.tables import LOWER_BOUND, text_table


@dataclass(frozen=True, eq=False)
class FrameScore:
    """One kind of score, on the frames that it scores.

    Attributes:
        totals: (sequences,), sum over the scored frames of each sequence; 0 if there are none.
        counts: (sequences,), number of scored frames.
        monte_carlo: (sequences,), standard error of `totals` over draws, the videos held fixed; NaN if unknown.
        by_frame: (sequences, time), NaN where a frame was not scored; None if frames are only scored jointly.
        normalised: whether log scores were shown to come from a normalised distribution, see
            `inference.predictive.mask_marginals`. If not, they may be too high or too low, by an amount that depends on
            what the model substitutes for missing frames.
    """

    totals: Float[Tensor, " sequences"]
    counts: Int[Tensor, " sequences"]
    monte_carlo: Float[Tensor, " sequences"]
    by_frame: Float[Tensor, "sequences time"] | None = None
    normalised: bool = True

    @property
    def mean(self) -> float:
        """Mean over all scored frames of all sequences."""
        return (self.totals.sum() / self.counts.sum()).item()

    @property
    def error(self) -> float:
        """Standard error of the mean over sequences, which are independent (frames are not); NaN for a single one.

        The mean is a ratio of two sums over sequences; its error is by the delta method.
        """
        scored = self.counts > 0
        number = int(scored.sum())
        if number < 2:
            return math.nan
        apart = (self.totals - self.mean * self.counts)[scored]
        return (apart.square().sum() * number / (number - 1)).sqrt().item() / int(self.counts.sum())

    @property
    def monte_carlo_error(self) -> float:
        """Monte Carlo part of `error`: standard error of the mean with the videos held fixed."""
        return (self.monte_carlo[self.counts > 0].square().sum().sqrt() / self.counts.sum()).item()


@dataclass(frozen=True)
class ScoreSummary:
    """One line of the table, in plain numbers.

    Attributes:
        frames: scored frames, "one step ahead" or "held out".
        score: name of the score, with its unit.
        mean: mean per frame.
        error: standard error of the mean over sequences.
        monte_carlo_error: Monte Carlo part of `error`.
        bits_per_dimension: the mean of scores in nats, see `PredictiveScores`; else None.
        num_frames: number of scored frames.
        num_sequences: number of sequences that contain them.
        normalised: False for log scores that were not shown to come from a normalised distribution.
    """

    frames: str
    score: str
    mean: float
    error: float
    monte_carlo_error: float
    bits_per_dimension: float | None
    num_frames: int
    num_sequences: int
    normalised: bool = True


LOG_SCORE = "log score, nats"
WIDE = 0.5  # nats: at 0.7 and 1.2, sums over videos were 0.6 and 1.7 nats below converged log evidence


@dataclass(frozen=True, eq=False)
class PredictiveScores:
    """How well a model predicts frames that it was not shown. Prints as a table.

    Conventions:

    - A log score is the log density or log probability of a frame under the model, in nats per frame, larger is better.
      With reference "density" it is a density with respect to Lebesgue measure of pixel values on the scale where
      [0, 1] is black to white, with "probability" a probability. Densities may exceed 1, and the two kinds have no
      common scale.
    - Bits per dimension are -nats / (dimensions * log 2), smaller is better, with dimensions = channels * height *
      width. For densities they are on the scale of [0, 1] as well: for 256 levels they are larger by 8.
    - CRPS and Brier score are means over the dimensions of a frame, the energy score is one number per frame; the CRPS
      and the energy score are in units of a pixel value. All three are losses, smaller is better.
    - One step ahead: log p(x_t | x_{<t}) of each seen frame, given the seen ones before it; the first frame is given
      none. Their sum over a sequence is its log evidence.
    - Held out: log p(x_held | x_seen) of all held-out frames of a sequence jointly, divided by their number. The other
      scores are of each held-out frame separately, given the frames seen before and after it.

    Attributes:
        one_step_ahead: log scores of the seen frames, including held-out ones.
        held_out: log scores of the held-out frames, None if there are none.
        crps: CRPS of grey held-out frames, else None.
        energy_score: energy score of grey held-out frames, else None.
        brier_score: Brier score of binary held-out frames, else None.
        observed: bool (sequences, time), frames with known values.
        held_out_frames: bool (sequences, time), the held-out ones among them; None if there are none.
        reference: "density" or "probability".
        dimensions: channels * height * width of a frame.
        num_samples: draws behind CRPS, energy score or Brier score.
        method: how one-step-ahead scores were estimated.
        spread: standard deviation, over the repeats of that estimate, of the sum of scores over a video, root mean
            square over videos, nats. Sums are too low in expectation: by about spread^2 / 16 if it is far below one and
            estimates are log-normal, by more if few particles carry the weight.
        verdicts: how far to rely on the two log evidences, with and without the held-out frames, whose difference is
            `held_out` if frames are held out between others; None if all are held out at the end.
    """

    one_step_ahead: FrameScore
    held_out: FrameScore | None
    crps: FrameScore | None
    energy_score: FrameScore | None
    brier_score: FrameScore | None
    observed: Bool[Tensor, "sequences time"]
    held_out_frames: Bool[Tensor, "sequences time"] | None
    reference: str
    dimensions: int
    num_samples: int
    method: str
    spread: float
    verdicts: tuple[Verdict, Verdict] | None = None

    def bits_per_dimension(self, nats: float) -> float:
        """Bits per dimension of a log score of one frame.

        Args:
            nats: the log score.
        """
        return -nats / (self.dimensions * math.log(2))

    @property
    def summaries(self) -> tuple[ScoreSummary, ...]:
        """The lines of the table."""
        scores = {
            ("one step ahead", LOG_SCORE): self.one_step_ahead,
            ("held out", LOG_SCORE): self.held_out,
            ("held out", "CRPS"): self.crps,
            ("held out", "energy score"): self.energy_score,
            ("held out", "Brier score"): self.brier_score,
        }
        return tuple(
            ScoreSummary(
                frames=frames,
                score=kind,
                mean=score.mean,
                error=score.error,
                monte_carlo_error=score.monte_carlo_error,
                bits_per_dimension=self.bits_per_dimension(score.mean) if kind == LOG_SCORE else None,
                num_frames=int(score.counts.sum()),
                num_sequences=int((score.counts > 0).sum()),
                normalised=score.normalised,
            )
            for (frames, kind), score in scores.items()
            if score is not None
        )

    def __str__(self) -> str:
        return "\n".join([score_table(self.summaries), "", *self.notes])

    @property
    def notes(self) -> tuple[str, ...]:
        """Notes below the table: units, methods and warnings."""
        return tuple(self._notes())

    def _notes(self) -> Iterator[str]:
        kinds = {
            "density": "densities of pixel values on the scale where [0, 1] is black to white",
            "probability": "probabilities of binary pixels",
        }
        yield (
            f"log scores (nats per frame, larger is better): {kinds[self.reference]}, {self.dimensions} dimensions per "
            "frame; bits/dim = -nats / (dimensions log 2)"
        )
        yield f"one step ahead: each seen frame given those before it, by {self.method}"
        if self.spread > WIDE:
            yield (
                f"warning: one step ahead: repeats differ by {self.spread:.2g} nats, so sums over a video may be too "
                "low by a nat or more, even if +- draws is small; give more num_particles"
            )
        kind = "Brier score" if self.crps is None else "CRPS, energy score"
        if self.held_out is not None:
            yield f"held out: given all other frames; {kind} (smaller is better) by {self.num_samples} draws"
        if self.verdicts is not None:
            with_them, without = self.verdicts
            yield f"  log evidence with held-out frames: {with_them}"
            yield f"  and without: {without}"
            if without.kind == LOWER_BOUND:
                yield (
                    "warning: held out: the log evidence without these frames is a lower bound, so their log score may "
                    "be too high; give a larger budget=Budget(...), or hold out frames at the end"
                )
        for line in self.summaries:
            if not line.normalised:
                yield (
                    f"warning: {line.frames}: this model was not shown to integrate missing frames out, so these log "
                    "scores may not come from a normalised distribution; hold out frames at the end, or compare models "
                    "by the other scores"
                )


def score_table(lines: Sequence[ScoreSummary]) -> str:
    """The table of some scores, as text."""
    rows = [["frames", "score", "per frame", "+- sequences", "+- draws", "bits/dim", "frames", "sequences"]]
    for line in lines:
        numbers = [_digits(value) for value in (line.mean, line.error, line.monte_carlo_error)]
        bits = "" if line.bits_per_dimension is None else f"{line.bits_per_dimension:.4f}"
        rows.append([line.frames, line.score, *numbers, bits, str(line.num_frames), str(line.num_sequences)])
    return text_table(rows)


def _digits(value: float) -> str:
    if math.isnan(value):
        return "?"
    return f"{value:.2f}" if abs(value) >= 100 else f"{value:.4g}"
