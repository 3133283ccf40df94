"""The record of an evaluation: bounds, and scores by name; written into the run's folder and read back."""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any

from inference.evidence.record import SMALLEST_TAIL
from inference.experiments.predictive_summary import PREDICTIVE, PredictiveSummary
from inference.experiments.runs import recipe_of
from inference.runs.checkpoints import write_bytes
from inference.runs.folder import RunFolder

EVALUATION = "evaluation.json"  # in the run's folder


@dataclass(frozen=True)
class Bounds:
    """Bound and evidence on test videos, nats per sequence.

    Attributes:
        elbo: mean bound, one draw.
        elbo_error: its standard error over sequences.
        log_evidence: mean estimate; `verdict` says whether it estimates the log evidence or bounds it from below.
        log_evidence_error: its standard error over sequences.
        num_particles: draws of the guide per sequence behind `importance_weighted`; in records of version 0.1.0, which
            have no verdict, behind `log_evidence`.
        num_sequences: test sequences behind all of them.
        pareto_k_above: share of sequences in which k-hat of these draws exceeds 0.7; None with too few draws for k-hat.
        reconstruction: mean of log p(x | z), and
        divergence: of log q(z | x) - log p(z), over the guide's draws; `elbo` is their difference.
        weighted_reconstruction: the same with importance-weighted draws, and
        weighted_divergence: the same. Records of earlier versions lack all four.
        importance_weighted: mean importance-weighted bound.
        verdict: "exact", "certified", "converged" or "lower bound".
        reasons: the verdict's reasons, in words.
        width: nats per sequence by which `log_evidence` may be off, if it converged.
        seconds: time spent on `log_evidence`, per sequence.
        effective_sample_size: of the guide's draws, mean over sequences.
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
        return self.pareto_k_above != 0 or self.num_particles < SMALLEST_TAIL  # 0.1.0 wrote 0 where k-hat was unknown


@dataclass(frozen=True)
class Evaluation:
    """How one run performs on its test videos.

    Attributes:
        recipe: name of the recipe.
        step: training step of the weights.
        bounds: bound and evidence; None for a guide of point masses, whose objective bounds nothing.
        frames: frames in a sequence, to turn nats per sequence into nats per frame.
        scores: by name: the recipe's scores that are defined, and "predictive" if requested.
    """

    recipe: str
    step: int
    bounds: Bounds | None
    frames: int
    scores: Mapping[str, Any] = field(default_factory=dict)


def write_evaluation(run: RunFolder, evaluation: Evaluation) -> Path:
    """Write an evaluation into the run's folder atomically; returns the file."""
    path = run.path / EVALUATION
    write_bytes(path, json.dumps(_plain(evaluation), indent=1).encode())
    return path


def read_evaluation(run: RunFolder) -> Evaluation | None:
    """The last evaluation that `write_evaluation` wrote, in any version; None if the run has not been evaluated.

    Scores that the run's recipe does not define are left as parsed JSON.

    Raises:
        ValueError: if the file is damaged.
    """
    path = run.path / EVALUATION
    if not path.is_file():
        return None
    try:
        record = json.loads(path.read_text())
    except ValueError as error:
        raise ValueError(
            f"{path}: expected an evaluation in JSON, got a damaged file ({error}); evaluate again"
        ) from error
    known = {"recipe", "step", "bounds", "frames"}
    # Up to version 0.1.0 scores were stored beside the bounds, undefined ones as null or empty.
    written = record["scores"] if "scores" in record else {key: record[key] for key in record if key not in known}
    readers: dict[str, Callable[[Any], Any]] = {score.name: score.read for score in recipe_of(run.config).scores()}
    readers[PREDICTIVE] = PredictiveSummary.from_record
    return Evaluation(
        recipe=record["recipe"],
        step=record["step"],
        bounds=None if record["bounds"] is None else Bounds(**record["bounds"]),
        frames=record["frames"],
        scores={
            name: readers[name](value) if name in readers else value
            for name, value in written.items()
            if value not in (None, [], {})
        },
    )


def plain_numbers(value: Any) -> dict[str, float | int] | None:
    """A score as numbers by name, the empty one for a number alone; None for a score that is more than that."""
    if isinstance(value, int | float):
        return {"": value}
    record = {field.name: getattr(value, field.name) for field in fields(value)} if is_dataclass(value) else value
    if not isinstance(record, Mapping):
        return None
    known = {str(key): number for key, number in record.items() if number is not None}
    return known if all(isinstance(number, int | float) for number in known.values()) else None


def _plain(value: Any) -> Any:
    """Convert dataclasses to mappings, recursively."""
    if is_dataclass(value) and not isinstance(value, type):
        return _plain(asdict(value))
    if isinstance(value, Mapping):
        return {key: _plain(one) for key, one in value.items()}
    return [_plain(one) for one in value] if isinstance(value, list | tuple) else value
