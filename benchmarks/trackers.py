"""Trackers of moving digits beside one another: the paper's table of variants, and what each part of a guide is worth.

    python benchmarks/trackers.py variants --data FOLDER --seeds 0 1 2 --output runs/trackers
    python benchmarks/trackers.py parts    --data FOLDER --seeds 0 1 2 --output runs/trackers

`variants` trains the five variants of Akhundov et al. (2019), table 1, on straight and on elliptic paths, with and
without overlap in the first frame. `parts` exchanges one part of the paper's guide after the other. Settings are
trained one after the other, seed by seed, and scored on videos of digits that were never seen. Writes run folders and
`trackers-PLAN.json`, with all that is finished so far. Existing runs are resumed and finished ones kept, even where
only their rows in `trackers-PLAN.json` are left; two commands with different settings or seeds may share a folder.
"""

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from inference.experiments.runs import load_run, train_recipe
from inference.metrics.prefix_matches import match_on_prefix
from inference.recipes import RECIPES, Recipe
from inference.runs.checkpoints import assign_weights, list_checkpoints, read_checkpoint, write_bytes
from inference.runtime.host_memory import keep_freed_memory
from inference.scores.counting import Counting
from inference.scores.horizons import Horizons
from inference.scores.score import Evaluated

VARIANTS = ("air", "find", "rect-find", "find-mot", "vtssi")
FLAVOURS = {
    f"{world}, overlap {'yes' if overlap else 'no'}": {"world": f"{world}-mnist", "overlap": overlap}
    for world in ("linear", "elliptic")
    for overlap in (False, True)
}
PARTS: dict[str, dict[str, Any]] = {
    "the paper's": {},
    "changes predicted": {"residual": True},
    "product of densities": {"fuser": "product"},
    "motions from both directions": {"fuser": "two-way"},
    "displacements": {"displacements": True},
    "gradient of the boundary": {"count_gradient": "boundary", "count_mean": (-2.0, -2.0)},
    "count's prior at -1": {"count_mean": (-1.0, -1.0)},
    "tight sizes": {"size_scale": 0.03},
    "particle filter, 4 particles": {"particles": 4, "finder_input": "fused"},
    "slots matched": {"matched": True},
    "frames spread": {"spread": True},
    "correlation map": {"finder": "correlation"},
    "places on a map": {"places": "map"},
    "places and count on a map": {"places": "counting-map"},
    "thrice the learning rate": {"learning_rate": 0.003},
}
POINTS_EVERY = 500  # steps between points of a learning curve
FEW = 500  # test videos for each point
SCORES = "tracker.json"


def recipe_of_variant(variant: str) -> str:
    """Name of its small recipe."""
    return "vtssi-small" if variant == "vtssi" else f"vtssi-{variant}-small"


def settings_of(plan: str) -> dict[str, tuple[str, dict[str, Any]]]:
    """Recipe and options of each setting of a plan, by name."""
    if plan == "variants":
        return {
            f"{flavour}: {variant}": (recipe_of_variant(variant), options)
            for flavour, options in FLAVOURS.items()
            for variant in VARIANTS
        }
    parts = {name: ("vtssi-literal-small", options) for name, options in PARTS.items()}
    return parts | {"all that helps": ("vtssi-small", {})}


def counting_curve(path: Path, device: str) -> list[dict[str, float]]:
    """Seconds of training and share of rightly counted videos, at each checkpoint."""
    run = load_run(path, device)
    seconds = {record["step"]: record["seconds"] for record in run.folder.timing()} | {0: 0.0}
    test, curve = run.test.select(slice(0, FEW)), []
    for folder in list_checkpoints(path / "checkpoints"):
        checkpoint = read_checkpoint(folder)
        step = checkpoint.state["step"]
        if step in seconds:
            assign_weights(run.model, run.guide, checkpoint.weights)
            scene = Evaluated(run.model, run.guide, test).scene
            assert scene is not None
            counting = match_on_prefix(scene, test.to("cpu"), run.recipe.videos.prefix).counting_accuracy
            curve.append({"step": step, "seconds": seconds[step], "counting": counting})
    return curve


def scored(recipe: Recipe, path: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Train and score one setting; what was scored before is read."""
    kept: dict[str, Any] = {"checkpoint_every": POINTS_EVERY, "keep_last": recipe.num_steps // POINTS_EVERY + 2}
    train_recipe(recipe, path, device=options.device, compile=options.compile, **kept)
    written = path / SCORES
    if not written.is_file():
        run = load_run(path, options.device)
        evaluated = Evaluated(run.model, run.guide, run.test)
        errors = Horizons(prefix=recipe.videos.prefix).compute(evaluated)
        assert errors is not None
        assert evaluated.scene is not None
        tracks = evaluated.scene.identities is not None
        record = {
            "run": path.name,
            "seed": recipe.seed,
            "steps": recipe.num_steps,
            "seconds": run.folder.timing()[-1]["seconds"],
            "num_test": run.test.num_sequences,
            "counted": errors.counting if tracks else Counting().compute(evaluated),
            "errors": asdict(errors),
            "curve": counting_curve(path, options.device),
            "provenance": run.folder.provenance[0],  # of the training: code may change before a run is scored
        }
        write_bytes(written, json.dumps(record).encode())
    return json.loads(written.read_text())


def known_rows(plan: str, output: Path) -> dict[tuple[str, int], dict[str, Any]]:
    """Rows that were finished before, by name of the setting and seed, in the order of the plan."""
    written, names = output / f"trackers-{plan}.json", list(settings_of(plan))
    rows = json.loads(written.read_text())["rows"] if written.is_file() else []
    rows += [
        {"setting": name} | json.loads((folder / SCORES).read_text())
        for name in names
        for folder in output.glob(f"{slug(name)}-[0-9]*")
        if (folder / SCORES).is_file()
    ]
    rows = sorted((row for row in rows if row["setting"] in names), key=lambda row: row["seed"])
    return {(row["setting"], row["seed"]): row for name in names for row in rows if row["setting"] == name}


def write_all(plan: str, output: Path) -> None:
    """Write the record of all that is finished."""
    record = {"plan": plan, "rows": list(known_rows(plan, output).values())}
    write_bytes(output / f"trackers-{plan}.json", json.dumps(record, indent=1).encode())


def slug(name: str) -> str:
    """The name of a setting as that of a folder."""
    return "".join(letter if letter.isalnum() else "-" for letter in name.replace("'", "").replace(": ", "-")).lower()


def main() -> None:
    """Train, score, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("plan", choices=("variants", "parts"))
    parser.add_argument("--data", type=Path, default=None, help="folder with MNIST's files")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--only", nargs="+", default=[""], help="settings whose names contain one of these")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--compile", default="off")
    parser.add_argument("--output", type=Path, default=Path("runs/trackers"))
    parser.add_argument("--options", default="{}", help="further options of all recipes, JSON")
    options = parser.parse_args()
    keep_freed_memory()
    chosen = {
        name: setting
        for name, setting in settings_of(options.plan).items()
        if any(word in name for word in options.only)
    }
    if not chosen:
        names = "; ".join(settings_of(options.plan))
        raise SystemExit(f"--only: expected part of a name, got {', '.join(options.only)}; names: {names}")
    for seed in options.seeds:
        for name, (recipe_name, changes) in chosen.items():
            record = known_rows(options.plan, options.output).get((name, seed))
            if record is None:
                fields = {"data": options.data, "seed": seed, **json.loads(options.options), **changes}
                recipe = RECIPES[recipe_name].with_options(**fields)
                record = scored(recipe, options.output / f"{slug(name)}-{seed}", options)
            errors = record["errors"]
            inference, prediction = (errors[kind]["mean"] for kind in ("inference", "prediction"))
            print(
                f"{name}, seed {seed}: {record['counted']:.1%} counted, inference {inference:.2f} pixels, prediction "
                f"{prediction:.2f} pixels",
                flush=True,
            )
            write_all(options.plan, options.output)


if __name__ == "__main__":
    main()
