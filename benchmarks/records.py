"""Records of evaluated runs and of measurements: copied without weights, read back, and put into tables."""

import os
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

from inference.evidence.record import SMALLEST_TAIL
from inference.experiments.evaluation import EVALUATION, Bounds, Evaluation, read_evaluation
from inference.experiments.runs import recipe_of
from inference.recipes import Recipe
from inference.runs.checkpoints import write_bytes
from inference.runs.folder import CONFIG, PROVENANCE, TIMING, RunFolder
from inference.scores.imputation_curves import ImputationCurve

GUIDES = "guides.json"  # written by swapped_guides.py into the run's folder
EVIDENCE = ("log evidence", "importance-weighted bound (K)", "k-hat > 0.7")  # what `evidence_cells` fills
EVIDENCE_NOTE = (
    "Log evidence is given where it is exact or its estimates have converged; ≥ marks the best lower bound where they",
    "have not. The next column is the importance-weighted bound of K draws from the guide: where k-hat exceeds 0.7 for",
    "some videos, it may be far below the evidence, whatever its standard error. ± is one standard error over videos.",
    "Runs evaluated by version 0.1.0 have only that bound, which counts as evidence where no k-hat exceeds 0.7.",
)


@dataclass(frozen=True)
class Run:
    """A run that was evaluated."""

    folder: RunFolder
    recipe: Recipe
    evaluation: Evaluation

    @property
    def minutes(self) -> float:
        """Time in the training loop."""
        timing = self.folder.timing()
        return timing[-1]["seconds"] / 60 if timing else float("nan")

    def score(self, name: str) -> Any:
        """The score of that name, or None."""
        return self.evaluation.scores.get(name)

    def curve(self, pattern: str, method: str) -> ImputationCurve | None:
        """One of its imputation curves."""
        curves = self.score("curves") or ()
        return next((one for one in curves if (one.pattern, one.method) == (pattern, method)), None)


def keep_records(path: Path, kept: Path) -> None:
    """Copy the parts of a run that RESULTS.md needs, or a measurement and its pictures, replacing an older record."""
    if path.is_file():
        for file in (path, *sorted(path.parent.glob(f"{path.stem}-*.png"))):
            write_bytes(kept / file.name, file.read_bytes())
    elif (path / EVALUATION).is_file():
        folder = kept / path.name
        folder.mkdir(parents=True, exist_ok=True)
        for name in (PROVENANCE, EVALUATION, GUIDES, CONFIG):
            if (path / name).is_file():
                write_bytes(folder / name, (path / name).read_bytes())
        last = (path / TIMING).read_bytes().splitlines(keepends=True)[-1]
        write_bytes(folder / TIMING, last)


def read_runs(paths: Iterable[Path]) -> list[Run]:
    """The evaluated runs among some folders; others are skipped."""
    runs = []
    for path in paths:
        if (path / "config.json").is_file():
            folder = RunFolder.open(path)
            evaluation = read_evaluation(folder)
            if evaluation is not None:
                runs.append(Run(folder, recipe_of(folder.config), evaluation))
    return runs


def best_by_label(runs: Sequence[Run], label: str) -> Run | None:
    """The run on which a model's claims are tested: no frames missing in training, lowest smoothing (or only) curve."""
    chosen = [run for run in runs if run.recipe.label == label and not run.recipe.videos.missing]
    scored = [(mean(run.score("curves")[0].errors), index) for index, run in enumerate(chosen) if run.score("curves")]
    return chosen[min(scored)[1]] if scored else None


def evidence_cells(group: Sequence[Bounds], *, per: int = 1, digits: int = 2) -> list[str]:
    """Cells of the columns `EVIDENCE`; no other cell may call a number log evidence.

    Args:
        group: one record, or those of several seeds, which are averaged.
        per: divisor of nats, such as the number of frames of a video.
        digits: number of decimals.
    """

    def cell(values: Sequence[float], error: float | None) -> str:
        spread = "" if error is None or len(group) > 1 else f" ± {error / per:.{digits}f}"
        return f"{mean(values) / per:.{digits}f}{spread}"

    error = group[0].log_evidence_error
    old = all(one.verdict is None for one in group)
    bounded = any(one.is_lower_bound for one in group)
    evidence = [one.log_evidence for one in group if one.verdict is not None or not one.is_lower_bound]
    known = f"{mark(bounded)}{cell(evidence, error)}" if len(evidence) == len(group) else ""
    weighted = [one.log_evidence if one.importance_weighted is None else one.importance_weighted for one in group]
    draws = [one.num_particles for one in group]
    count = f"{min(draws)}" if min(draws) == max(draws) else f"{min(draws)} to {max(draws)}"
    bound = f"{cell(weighted, error if old else None)} ({count})" if bounded or not old else ""
    shares = [one.pareto_k_above for one in group if one.num_particles >= SMALLEST_TAIL]
    above = [share for share in shares if share is not None]
    return [known, bound, f"{mean(above):.0%}" if len(above) == len(group) else "?"]


def mark(is_lower_bound: bool) -> str:
    """The prefix of a lower bound."""
    return "≥ " if is_lower_bound else ""


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Lines of a markdown table, numbers aligned to the right."""
    lines = [f"| {' | '.join(header)} |", "|" + "---|" + "---:|" * (len(header) - 1)]
    return [*lines, *(f"| {' | '.join(row)} |" for row in rows), ""]


def picture_link(text: str, path: Path, document: Path) -> list[str]:
    """Markdown of a picture, with its path relative to the document."""
    return [f"![{text}]({os.path.relpath(path, document.parent)})", ""]


def origin(entry: dict) -> str:
    """One line: command, commit and machine of a measurement."""
    machine = entry["machine"]
    place = f"{machine['cpu']}, {machine['threads']} threads" + "".join(f", {gpu}" for gpu in machine["gpu"])
    return f"`{shlex.join(entry['command'])}` at {commit(entry)} on {place}"


def commit(entry: dict) -> str:
    """The commit, and whether the working tree differed from it."""
    git = entry["git"]
    return "unknown" if git is None else git["commit"][:10] + (" with changes" if git["dirty"] else "")
