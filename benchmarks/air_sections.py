"""Sections on scenes of a few objects (Eslami et al. 2016): counting, and estimators of presence at equal time."""

import json
from collections.abc import Sequence
from pathlib import Path

from records import EVIDENCE, Run, evidence_cells, origin, picture_link, table

from inference.pictures import draw_learning_curves


def scenes_section(runs: Sequence[Run]) -> list[str]:
    """Scenes of a few objects: counting accuracy by estimator and training time."""
    rows = []
    for run in runs:
        bounds, counting = run.evaluation.bounds, run.score("counting")
        if bounds is None or counting is None:
            continue
        fields = run.folder.config["fields"]
        size = f"{fields['frame_size']} x {fields['frame_size']}"
        rows.append(
            (
                run.folder.path.name,
                size,
                f"{fields['estimator']}, K = {run.recipe.loss().num_particles}",
                f"{counting:.3f}",
                f"{bounds.elbo:.1f} ± {bounds.elbo_error:.1f}",
                *evidence_cells([bounds], digits=1),
                f"{run.recipe.num_steps}",
                f"{run.minutes:.1f}",
            )
        )
    header = ["run", "pixels", "estimator", "counted correctly", "ELBO", *EVIDENCE, "steps", "minutes"]
    return ["Nats per scene; zero to two digits never seen in training.", "", *table(header, rows)]


def presence_section(paths: Sequence[Path], document: Path) -> list[str]:
    """Estimators of presence at equal time."""
    lines = []
    for path in paths:
        record = json.loads(path.read_text())
        curves = {name: found["curve"] for name, found in record["estimators"].items()}
        rows = []
        for name, curve in curves.items():
            best = max(point["counting"] for point in curve)
            above = next((f"{point['minutes']:.1f}" for point in curve if point["counting"] >= 0.9), "never")
            last = curve[-1]
            rows.append(
                (name, f"{last['step']}", f"{last['minutes']:.1f}", f"{last['counting']:.3f}", f"{best:.3f}", above)
            )
        header = ["estimator", "steps", "minutes", "counted correctly", "best during training", "minutes to 0.9"]
        picture = path.with_suffix(".png")
        draw_learning_curves(
            {
                name: ([one["minutes"] for one in curve], [one["counting"] for one in curve])
                for name, curve in curves.items()
            },
            label="scenes counted right",
        ).savefig(picture)
        lines += [
            f"{record['recipe']}: estimators trained one after the other, each for the epochs that fit into",
            f"{record['minutes']:g} minutes, given the time of a step measured beforehand.",
            "",
            *picture_link(f"Learning curves of the estimators, {record['recipe']}", picture, document),
            *table(header, rows),
            origin(record["provenance"]),
            "",
        ]
    return lines
