"""Write RESULTS.md: the papers' numbers beside ours, every claim with its margin.

    python benchmarks/results.py runs/*

Copies the records of evaluated runs (configuration, provenance, scores, time; no weights) into `results/`, which is
committed, and writes RESULTS.md and its pictures from all records there, so that one document covers runs of several
days and machines. Reads the output of `kinema train`, `kinema evaluate` and the other programs of this folder; measures
nothing itself. Tables contain only what has been measured.
"""

import argparse
import json
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import mean, stdev

from cannonball_sections import cannonballs_section, iterations_section
from claims import claims_section
from evidence_section import evidence_section
from pedestrians_section import pedestrian_parts_section, pedestrians_section
from records import (
    EVIDENCE,
    EVIDENCE_NOTE,
    GUIDES,
    Run,
    best_by_label,
    evidence_cells,
    keep_records,
    mark,
    origin,
    read_runs,
    table,
)
from segmentation_sections import segmentation_sections
from slots_step_section import slots_step_section
from sprites_section import sprites_section
from step_sections import compiled_section, growth_section, particles_section, sqair_section, steps_section
from tracking_sections import clips_section, tracking_section
from vtssi_sections import (
    horizons_section,
    overlaps_section,
    parts_section,
    variants_evidence_section,
    variants_section,
    vtssi_step_section,
)

from inference.experiments.evaluation import Bounds
from inference.pictures import draw_imputation_curves, draw_learning_curves
from inference.recipes.published_curves import KALMAN_VAE_IMPUTATION
from inference.scores.imputation_curves import PATTERNS

PATTERN_TITLES = {
    "random": "Frames after the fourth dropped with probability p (figure 3a)",
    "gap": "g frames in a row missing after the fourth (figure 3b)",
}
DIGITS_NOTE = (
    "Digits of half size (`air-small`, `sqair-small`, `vrnn-small` and their kind) lacked a rim on the left and above",
    "in records of commits before 1603cd8, and their true positions lay half a pixel off.",
)
TABLE_1 = {"KVAE (CNN)": 810.08, "KVAE (MLP)": 807.02, "DVBF": 798.56, "DMM": 784.70}


def imputation_section(world: str, runs: Sequence[Run]) -> list[str]:
    """Imputation errors of every run on one world; for the box, the paper's errors come first."""
    lines = []
    for pattern, title in PATTERN_TITLES.items():
        rows = []
        if world == "box":
            published = [one for one in KALMAN_VAE_IMPUTATION if one.pattern == pattern]
            rows += [(f"paper: {one.method}", *(f"{error:.4f}" for error in one.errors)) for one in published]
        for run in runs:
            for one in run.score("curves") or ():
                last = one.method == "last frame"
                if one.pattern == pattern and (not last or run is runs[0]):
                    name = "copy of the last frame" if last else f"{run.folder.path.name}: {one.method}"
                    rows.append((name, *(f"{error:.4f}" for error in one.errors)))
        lines += [title, "", *table(["", *(f"{level:g}" for level in PATTERNS[pattern][2])], rows)]
    return lines


def picture_link(text: str, path: Path, document: Path) -> list[str]:
    """Markdown of a picture, with its path relative to the document."""
    return [f"![{text}]({os.path.relpath(path, document.parent)})", ""]


def imputation_picture(world: str, runs: Sequence[Run], records: Path, document: Path) -> list[str]:
    """Picture of the same errors, for the best run of each model."""
    curves = []
    for label in ("KVAE", "AE-RNN", "VAE-RNN", "BiLSTM"):
        run = best_by_label(runs, label)
        for one in () if run is None else run.score("curves") or ():
            if one.method != "last frame":
                several = label in ("KVAE", "BiLSTM")
                curves.append(replace(one, method=f"{label} {one.method}" if several else label))
    if not curves:
        return []
    path = records / f"{world}.png"
    published = KALMAN_VAE_IMPUTATION if world == "box" else ()
    draw_imputation_curves(curves, published).savefig(path)
    return picture_link(f"Imputation errors, {world}", path, document)


def training_section(runs: Sequence[Run]) -> list[str]:
    """Bounds and the cost of training."""
    rows = []
    for run in runs:
        bounds, scores = run.evaluation.bounds, run.score("position_r2") or {}
        numbers = ("no bound", "", "", "")
        if bounds is not None:
            numbers = (f"{bounds.elbo:.2f} ± {bounds.elbo_error:.2f}", *evidence_cells([bounds]))
        fits = (f"{scores.get(degree, float('nan')):.3f}" for degree in ("affine", "quadratic"))
        rows.append((run.folder.path.name, *numbers, *fits, f"{run.recipe.num_steps}", f"{run.minutes:.1f}"))
    header = ["run", "ELBO", *EVIDENCE, "R² affine", "R² quadratic", "steps", "minutes"]
    return ["Nats per sequence on the test videos; R² of true positions regressed on codes.", "", *table(header, rows)]


def pendulum_section(runs: Sequence[Run]) -> list[str]:
    """Table 1: the order of models by test ELBO per frame, over seeds."""
    groups: dict[str, list[tuple[Run, Bounds]]] = {}
    for run in runs:
        if run.evaluation.bounds is not None:
            groups.setdefault(run.evaluation.recipe, []).append((run, run.evaluation.bounds))
    rows = []
    for name, group in sorted(groups.items(), key=lambda item: -mean(bounds.elbo for _, bounds in item[1])):
        frames = group[0][0].evaluation.frames
        elbo = [bounds.elbo / frames for _, bounds in group]
        evidence = evidence_cells([bounds for _, bounds in group], per=frames)
        spread = f" ± {stdev(elbo):.2f}" if len(elbo) > 1 else ""
        seeds = ", ".join(str(run.recipe.seed) for run, _ in group)
        rows.append((name, f"{mean(elbo):.2f}{spread}", *evidence, seeds))
    lines = [
        "Nats per frame, mean and standard deviation over seeds. Our videos are a re-creation (the paper's were not",
        "released), so only the order can be compared: "
        + " > ".join(f"{name} {value}" for name, value in TABLE_1.items())
        + " in the paper.",
        "",
    ]
    return [*lines, *table(["recipe", "ELBO", *EVIDENCE, "seeds"], rows)]


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


def compiled_training_section(path: Path) -> list[str]:
    """Bounds reached with eager and with compiled steps."""
    if not path.is_file():
        return []
    record = json.loads(path.read_text())
    rows = []
    for compile in dict.fromkeys(run["compile"] for run in record["runs"]):
        runs = [run for run in record["runs"] if run["compile"] == compile]
        bounds = [run["best_bound"] for run in runs]
        minutes = mean(run["seconds"] for run in runs) / 60
        spread = stdev(bounds) if len(bounds) > 1 else float("nan")
        each = ", ".join(f"{bound:.2f}" for bound in bounds)
        rows.append((compile, each, f"{mean(bounds):.2f} ± {spread:.2f}", f"{runs[0]['steps']}", f"{minutes:.1f}"))
    header = [f"{record['recipe']}, compile =", "validation bound by seed", "mean", "steps", "minutes"]
    return [*table(header, rows), origin(record["provenance"]), ""]


def guides_section(runs: Sequence[Run]) -> list[str]:
    """One trained model under each of its guides."""
    lines = []
    for run in runs:
        path = run.folder.path / GUIDES
        if not path.is_file():
            continue
        record = json.loads(path.read_text())
        rows = []
        for one in record["scores"]:
            bounds = score_bounds(one, record)
            gap = f"{mark(bounds.is_lower_bound)}{bounds.log_evidence - bounds.elbo:.2f}"
            draws = f"{bounds.effective_sample_size:.1f}"
            elbo = f"{bounds.elbo:.2f} ± {bounds.elbo_error:.2f}"
            rows.append((one["guide"], one["missing"], elbo, *evidence_cells([bounds]), gap, draws))
        header = ["guide", "missing", "ELBO", *EVIDENCE, "evidence minus ELBO", "effective draws"]
        lines += [f"{run.folder.path.name}, {record['num_sequences']} test sequences.", "", *table(header, rows)]
    return lines


def score_bounds(score: dict, record: dict) -> Bounds:
    """The bounds of one guide; version 0.1.0 wrote them on the same level as its name."""
    if "bounds" in score:
        return Bounds(**score["bounds"])
    counts = {name: record[name] for name in ("num_particles", "num_sequences")}
    return Bounds(**{name: value for name, value in score.items() if name not in ("guide", "missing")}, **counts)


def provenance_section(runs: Sequence[Run]) -> list[str]:
    """Command, commit, seed and machine of each run."""
    rows = []
    for run in runs:
        entry = run.folder.provenance[0]
        rows.append((run.folder.path.name, origin(entry), str(entry["seed"])))
    return table(["run", "", "seed"], rows)


def marginal_section(path: Path) -> list[str]:
    """The output of `benchmarks/gaussian_marginal.py`."""
    return [path.read_text().strip(), ""] if path.is_file() else []


def write(runs: Sequence[Run], records: Path, document: Path) -> str:
    """The whole text of the document."""
    worlds = {"box": "A ball in a box", "box-gravity": "With gravity", "polygon": "In a polygon", "pong": "Pong"}
    lines = [
        "# Results",
        "",
        "Written by `python benchmarks/results.py` from the records in `results/`. Every number comes from a run or a",
        "measurement whose command is listed with it or at the end.",
        "",
        *EVIDENCE_NOTE,
        "",
        *DIGITS_NOTE,
        "",
    ]
    for world, title in worlds.items():
        chosen = [run for run in runs if run.recipe.videos.world == world]
        if chosen:
            lines += [
                f"## {title}",
                "",
                *imputation_picture(world, chosen, records, document),
                *imputation_section(world, chosen),
                *claims_section(world, chosen),
                *training_section(chosen),
            ]
    pendulum = [run for run in runs if run.recipe.videos.world == "pendulum"]
    if pendulum:
        lines += ["## Pendulum (table 1, claim C9)", "", *pendulum_section(pendulum)]
    scenes = [run for run in runs if run.recipe.videos.world == "multi-mnist"]
    if scenes:
        lines += ["## Scenes of digits (AIR)", "", *scenes_section(scenes)]
    for title, section in (
        ("Cannonballs (dynamics from pixels)", cannonballs_section(runs)),
        ("Time of an iteration of dynamics from pixels", iterations_section(records / "object_guides.json")),
        ("Moving digits (SQAIR)", tracking_section(runs)),
        ("A clip of a static camera (SQAIR)", clips_section(runs)),
        ("Pedestrians in a clip, tracked", pedestrians_section(records / "pedestrians.json")),
        ("What parts of the people model are worth", pedestrian_parts_section(records / "pedestrians-parts.json")),
        (
            "Sprites-MOT",
            sprites_section(records / "sprites-sqair.json", records / "sprites-blobs.json"),
        ),
        ("Trackers of digits (VTSSI)", variants_section(records / "trackers-variants.json")),
        ("Evidence of trackers, with and without a motion", variants_evidence_section(runs)),
        ("Trackers beyond their training", horizons_section(sorted(records.glob("horizons-*.json")), document)),
        ("Digits that overlap at first", overlaps_section(records / "overlaps.json", document)),
        (
            "What a tracker's parts are worth",
            parts_section(records / "trackers-parts.json", records / "vtssi_step.json"),
        ),
        *segmentation_sections(records),
        ("What evidence is worth", evidence_section(records / "evidence.json")),
        ("Estimators of presence, at equal time", presence_section(sorted(records.glob("presence-*.json")), document)),
        ("One model, its guides", guides_section(runs)),
        ("Time of a training step", steps_section(records / "training_step.json")),
        ("Time of an SVI step, eager and compiled", compiled_section(records / "svi_step.json")),
        ("Time of an SVI step as things double", growth_section(records / "svi_growth.json")),
        ("A step of SQAIR compared with a port", sqair_section(records / "sqair_step.json")),
        ("A step of VTSSI", vtssi_step_section(records / "vtssi_step.json")),
        ("A step of slots", slots_step_section(sorted(records.glob("slots_step-*.json")))),
        ("Training with eager and with compiled steps", compiled_training_section(records / "compiled_training.json")),
        ("What particles cost", particles_section(records / "particles.json")),
        ("The exact Gaussian marginal compared with its peers", marginal_section(records / "gaussian_marginal.md")),
    ):
        if section:
            lines += [f"## {title}", "", *section]
    lines += ["## Commands", "", *provenance_section(runs)]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Copy, read, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="*", help="folders of runs and files of measurements to add")
    parser.add_argument("--records", type=Path, default=Path("results"))
    parser.add_argument("--output", type=Path, default=Path("RESULTS.md"))
    options = parser.parse_args()
    options.records.mkdir(parents=True, exist_ok=True)
    for path in options.runs:
        keep_records(path, options.records)
    runs = read_runs(sorted(options.records.iterdir()))
    options.output.write_text(write(runs, options.records, options.output))
    print(options.output)


if __name__ == "__main__":
    main()
