"""Sections of RESULTS.md on cannonballs: inference, forecasts, interpolation, and the cost of an iteration."""

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median

from judged import Judged
from records import EVIDENCE, Run, evidence_cells, origin, table

from inference.recipes.ball_videos import BallVideos
from inference.recipes.cannonballs import PhysicsPair
from inference.scores.trajectories import NUM_FIRST, Prediction, TrajectoryScores

QUERIES = ("forecast", "interpolation")
BEYOND = 15  # first frame whose forecast errors are compared with the baseline's
BY_DYNAMICS = "smoothing"  # the query method by which claims are judged


def cannonballs_section(runs: Sequence[Run]) -> list[str]:
    """Claims by setting, positions by run, then predictions of each setting's first seed."""
    chosen = _scored(runs)
    if not chosen:
        return []
    settings = _settings(chosen)
    placed = [run for run in chosen if run.score("trajectories").r_squared]
    counts = sorted({count for run in placed for count in run.score("trajectories").r_squared})
    header = ["run", "guide", "reading", "ELBO", *EVIDENCE]
    header += [f"R², N = {count}" for count in counts]
    header += [f"swaps, N = {count}" for count in counts if count > 1]
    rows = []
    for run in placed:
        scores, bounds, recipe = run.score("trajectories"), run.evaluation.bounds, run.recipe
        guide, reading = ("", "")
        if isinstance(recipe.pair, PhysicsPair):
            guide, reading = recipe.pair.guide, recipe.pair.reading
        row = [run.folder.path.name, guide, reading]
        row += [""] * 4 if bounds is None else [f"{bounds.elbo:.1f}", *evidence_cells([bounds], digits=1)]
        row += [_number(scores.r_squared.get(count)) for count in counts]
        row += [_number(scores.swaps.get(count)) for count in counts if count > 1]
        rows.append([*row, _number(scores.side_accuracy, 2), _pair(scores)])
        rows[-1] += [_number(scores.prior_gap, 1), f"{run.minutes:.0f}"]
    lines = _claims(settings)
    lines += table([*header, "component is side", "acceleration (true)", "prior gap", "minutes"], rows)
    header = ["run", "N", "query", "method", "nats per frame", "overlap", "error, pixels", f"from frame {BEYOND} on"]
    header += ["of discs", f"from frame {BEYOND} on"]
    rows = [
        [run.folder.path.name, str(one.balls), one.query, one.method, _number(one.nats, 1), _number(one.overlap, 2)]
        + [_number(one.position_error, 2), _number(_late(one, one.position_errors), 2)]
        + [_number(one.disc_error, 2), _number(_late(one, one.disc_errors), 2)]
        for run in [*(group[0] for group in settings.values()), *(run for run in chosen if run not in placed)]
        for query in QUERIES
        for one in run.score("trajectories").predictions
        if one.query == query
    ]
    return lines + table(header, rows)


def trajectory_claims(runs: Sequence[Run]) -> list[tuple[str, list[Judged]]]:
    """The paper's claims by setting with dynamics; one holds if it does for every seed."""
    return [
        (f"cannonballs: {name}", [_judged(claim, met) for claim, met in _met(group).items()])
        for name, group in _settings(_scored(runs)).items()
        if group[0].recipe.pair.dynamics != "none"
    ]


def _judged(claim: str, met: Sequence[bool]) -> Judged:
    return Judged(f"{claim} {CLAIM_TEXTS[claim]}", all(met), seeds=f"{sum(met)} of {len(met)}")


def _met(runs: Sequence[Run]) -> dict[str, list[bool]]:
    """Whether each claim is met, by seed."""
    scores = [run.score("trajectories") for run in runs]
    return {claim: [holds(one) for one in scores if one is not None] for claim, holds in CLAIMS.items()}


def _scored(runs: Sequence[Run]) -> list[Run]:
    return [run for run in runs if run.score("trajectories") is not None and _is_balls(run)]


def _settings(runs: Sequence[Run]) -> dict[str, list[Run]]:
    """Runs of models with dynamics, grouped by setting; runs of a group differ only in their seeds."""
    groups: dict[str, list[Run]] = {}
    for run in sorted(runs, key=lambda run: run.recipe.seed):
        recipe = run.recipe
        if not isinstance(recipe.pair, PhysicsPair):
            continue
        words = [
            recipe.pair.guide,
            recipe.pair.reading,
            recipe.pair.renderer,
            f"{recipe.videos.frame_size} x {recipe.videos.frame_size}",
        ]
        words += ["no dynamics"] if recipe.pair.dynamics == "none" else []
        words += [f"weight from {recipe.training.first_weight:g}"] if recipe.training.first_weight != 1 else []
        group = groups.setdefault(", ".join([*words, f"{recipe.num_steps} steps"]), [])
        if group and recipe.with_options(seed=0) != group[0].recipe.with_options(seed=0):
            raise SystemExit(f"{run.folder.path.name} and {group[0].folder.path.name} differ in more than their seeds")
        group.append(run)
    return groups


def _claims(settings: dict[str, list[Run]]) -> list[str]:
    """The paper's claims, each with the number of seeds that meet it."""
    rows = []
    for name, runs in settings.items():
        scores = [run.score("trajectories") for run in runs]
        met = _met(runs)
        every = [all(values) for values in zip(*met.values(), strict=True)]
        swaps = sorted(value for one in scores if one is not None for value in one.swaps.values())
        spread = f"{swaps[0]:.3f} to {swaps[-1]:.3f}" if swaps else ""
        minutes = median(run.minutes for run in runs)
        counts = [str(sum(values)) for values in met.values()]
        rows.append([name, str(len(runs)), f"{minutes:.0f}", spread, *counts, str(sum(every))])
    if not rows:
        return []
    lines = table(["setting", "seeds", "minutes", "videos with swaps", *CLAIMS, "all"], rows)
    return [
        *lines,
        *(f"{claim}: {text}." for claim, text in CLAIM_TEXTS.items()),
        "Each claim must hold for every number of balls.",
        "",
    ]


def _interpolates(scores: TrajectoryScores) -> bool:
    errors = {(one.query, one.balls): one.position_errors for one in scores.predictions if one.method == BY_DYNAMICS}
    pairs = [(found, errors["forecast", balls]) for (query, balls), found in errors.items() if query != "forecast"]
    return all(near and far and sum(near) <= sum(far[: len(near)]) / 2 for near, far in pairs)


def _knows_the_law(scores: TrajectoryScores) -> bool:
    gap, sides = scores.prior_gap, scores.side_accuracy
    return gap is not None and sides is not None and gap <= 10 and sides >= 0.95


def _bends(scores: TrajectoryScores) -> bool:
    found, true = scores.acceleration, scores.true_acceleration
    return found is not None and math.dist(found, true) <= 0.05 * math.hypot(*true)


CLAIM_TEXTS = {
    "R2": "interpolated positions are at most half as far from the truth as forecast ones, frames 6 to 25",
    "R3": "R² of positions is at least 0.98 for one ball, 0.95 for more",
    "R4": "the acceleration is within 5 % of the truth",
    "R5": "positions are distributed within 10 nats per ball of the exact ones, 95 % of components are the side",
}
CLAIMS: dict[str, Callable[[TrajectoryScores], bool]] = {
    "R2": _interpolates,
    "R3": lambda scores: all(value >= (0.98 if balls == 1 else 0.95) for balls, value in scores.r_squared.items()),
    "R4": _bends,
    "R5": _knows_the_law,
}


def iterations_section(path: Path) -> list[str]:
    """Milliseconds per iteration, also relative to an iteration along diagonals."""
    if not path.is_file():
        return []
    record = json.loads(path.read_text())
    rows = []
    for recipe, times in record["milliseconds"].items():
        step = times["diagonals"]
        rows += [[recipe, name, f"{value:.1f}", f"{value / step:.2f}"] for name, value in times.items()]
    lines = table(["recipe", "part", "milliseconds", "relative to an iteration along diagonals"], rows)
    return [*lines, origin(record["provenance"]), ""]


def _is_balls(run: Run) -> bool:
    return isinstance(run.recipe.videos, BallVideos)


def _late(one: Prediction, errors: tuple[float, ...] | None) -> float | None:
    """Mean error of a forecast from frame 15 on; None for other queries."""
    if errors is None or one.query != "forecast":
        return None
    late = errors[BEYOND - 1 - NUM_FIRST :]
    return sum(late) / len(late)


def _pair(scores: TrajectoryScores) -> str:
    if scores.acceleration is None:
        return ""
    return f"{scores.acceleration[0]:.4f}, {scores.acceleration[1]:.4f} (0, {scores.true_acceleration[1]:.4f})"


def _number(value: float | None, digits: int = 3) -> str:
    return "" if value is None else f"{value:.{digits}f}"
