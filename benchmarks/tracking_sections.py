"""Sections of RESULTS.md on objects that come and go: detection, tracking, bounds and evidence."""

import math
from collections.abc import Callable, Sequence
from statistics import median

from records import EVIDENCE, Run, evidence_cells, table

from inference.recipes import Recipe
from inference.scores.tracking import TrackingSummary


def tracking_section(runs: Sequence[Run]) -> list[str]:
    """Settings summarised over seeds, then each run."""
    chosen = [run for run in runs if run.recipe.videos.world == "moving-mnist"]
    if not chosen:
        return []
    return [*_by_setting(chosen), *_by_run(chosen)]


def clips_section(runs: Sequence[Run]) -> list[str]:
    """Clips of static cameras, whose objects have no identities and come from background subtraction."""
    rows = []
    for run in runs:
        scores, counting, bounds = run.score("detection"), run.score("counting"), run.evaluation.bounds
        if scores is None or counting is None:
            continue
        counted = " / ".join("" if share is None else f"{share:.2f}" for share in scores.counted)
        rows.append(
            (
                run.folder.path.name,
                f"{counting:.3f} ({scores.guess:.3f})",
                counted,
                f"{scores.found:.2f} ({scores.true:.2f})",
                f"{scores.discovered:.2f} / {scores.propagated:.2f}",
                f"{scores.accuracy:.2f}",
                f"{scores.position_error:.1f}",
                "" if bounds is None else f"{bounds.elbo:.0f}",
                f"{run.recipe.num_steps}",
                f"{run.minutes:.0f}",
            )
        )
    if not rows:
        return []
    header = ["run", "counted correctly (guess)", "of 0 / 1 / 2 objects", "per frame (true)", "discovered / propagated"]
    header += ["detection accuracy", "error, pixels", "ELBO", "steps", "minutes"]
    return [
        *table(header, rows),
        "True objects are the connected components of the moving pixels, not annotations. A guess is always the most",
        "common number. An object is found where a box's centre is within half the true box's mean side of its own.",
        "",
    ]


def _by_setting(runs: Sequence[Run]) -> list[str]:
    """Scores over seeds, for models that track objects."""
    groups: dict[Recipe, list[Run]] = {}
    for run in sorted(runs, key=lambda run: (run.evaluation.recipe, _estimator(run), run.recipe.seed)):
        if run.score("tracking") is not None:
            groups.setdefault(run.recipe.with_options(seed=0), []).append(run)
    rows = []
    for group in groups.values():
        summaries = [run.score("tracking") for run in group if run.score("tracking") is not None]
        met = [(run.score("counting") or 0) > 0.9 and _switches(run) < 0.1 for run in group]
        rows.append(
            (
                f"{group[0].evaluation.recipe}, {_estimator(group[0])}, {group[0].recipe.num_steps} steps",
                f"{len(group)}",
                f"{median(run.minutes for run in group):.0f}",
                _spread([run.score("counting") or 0 for run in group]),
                *(_spread([of(one) for one in summaries]) for of in SCORES.values()),
                f"{sum(met)}",
            )
        )
    if not rows:
        return []
    lines = table(["setting", "seeds", "minutes", "counted correctly", *SCORES, "both"], rows)
    return [
        *lines,
        "Lowest to highest over seeds. Both: more than 0.9 of frames are counted correctly, and fewer than one video",
        "in ten has an identity switch. A digit is found where a box's centre is within half a digit side of its own.",
        "",
    ]


def _by_run(runs: Sequence[Run]) -> list[str]:
    """Bounds and evidence, also of models without objects."""
    rows = []
    for run in runs:
        bounds, counting, addition = run.evaluation.bounds, run.score("counting"), run.score("addition")
        frames = run.evaluation.frames
        row = [run.folder.path.name, run.recipe.label, _estimator(run), f"{frames}"]
        row.append("" if counting is None else f"{counting:.3f}")
        if bounds is None:
            row += [""] * (3 + len(EVIDENCE))
        else:
            row.append(f"{bounds.elbo / frames:.2f} ± {bounds.elbo_error / frames:.2f}")
            parts = (bounds.reconstruction, bounds.divergence)
            row += ["" if one is None else f"{one / frames:.1f}" for one in parts]
            row += evidence_cells([bounds], per=frames)
        row.append("" if addition is None else f"{addition.accuracy:.3f} ({addition.nonempty_accuracy:.3f})")
        rows.append([*row, f"{run.recipe.num_steps}", f"{run.minutes:.0f}"])
    header = ["run", "model", "estimator", "frames", "counted correctly", "ELBO", "log p(x given z)"]
    header += ["log q(z) - log p(z)", *EVIDENCE, "digits added correctly (non-empty videos)", "steps", "minutes"]
    return ["Nats per frame; digits never seen in training.", "", *table(header, rows)]


SCORES: dict[str, Callable[[TrackingSummary], float]] = {
    "videos with switches": lambda one: 1 - one.unswitched,
    "identity F1": lambda one: one.idf1,
    "MOTA": lambda one: one.mota,
    "error, pixels": lambda one: one.position_error,
    "late discoveries": lambda one: one.late_discoveries,
}


def _switches(run: Run) -> float:
    tracking = run.score("tracking")
    return 1.0 if tracking is None else 1 - tracking.unswitched


def _estimator(run: Run) -> str:
    fields = run.folder.config["fields"]
    return f"{fields['estimator']}, K = {fields['num_particles']}"


def _spread(values: Sequence[float]) -> str:
    known = [value for value in values if not math.isnan(value)]  # an error is undefined where nothing is found
    if not known:
        return ""
    low, high = min(known), max(known)
    return f"{low:.3f}" if len(values) == 1 else f"{low:.3f} to {high:.3f}"
