"""Sections on the Kalman VAE and its baselines (Fraccaro et al. 2017): imputation, pendulum, one model's guides."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import mean, stdev

from claims import claims_section, imputation_claims
from judged import Judged
from records import EVIDENCE, GUIDES, Run, best_by_label, evidence_cells, mark, picture_link, table

from inference.experiments.evaluation import Bounds
from inference.pictures import draw_imputation_curves
from inference.recipes.published_curves import KALMAN_VAE_IMPUTATION
from inference.scores.imputation_curves import PATTERNS

WORLDS = {"box": "A ball in a box", "box-gravity": "With gravity", "polygon": "In a polygon", "pong": "Pong"}
PATTERN_TITLES = {
    "random": "Frames after the fourth dropped with probability p (figure 3a)",
    "gap": "g frames in a row missing after the fourth (figure 3b)",
}
TABLE_1 = {"KVAE (CNN)": 810.08, "KVAE (MLP)": 807.02, "DVBF": 798.56, "DMM": 784.70}


def world_sections(runs: Sequence[Run], records: Path, document: Path) -> list[tuple[str, list[str]]]:
    """Titles and lines, a section for each world of a ball."""
    sections = []
    for world, title in WORLDS.items():
        chosen = _of_world(runs, world)
        if chosen:
            lines = [
                *imputation_picture(world, chosen, records, document),
                *imputation_section(world, chosen),
                *claims_section(world, chosen),
                *training_section(chosen),
            ]
            sections.append((title, lines))
    return sections


def kalman_claims(runs: Sequence[Run]) -> list[tuple[str, list[Judged]]]:
    """The paper's claims on imputation, by world."""
    return [(title.lower(), imputation_claims(world, _of_world(runs, world))) for world, title in WORLDS.items()]


def _of_world(runs: Sequence[Run], world: str) -> list[Run]:
    return [run for run in runs if run.recipe.videos.world == world]


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
