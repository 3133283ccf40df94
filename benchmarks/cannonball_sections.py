"""Sections of RESULTS.md on cannonballs: what runs infer, forecast and interpolate, and what an iteration costs."""

import json
from collections.abc import Sequence
from pathlib import Path

from records import Run, origin, table

from inference.recipes.cannonballs import BallVideosRecipe, CannonballsRecipe
from inference.trajectory_scores import Prediction, TrajectoryScores

QUERIES = ("forecast", "interpolation")
BEYOND = 15  # frame from which errors of forecasts are compared with the baseline's


def cannonballs_section(runs: Sequence[Run]) -> list[str]:
    """Positions, then predictions, one row for each run."""
    chosen = [run for run in runs if run.evaluation.trajectories is not None and _is_balls(run)]
    if not chosen:
        return []
    placed = [run for run in chosen if run.evaluation.trajectories.r_squared]
    counts = sorted({count for run in placed for count in run.evaluation.trajectories.r_squared})
    header = ["run", "guide", "reading", "ELBO", "log p(v), K", "k-hat > 0.7"]
    header += [f"R2, N = {count}" for count in counts]
    header += [f"swaps, N = {count}" for count in counts if count > 1]
    rows = []
    for run in placed:
        scores, bounds, recipe = run.evaluation.trajectories, run.evaluation.bounds, run.recipe
        guide, reading = ("", "")
        if isinstance(recipe, CannonballsRecipe):
            guide, reading = recipe.guide, recipe.reading
        row = [run.folder.path.name, guide, reading]
        row += (
            ["", "", ""]
            if bounds is None
            else [
                f"{bounds.elbo:.1f}",
                f"{bounds.log_evidence:.1f}, {bounds.num_particles}",
                f"{bounds.pareto_k_above:.0%}",
            ]
        )
        row += [_number(scores.r_squared.get(count)) for count in counts]
        row += [_number(scores.swaps.get(count), 2) for count in counts if count > 1]
        rows.append([*row, _number(scores.side_accuracy, 2), _pair(scores), f"{run.minutes:.0f}"])
    lines = table([*header, "component is side", "acceleration (true)", "minutes"], rows)
    header = ["run", "N", "query", "method", "nats per frame", "overlap", "error, pixels", f"from frame {BEYOND} on"]
    rows = [
        [run.folder.path.name, str(one.balls), one.query, one.method, _number(one.nats, 1), _number(one.overlap, 2)]
        + [_number(one.position_error, 2), _number(_late_error(one), 2)]
        for run in chosen
        for query in QUERIES
        for one in run.evaluation.trajectories.predictions
        if one.query == query
    ]
    return lines + table(header, rows)


def iterations_section(path: Path) -> list[str]:
    """Milliseconds of an iteration, and the share of the Kalman part in one along diagonals."""
    if not path.is_file():
        return []
    record = json.loads(path.read_text())
    rows = []
    for recipe, times in record["milliseconds"].items():
        step = times["diagonals"]
        rows += [[recipe, name, f"{value:.1f}", f"{value / step:.2f}"] for name, value in times.items()]
    lines = table(["recipe", "what", "milliseconds", "in iterations along diagonals"], rows)
    return [*lines, origin(record["provenance"]), ""]


def _is_balls(run: Run) -> bool:
    return isinstance(run.recipe, BallVideosRecipe)


def _late_error(one: Prediction) -> float | None:
    """Mean error of a forecast from frame 15 on."""
    if one.position_errors is None or one.query != "forecast":
        return None
    late = one.position_errors[BEYOND - 1 - 5 :]
    return sum(late) / len(late)


def _pair(scores: TrajectoryScores) -> str:
    if scores.acceleration is None:
        return ""
    return f"{scores.acceleration[0]:.4f}, {scores.acceleration[1]:.4f} (0, {scores.true_acceleration[1]:.4f})"


def _number(value: float | None, digits: int = 3) -> str:
    return "" if value is None else f"{value:.{digits}f}"
