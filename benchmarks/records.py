"""Records of evaluated runs and of measurements: kept without weights, read back, and put into tables."""

import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

from inference.checkpoints import write_bytes
from inference.evaluation import EVALUATION, Evaluation, read_evaluation
from inference.imputation_curves import ImputationCurve
from inference.recipe_runs import recipe_of
from inference.recipes import Recipe
from inference.runs import CONFIG, PROVENANCE, TIMING, RunFolder

GUIDES = "guides.json"  # by swapped_guides.py, in the run's folder


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

    def curve(self, pattern: str, method: str) -> ImputationCurve | None:
        """One of its imputation curves."""
        return next((one for one in self.evaluation.curves if (one.pattern, one.method) == (pattern, method)), None)


def keep_records(path: Path, kept: Path) -> None:
    """Copy what RESULTS.md needs of a run, or the file of a measurement, replacing an older record of that name."""
    if path.is_file():
        write_bytes(kept / path.name, path.read_bytes())
    elif (path / EVALUATION).is_file():
        folder = kept / path.name
        folder.mkdir(parents=True, exist_ok=True)
        for name in (PROVENANCE, EVALUATION, GUIDES, CONFIG):
            if (path / name).is_file():
                write_bytes(folder / name, (path / name).read_bytes())
        last = (path / TIMING).read_bytes().splitlines(keepends=True)[-1]
        write_bytes(folder / TIMING, last)


def read_runs(paths: Iterable[Path]) -> list[Run]:
    """Every evaluated run among some folders; the others are left out."""
    runs = []
    for path in paths:
        if (path / "config.json").is_file():
            folder = RunFolder.open(path)
            evaluation = read_evaluation(folder)
            if evaluation is not None:
                runs.append(Run(folder, recipe_of(folder.config), evaluation))
    return runs


def best_by_label(runs: Sequence[Run], label: str) -> Run | None:
    """The run of a model that the claims speak of: no frames missing in training, lowest smoothing (or only) curve."""
    chosen = [run for run in runs if run.recipe.label == label and not run.recipe.missing]
    scored = [
        (mean(run.evaluation.curves[0].errors), index) for index, run in enumerate(chosen) if run.evaluation.curves
    ]
    return chosen[min(scored)[1]] if scored else None


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Lines of a markdown table, numbers to the right."""
    lines = [f"| {' | '.join(header)} |", "|" + "---|" + "---:|" * (len(header) - 1)]
    return [*lines, *(f"| {' | '.join(row)} |" for row in rows), ""]


def origin(entry: dict) -> str:
    """One line on what measured something, at which commit, where."""
    machine = entry["machine"]
    place = f"{machine['cpu']}, {machine['threads']} threads" + "".join(f", {gpu}" for gpu in machine["gpu"])
    return f"`{shlex.join(entry['command'])}` at {commit(entry)} on {place}"


def commit(entry: dict) -> str:
    """The commit, and whether files differed from it."""
    git = entry["git"]
    return "unknown" if git is None else git["commit"][:10] + (" with changes" if git["dirty"] else "")
