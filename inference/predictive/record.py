"""Scores per frame, summed over the frames of each sequence, and what was measured how."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from jaxtyping import Bool, Float, Int
from torch import Tensor

from inference.evidence import Verdict
from inference.evidence.tables import LOWER_BOUND, text_table


@dataclass(frozen=True, eq=False)
class FrameScore:
    """One kind of score, of the frames that it is of.

    Attributes:
        totals: (sequences,), sum over the scored frames of each sequence; 0 where there are none.
        counts: (sequences,), how many frames these are.
        monte_carlo: (sequences,), standard error of `totals` over draws, the videos held fixed; NaN if unknown.
        by_frame: (sequences, time), NaN where a frame was not scored; None where frames are only scored together.
        normalised: whether log scores were shown to be those of a normalised distribution, see
            `inference.predictive.mask_marginals`. Where they are not, they are too high or too low by what a model puts
            in the place of missing frames.
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
        """Standard error of the mean over sequences, which are independent where frames are not; NaN for one.

        The mean is a ratio of two sums over sequences: this is its error by the delta method.
        """
        scored = self.counts > 0
        number = int(scored.sum())
        if number < 2:
            return math.nan
        apart = (self.totals - self.mean * self.counts)[scored]
        return (apart.square().sum() * number / (number - 1)).sqrt().item() / int(self.counts.sum())

    @property
    def monte_carlo_error(self) -> float:
        """The part of `error` that comes from draws: standard error of the mean with the videos held fixed."""
        return (self.monte_carlo[self.counts > 0].square().sum().sqrt() / self.counts.sum()).item()


@dataclass(frozen=True)
class ScoreSummary:
    """One line of the table, in plain numbers.

    Attributes:
        frames: which frames are scored, "one step ahead" or "held out".
        score: what it is, with its unit.
        mean: per frame.
        error: standard error of the mean over sequences.
        monte_carlo_error: the part of it that comes from draws.
        bits_per_dimension: of scores in nats, see `PredictiveScores`; else None.
        num_frames: how many frames were scored.
        num_sequences: how many sequences these are of.
        normalised: False for log scores that were not shown to be those of a normalised distribution.
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
WIDE = 0.5  # nats: with 0.7 and 1.2, sums over videos lay 0.6 and 1.7 nats below settled log evidences


@dataclass(frozen=True, eq=False)
class PredictiveScores:
    """How well a model predicts frames that it was not shown. Prints as a table.

    Conventions:

    - A log score is the natural logarithm of what the model gives to a frame, in nats per frame, larger is better. With
      reference "density" it is of a density with respect to Lebesgue measure of pixel values on the scale where [0, 1]
      is black to white, with "probability" it is of a probability. Densities may exceed 1, and the two kinds have no
      common scale.
    - Bits per dimension are -nats / (dimensions * log 2), smaller is better, with dimensions = channels * height *
      width. Those of densities are on the scale of [0, 1] as well: on that of 256 levels they are larger by 8.
    - CRPS and Brier score are means over the dimensions of a frame, the energy score is one number for each frame; the
      CRPS and the energy score are in units of a pixel value. All three are losses, smaller is better.
    - One step ahead: log p(x_t | x_{<t}) of each seen frame, given the seen ones before it; the first frame is given
      none. Their sum over a sequence is its log evidence.
    - Held out: log p(x_held | x_seen) of all held-out frames of a sequence together, over their number. The other
      scores are of each held-out frame by itself, given the frames that are seen before and after.

    Attributes:
        one_step_ahead: log scores of the seen frames, the held-out ones among them.
        held_out: log scores of the held-out frames, None if there are none.
        crps: of grey held-out frames, else None.
        energy_score: of grey held-out frames, else None.
        brier_score: of binary held-out frames, else None.
        observed: bool (sequences, time), frames whose values are known.
        held_out_frames: bool (sequences, time), those of them that are held out; None if there are none.
        reference: "density" or "probability".
        dimensions: channels * height * width of a frame.
        num_samples: draws behind CRPS, energy score or Brier score.
        method: how one step ahead was estimated.
        spread: standard deviation, over the repeats of that estimate, of the sum of scores over a video, root mean
            square over videos, nats. Sums are too low in expectation: by about spread^2 / 16 where it is far below one
            and estimates are log-normal, by more than that where few of the particles carry the weight.
        verdicts: how far to rely on the two log evidences whose difference `held_out` is where frames are held out
            between others, that with and that without them; None where all are held out at the end.
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
        """Of a log score of one frame."""
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
        """What stands below the table: units, how the numbers were made, and warnings."""
        return tuple(self._notes())

    def _notes(self) -> Iterator[str]:
        kinds = {
            "density": "densities of pixel values on the scale where [0, 1] is black to white",
            "probability": "probabilities of binary pixels",
        }
        yield (
            f"log scores (nats per frame, larger is better): {kinds[self.reference]}, {self.dimensions} dimensions a "
            "frame; bits/dim = -nats / (dimensions log 2)"
        )
        yield f"one step ahead: each seen frame given those before it, by {self.method}"
        if self.spread > WIDE:
            yield (
                f"warning: one step ahead: repeats lie {self.spread:.2g} nats apart, so that sums over a video may be "
                "too low by a nat or more, whatever +- draws says; give more num_particles"
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
                    "warning: held out: the log evidence without these frames is a lower bound, so that their log "
                    "score may be too high; give a larger budget=Budget(...), or hold out frames at the end"
                )
        for line in self.summaries:
            if not line.normalised:
                yield (
                    f"warning: {line.frames}: this model was not shown to integrate missing frames out, so that these "
                    "log scores may not be those of a normalised distribution; hold out frames at the end, or compare "
                    "models by the other scores"
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
