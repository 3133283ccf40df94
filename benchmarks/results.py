"""Write RESULTS.md: the paper's figure beside ours, every claim with its distance.

    python benchmarks/results.py runs/*

Copies the records of evaluated runs (configuration, provenance, scores, time; no weights) into `results/`, which is
committed, and writes RESULTS.md from all that is there: runs of several days and machines meet in one document.
Reads what `kinema train`, `kinema evaluate`, `benchmarks/swapped_guides.py`, `benchmarks/training_step.py` and
`benchmarks/gaussian_marginal.py` wrote; measures nothing itself. What has not been measured is not in the tables.
"""

import argparse
import json
import shlex
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev

from inference.checkpoints import write_bytes
from inference.evaluation import EVALUATION, Bounds, Evaluation, read_evaluation
from inference.imputation_curves import PATTERNS, ImputationCurve
from inference.recipe_runs import recipe_of
from inference.recipes import Recipe
from inference.recipes.published_curves import KALMAN_VAE_IMPUTATION
from inference.runs import CONFIG, PROVENANCE, TIMING, RunFolder

PATTERN_TITLES = {
    "random": "Frames after the fourth dropped with probability p (figure 3a)",
    "gap": "g frames in a row missing after the fourth (figure 3b)",
}
GUIDES = "guides.json"  # by swapped_guides.py, in the run's folder
TABLE_1 = {"KVAE (CNN)": 810.08, "KVAE (MLP)": 807.02, "DVBF": 798.56, "DMM": 784.70}


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


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Lines of a markdown table, numbers to the right."""
    lines = [f"| {' | '.join(header)} |", "|" + "---|" + "---:|" * (len(header) - 1)]
    return [*lines, *(f"| {' | '.join(row)} |" for row in rows), ""]


def imputation_section(world: str, runs: Sequence[Run]) -> list[str]:
    """Imputation errors of every run on one world; on the box the paper's stand above ours."""
    lines = []
    for pattern, title in PATTERN_TITLES.items():
        rows = []
        if world == "box":
            published = [one for one in KALMAN_VAE_IMPUTATION if one.pattern == pattern]
            rows += [(f"paper: {one.method}", *(f"{error:.4f}" for error in one.errors)) for one in published]
        for run in runs:
            for one in run.evaluation.curves:
                last = one.method == "last frame"
                if one.pattern == pattern and (not last or run is runs[0]):
                    name = "copy of the last frame" if last else f"{run.folder.path.name}: {one.method}"
                    rows.append((name, *(f"{error:.4f}" for error in one.errors)))
        lines += [title, "", *table(["", *(f"{level:g}" for level in PATTERNS[pattern][2])], rows)]
    return lines


def best_by_label(runs: Sequence[Run], label: str) -> Run | None:
    """The run of a model that the claims speak of: no frames missing in training, lowest smoothing (or only) curve."""
    chosen = [run for run in runs if run.recipe.label == label and not run.recipe.missing]
    scored = [
        (mean(run.evaluation.curves[0].errors), index) for index, run in enumerate(chosen) if run.evaluation.curves
    ]
    return chosen[min(scored)[1]] if scored else None


def claims_section(world: str, runs: Sequence[Run]) -> list[str]:
    """The sheet's claims on imputation, each with the pattern and level at which it is nearest to failing."""
    kalman = best_by_label(runs, "KVAE")
    if kalman is None:
        return []
    smoothing = {pattern: kalman.curve(pattern, "smoothing") for pattern in PATTERNS}
    filtering = {pattern: kalman.curve(pattern, "filtering") for pattern in PATTERNS}
    rows = []

    def judge(claim: str, margins: list[tuple[float, str]]) -> None:
        if margins:
            margin, where = min(margins)
            rows.append((claim, "holds" if margin >= 0 else "fails", f"{margin:+.4f}", where))

    def margins(better: dict, worse: dict, keep: Callable[[str, float], bool] = lambda pattern, level: True) -> list:
        return [
            (high - low, f"{pattern} {level:g}")
            for pattern in PATTERNS
            if better[pattern] is not None and worse[pattern] is not None
            for level, low, high in zip(
                better[pattern].levels, better[pattern].errors, worse[pattern].errors, strict=True
            )
            if keep(pattern, level)
        ]

    def not_generation(pattern: str, level: float) -> bool:
        return (pattern, level) != ("random", 1.0)

    judge("C1 smoothing is no worse than filtering", margins(smoothing, filtering))
    networks = {label: best_by_label(runs, label) for label in ("AE-RNN", "VAE-RNN", "BiLSTM")}
    for label, run in networks.items():
        if run is None:
            continue
        method = "smoothing" if label == "BiLSTM" else "filtering"
        claim = "beyond the paper:" if label == "BiLSTM" else "C2" if world == "box" else "C10"
        rivals = {pattern: run.curve(pattern, method) for pattern in PATTERNS}
        judge(f"{claim} smoothing beats the {label}", margins(smoothing, rivals, not_generation))
    gains = [
        ((high - low) / high, level)
        for pattern, level, low, high in (
            ("gap", level, low, high)
            for level, low, high in zip(
                PATTERNS["gap"][2], smoothing["gap"].errors, filtering["gap"].errors, strict=True
            )
        )
    ]
    text = ", ".join(f"{gain:.0%} at {level:g}" for gain, level in gains)
    rows.append(("C3 relative gain of smoothing over filtering by gap", "see", "", text))
    if networks["VAE-RNN"] is not None:
        worst = {pattern: networks["VAE-RNN"].curve(pattern, "filtering") for pattern in PATTERNS}
        others = [smoothing, filtering]
        if networks["AE-RNN"] is not None:
            others.append({pattern: networks["AE-RNN"].curve(pattern, "filtering") for pattern in PATTERNS})
        judge("C5 the VAE-RNN is worst", [entry for other in others for entry in margins(other, worst)])
    steps = [
        (later - earlier + 0.0003, f"{pattern} {level:g}")
        for curves in (smoothing, filtering)
        for pattern in PATTERNS
        for level, earlier, later in zip(
            curves[pattern].levels[1:], curves[pattern].errors, curves[pattern].errors[1:], strict=False
        )
    ]
    judge("C6 errors grow with what is missing (slack 0.0003)", steps)
    if world == "box":
        paper = {one.pattern: one for one in KALMAN_VAE_IMPUTATION if one.method == "KVAE smoothing"}
        judge("at or below the paper's smoothing curve", margins(smoothing, paper))
    lines = [f"Claims, for {kalman.folder.path.name}; the margin is that of the level nearest to failing.", ""]
    return [*lines, *table(["claim", "", "margin", "where"], rows)]


def training_section(runs: Sequence[Run]) -> list[str]:
    """Bounds and the cost of training."""
    rows = []
    for run in runs:
        bounds, scores = run.evaluation.bounds, run.evaluation.position_r2
        numbers = ("no bound", "", "", "")
        if bounds is not None:
            numbers = (
                f"{bounds.elbo:.2f} ± {bounds.elbo_error:.2f}",
                f"{bounds.log_evidence:.2f} ± {bounds.log_evidence_error:.2f}",
                f"{bounds.num_particles}",
                f"{bounds.pareto_k_above:.0%}",
            )
        fits = (f"{scores.get(degree, float('nan')):.3f}" for degree in ("affine", "quadratic"))
        rows.append((run.folder.path.name, *numbers, *fits, f"{run.recipe.num_steps}", f"{run.minutes:.1f}"))
    header = ["run", "ELBO", "log evidence", "draws", "k-hat > 0.7", "R² affine", "R² quadratic", "steps", "minutes"]
    return ["Nats per sequence on the test videos; R² of true positions from codes.", "", *table(header, rows)]


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
        evidence = [bounds.log_evidence / frames for _, bounds in group]
        spread = f" ± {stdev(elbo):.2f}" if len(elbo) > 1 else ""
        seeds = ", ".join(str(run.recipe.seed) for run, _ in group)
        rows.append((name, f"{mean(elbo):.2f}{spread}", f"{mean(evidence):.2f}", seeds))
    lines = [
        "Nats per frame, mean and standard deviation over seeds. Our videos are a re-creation (the paper's were not",
        "released), so only the order can be compared: "
        + " > ".join(f"{name} {value}" for name, value in TABLE_1.items())
        + " in the paper.",
        "",
    ]
    return [*lines, *table(["recipe", "ELBO", "log evidence", "seeds"], rows)]


def scenes_section(runs: Sequence[Run]) -> list[str]:
    """Scenes of a few objects: who counts them right, by which estimator, in what time."""
    rows = []
    for run in runs:
        bounds, counting = run.evaluation.bounds, run.evaluation.counting
        if bounds is None or counting is None:
            continue
        fields = run.folder.config["fields"]
        size = f"{fields['frame_size']} x {fields['frame_size']}"
        rows.append(
            (
                run.folder.path.name,
                size,
                f"{fields['estimator']}, K = {fields['num_particles']}",
                f"{counting:.3f}",
                f"{bounds.elbo:.1f} ± {bounds.elbo_error:.1f}",
                f"{bounds.log_evidence:.1f} ± {bounds.log_evidence_error:.1f}",
                f"{bounds.pareto_k_above:.0%}",
                f"{run.recipe.num_steps}",
                f"{run.minutes:.1f}",
            )
        )
    header = ["run", "pixels", "estimator", "counted right", "ELBO", "log evidence", "k-hat > 0.7", "steps", "minutes"]
    return ["Nats per scene; zero to two digits that training never saw.", "", *table(header, rows)]


def guides_section(runs: Sequence[Run]) -> list[str]:
    """One trained model through each of its guides."""
    lines = []
    for run in runs:
        path = run.folder.path / GUIDES
        if not path.is_file():
            continue
        record = json.loads(path.read_text())
        rows = [
            (
                one["guide"],
                one["missing"],
                f"{one['elbo']:.2f} ± {one['elbo_error']:.2f}",
                f"{one['log_evidence']:.2f} ± {one['log_evidence_error']:.2f}",
                f"{one['log_evidence'] - one['elbo']:.2f}",
                f"{one['effective_sample_size']:.1f}",
                f"{one['pareto_k_above']:.0%}",
            )
            for one in record["scores"]
        ]
        text = f"{run.folder.path.name}, {record['num_sequences']} test sequences, K = {record['num_particles']}."
        header = ["guide", "missing", "ELBO", "log evidence", "gap", "effective draws", "k-hat > 0.7"]
        lines += [text, "", *table(header, rows)]
    return lines


def steps_section(path: Path) -> list[str]:
    """Milliseconds of training steps."""
    if not path.is_file():
        return []
    record = json.loads(path.read_text())
    lines = table(
        ["variant of kvae-box", "ms per step"],
        [(name, f"{value:.1f}") for name, value in record["milliseconds"].items()],
    )
    parts = ", ".join(f"{name} {value:.1f} ms" for name, value in record["parts"].items())
    return [
        *lines,
        f"CPU time of one step of {record['profiled']} by the profiler: {parts}.",
        "",
        origin(record["provenance"]),
        "",
    ]


def particles_section(path: Path) -> list[str]:
    """Milliseconds of steps with several particles."""
    if not path.is_file():
        return []
    record = json.loads(path.read_text())
    counts = list(dict.fromkeys(count for row in record["milliseconds"].values() for count in row))
    rows = []
    for name, row in record["milliseconds"].items():
        first = int(next(iter(row)))
        cells = [f"{row[count]:.1f}" if count in row else "" for count in counts]
        last = list(row)[-1]
        share = row[last] / (int(last) / first * row[str(first)])
        rows.append((name, *cells, f"{share:.0%} of {int(last) // first} times K = {first}"))
    header = ["milliseconds of a gradient step", *(f"K = {count}" for count in counts), f"K = {counts[-1]} costs"]
    return [*table(header, rows), origin(record["provenance"]), ""]


def origin(entry: dict) -> str:
    """One line on what measured something, at which commit, where."""
    machine = entry["machine"]
    place = f"{machine['cpu']}, {machine['threads']} threads" + "".join(f", {gpu}" for gpu in machine["gpu"])
    return f"`{shlex.join(entry['command'])}` at {commit(entry)} on {place}"


def commit(entry: dict) -> str:
    """The commit, and whether files differed from it."""
    git = entry["git"]
    return "unknown" if git is None else git["commit"][:10] + (" with changes" if git["dirty"] else "")


def provenance_section(runs: Sequence[Run]) -> list[str]:
    """Command, commit, seed and machine of each run."""
    rows = []
    for run in runs:
        entry = run.folder.provenance[0]
        rows.append((run.folder.path.name, origin(entry), str(entry["seed"])))
    return table(["run", "", "seed"], rows)


def marginal_section(path: Path) -> list[str]:
    """What `benchmarks/gaussian_marginal.py` printed."""
    return [path.read_text().strip(), ""] if path.is_file() else []


def write(runs: Sequence[Run], records: Path) -> str:
    """The whole document."""
    worlds = {"box": "A ball in a box", "box-gravity": "With gravity", "polygon": "In a polygon", "pong": "Pong"}
    lines = [
        "# Results",
        "",
        "Written by `python benchmarks/results.py` from the records in `results/`. Every number comes from a run, by",
        "the commands at the end.",
        "",
    ]
    for world, title in worlds.items():
        chosen = [run for run in runs if run.recipe.world == world]
        if chosen:
            lines += [
                f"## {title}",
                "",
                *imputation_section(world, chosen),
                *claims_section(world, chosen),
                *training_section(chosen),
            ]
    pendulum = [run for run in runs if run.recipe.world == "pendulum"]
    if pendulum:
        lines += ["## Pendulum (table 1, claim C9)", "", *pendulum_section(pendulum)]
    scenes = [run for run in runs if run.recipe.world == "multi-mnist"]
    if scenes:
        lines += ["## Scenes of digits (AIR)", "", *scenes_section(scenes)]
    for title, section in (
        ("One model, its guides", guides_section(runs)),
        ("Time of a training step", steps_section(records / "training_step.json")),
        ("What particles cost", particles_section(records / "particles.json")),
        ("The exact Gaussian marginal beside its peers", marginal_section(records / "gaussian_marginal.md")),
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
    for path in options.runs:
        keep_records(path, options.records)
    runs = read_runs(sorted(options.records.iterdir()))
    options.output.write_text(write(runs, options.records))
    print(options.output)


if __name__ == "__main__":
    main()
