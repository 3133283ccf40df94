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
from dataclasses import asdict
from pathlib import Path
from typing import Any

from plans import Plan, Setting, parser_of, slug

from inference.experiments.runs import load_run, train_recipe
from inference.metrics.prefix_matches import match_on_prefix
from inference.recipes import Recipe
from inference.runs.checkpoints import assign_weights, list_checkpoints, read_checkpoint
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


def plan_of(name: str, output: Path) -> Plan:
    """Recipe and options of each setting of a plan."""
    if name == "variants":
        settings = {
            f"{flavour}: {variant}": (recipe_of_variant(variant), options)
            for flavour, options in FLAVOURS.items()
            for variant in VARIANTS
        }
    else:
        settings = {part: ("vtssi-literal-small", options) for part, options in PARTS.items()}
        settings |= {"all that helps": ("vtssi-small", {})}
    return Plan(
        name,
        output / f"trackers-{name}.json",
        {key: Setting(recipe, slug(key), SCORES, options) for key, (recipe, options) in settings.items()},
    )


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
    """Train and score one setting."""
    kept: dict[str, Any] = {"checkpoint_every": POINTS_EVERY, "keep_last": recipe.num_steps // POINTS_EVERY + 2}
    train_recipe(recipe, path, device=options.device, compile=options.compile, **kept)
    run = load_run(path, options.device)
    evaluated = Evaluated(run.model, run.guide, run.test)
    errors = Horizons(prefix=recipe.videos.prefix).compute(evaluated)
    assert errors is not None
    assert evaluated.scene is not None
    tracks = evaluated.scene.identities is not None
    return {
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


def in_words(row: dict[str, Any]) -> str:
    """The scores of a row that are printed."""
    inference, prediction = (row["errors"][kind]["mean"] for kind in ("inference", "prediction"))
    return f"{row['counted']:.1%} counted, inference {inference:.2f} pixels, prediction {prediction:.2f} pixels"


def main() -> None:
    """Train, score, write."""
    parser = parser_of(__doc__, ("variants", "parts"), Path("runs/trackers"))
    parser.add_argument("--data", type=Path, default=None, help="folder with MNIST's files")
    options = parser.parse_args()
    keep_freed_memory()
    plan_of(options.plan, options.output).complete(
        options, lambda _, recipe, path: scored(recipe, path, options), in_words, data=options.data
    )


if __name__ == "__main__":
    main()
