"""Models that take videos of balls apart, beside one another: tables 1 to 3 and figure 5 of Zablotskaia et al. (2020).

    python benchmarks/decompositions.py models      --seeds 0 1 2 --output runs/decompositions
    python benchmarks/decompositions.py ablation    --seeds 0 1 2 --output runs/decompositions
    python benchmarks/decompositions.py predictions --seeds 0 1 2 --output runs/decompositions

`models` trains all models on small videos, white and in colours; SEQ-IODINE is the trained IODINE, which goes on from
frame to frame. `ablation` follows the paper from IODINE with a memory of the guide to its full system, and then
exchanges one part of ours after the other. `predictions` compares memories. Plans share their runs.

Test videos are those of the recipe, taken apart from the first frame on; scores are those of the first quarter of the
frames, the first half and so on. A second time only the first frames are observed, and pixels of the others are
predicted. A third time there are more balls, and more slots. Writes run folders and `decompositions-PLAN.json`, with
all that is finished so far. Existing runs are resumed and finished ones kept, even where only their rows are left.
"""

import argparse
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from plans import Plan, Setting, parser_of, slug
from slot_scores import decodes, mean_of, prediction_errors, scores, taken_apart

from guides import SpatioTemporalRefinementGuide
from inference.experiments.runs import load_run, train_recipe
from inference.programs.traces import evaluation_mode
from inference.recipes import Recipe
from inference.recipes.spatio_temporal import PAPER as PAPERS_OPTIONS
from inference.runtime.host_memory import keep_freed_memory
from videos import MassiveBalls

SLOTS, IODINE, NEM = "spatio-temporal-balls-small", "iodine-balls-small", "relational-nem-small"
SLOTS_COLOUR, IODINE_COLOUR = "spatio-temporal-balls-colour-small", "iodine-balls-colour-small"
SEQUENTIAL = "sequential"
PAPERS_MEMORY: dict[str, Any] = {"memory": "guide", "start": "constant"}
MODELS = {
    "binary: spatio-temporal": (SLOTS, None),
    "binary: IODINE": (IODINE, None),
    "binary: SEQ-IODINE": (IODINE, SEQUENTIAL),
    "binary: R-NEM": (NEM, None),
    "colour: spatio-temporal": (SLOTS_COLOUR, None),
    "colour: IODINE": (IODINE_COLOUR, None),
    "colour: SEQ-IODINE": (IODINE_COLOUR, SEQUENTIAL),
}
METHODS = {name: method for name, (_, method) in MODELS.items()}
ABLATION: dict[str, dict[str, Any]] = {
    "full grid, only the guide remembers": {**PAPERS_MEMORY, "grid": "full", "conditioned": False, "entropy": 0.0},
    "triangle, prior and decoder remember": {**PAPERS_MEMORY, "entropy": 0.0},
    "and entropy": PAPERS_MEMORY,
    "recommended": {},
    "without entropy": {"entropy": 0.0},
    "start: constant": {"start": "constant"},
    "not scattered": {"scattered": False},
    "weights: share": {"weights": "share"},
    "memory: guide": {"memory": "guide"},
    "relations": {"relations": 32},
    "all of the paper's": {**PAPERS_OPTIONS, "strided": True, "entropy": 0.001},  # the paper does not halve images
}
PREDICTIONS: dict[str, dict[str, Any]] = {
    "the paper's memory": PAPERS_MEMORY,
    "the guide's memory": ABLATION["memory: guide"],
    "the model's memory": {},
    "the model's memory, with relations": ABLATION["relations"],
}
PLANS = ("models", "ablation", "predictions")
MORE_BALLS, MORE_SLOTS = (1, 2), 2  # beyond those of training
MORE_COLOURS = 8
PAPERS_REFINEMENTS = 6  # of the first frame
PARTS = 4  # of the test videos' length, after each of which scores are given
SEED = 60  # of videos with more balls


def plan_of(name: str, output: Path) -> Plan:
    """Settings of a plan. Two with the same recipe and options share the folder of their run."""
    if name == "models":
        settings = {key: of_model(recipe, method) for key, (recipe, method) in MODELS.items()}
    else:
        parts = ABLATION if name == "ablation" else PREDICTIONS
        settings = {key: of_options(options) for key, options in parts.items()}
    if name == "predictions":
        settings["R-NEM"] = of_model(NEM, None)
    return Plan(name, output / f"decompositions-{name}.json", settings)


def of_model(recipe: str, method: str | None) -> Setting:
    """A recipe as it is."""
    return Setting(recipe, recipe, "decomposition.json" if method is None else f"decomposition-{method}.json")


def of_options(options: dict[str, Any]) -> Setting:
    """The recommended setting with options, in the folder of the first part that has them."""
    if not options:
        return of_model(SLOTS, None)
    first = next(name for name, one in ABLATION.items() if one == options)
    return replace(of_model(SLOTS, None), folder=slug(f"balls: {first}"), options=options)


def harder(recipe: Recipe) -> Iterator[tuple[str, MassiveBalls, int]]:
    """Videos with more balls than in training, and more slots: name, simulator, number of slots."""
    videos = recipe.videos
    fewest, most = (videos.balls[1] + more for more in MORE_BALLS)
    slots = recipe.pair.num_slots + MORE_SLOTS
    simulator = replace(
        videos.simulator("test"), min_balls=fewest, max_balls=most, num_frames=lengths_of(videos.test_frames)[0]
    )
    yield "more balls", simulator, slots
    if videos.colour:
        yield "more balls and colours", replace(simulator, palette_size=MORE_COLOURS), slots


def lengths_of(num_frames: int) -> list[int]:
    """A quarter of the frames, the half, and so on."""
    return [max(1, num_frames * part // PARTS) for part in range(1, PARTS + 1)]


def scored(recipe: Recipe, method: str | None, path: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Train, or go on; score by one method."""
    train_recipe(recipe, path, device=options.device, compile=options.compile)
    run = load_run(path, options.device)
    model: Any = run.model
    lengths = lengths_of(run.test.num_frames)
    row: dict[str, Any] = {
        "run": path.name,
        "label": recipe.label,
        "method": method,
        "seed": recipe.seed,
        "steps": recipe.num_steps,
        "seconds": run.folder.timing()[-1]["seconds"],
        "num_test": run.test.num_sequences,
        "balls": recipe.videos.test_balls,
        "num_slots": recipe.pair.num_slots,
        "observed": recipe.videos.followed,
    }
    with evaluation_mode(run.model, run.guide):
        shared, errors = taken_apart(run, method, run.test)
        row["lengths"] = {str(length): scores(shared[:, :length], errors[:, :length]) for length in lengths}
        predicted = prediction_errors(run, method, run.test, recipe.videos.followed)
        row["predictions"] = [mean_of(one) for one in predicted.unbind(1)]
        if isinstance(run.guide, SpatioTemporalRefinementGuide) and method is None:
            row["decodes"] = decodes(run.model, run.guide, lengths, PAPERS_REFINEMENTS)
        row["harder"] = {}
        for name, simulator, slots in harder(recipe):
            videos = simulator.simulate(run.test.num_sequences, torch.Generator().manual_seed(SEED))
            model.num_slots = slots
            found = scores(*taken_apart(run, method, videos.to(options.device)))
            world = {"balls": [simulator.min_balls, simulator.max_balls], "colours": simulator.palette_size}
            row["harder"][name] = {**world, "num_slots": slots, "scores": found}
    return row | {"provenance": run.folder.provenance[0]}  # of the training: code may change before a run is scored


def in_words(row: dict[str, Any]) -> str:
    """The scores of a row that are printed."""
    length, found = list(row["lengths"].items())[-1]
    ari, foreground, kept = (found[name]["mean"] for name in ("ari", "foreground_ari", "kept"))
    return (
        f"ARI {ari:.4f}, foreground {foreground:.4f}, squared error {found['squared_error']['mean']:.5f}, slots kept "
        f"{kept:.1%} in {length} frames"
    )


def main() -> None:
    """Train, score, write."""
    options = parser_of(__doc__, PLANS, Path("runs/decompositions")).parse_args()
    keep_freed_memory()
    plan_of(options.plan, options.output).complete(
        options, lambda name, recipe, path: scored(recipe, METHODS.get(name), path, options), in_words
    )


if __name__ == "__main__":
    main()
