"""Which estimator trains presence best? One AIR recipe with each estimator, for the same time.

    python benchmarks/presence_estimators.py --recipe air-small --minutes 5 --data FOLDER --output runs/presence

Times a few steps of each estimator and gives it the epochs that fit into the minutes (schedules stretch with them).
Trains and evaluates them one after the other, then counts objects in unseen scenes with the weights of twenty points
along each run. Steps are traced where possible (Pyro's RenyiELBO reads values back). Writes run folders,
`presence-RECIPE.json` and a picture of the learning curves. Existing runs are resumed and finished ones kept, so the
same command continues an interrupted comparison.
"""

import argparse
import json
import statistics
import time
from pathlib import Path
from typing import Any

from inference import SVI
from inference.evidence import Budget
from inference.experiments.evaluate import evaluate
from inference.experiments.evaluation import read_evaluation, write_evaluation
from inference.experiments.runs import load_run, train_recipe
from inference.pictures import draw_learning_curves
from inference.recipes import RECIPES
from inference.recipes.air import LOSSES, AIRRecipe, AIRTraining
from inference.runs.checkpoints import assign_weights, list_checkpoints, read_checkpoint, write_bytes
from inference.runs.folder import RunFolder
from inference.runs.provenance import provenance
from inference.runtime.host_memory import keep_freed_memory
from inference.scores.counting import Counting
from inference.scores.score import Evaluated
from inference.svi.compiled import COMPILE_MODES
from inference.training.options import FUSED_ADAM

POINTS = 20  # of each learning curve
PLAN = "plan.json"


def milliseconds(recipe: AIRRecipe, device: str, compile: str, repetitions: int = 100) -> float:
    """Median time of a training step including its batch, after as many warm-up steps."""
    model, guide = recipe.build()
    model.to(device)
    guide.to(device)
    optimizer = FUSED_ADAM([*model.parameters(), *guide.parameters()], lr=recipe.training.learning_rate)
    svi = SVI(model, guide, optimizer, recipe.loss(), compile=compile)
    source = recipe.training_source(recipe.splits().train)
    times = []
    for repetition in range(2 * repetitions):
        began = time.perf_counter()
        float(svi.step(*source.batch(repetition).to(device).arguments))
        times.append(1000 * (time.perf_counter() - began))
    return statistics.median(times[repetitions:])


def planned(recipe: AIRRecipe, folder: Path, minutes: float, device: str, compile: str) -> AIRRecipe:
    """The recipe with epochs that fill the minutes; planned once and then read from the folder."""
    path = folder / PLAN
    if not path.is_file():
        step = milliseconds(recipe, device, compile)
        epochs = max(4, round(60_000 * minutes / step / recipe.steps_per_epoch))
        folder.mkdir(parents=True, exist_ok=True)
        write_bytes(path, json.dumps({"minutes": minutes, "milliseconds": step, "epochs": epochs}).encode())
    plan = json.loads(path.read_text())
    if plan["minutes"] != minutes:
        raise SystemExit(
            f"--minutes: {path} was planned for {plan['minutes']:g}, got {minutes:g}; take another --output"
        )
    epochs = plan["epochs"]
    share = recipe.training.annealing_epochs / recipe.training.epochs
    return recipe.with_options(epochs=epochs, annealing_epochs=min(epochs - 1, max(1, round(share * epochs))))


def learning_curve(path: Path, device: str) -> list[dict[str, float]]:
    """Minutes and counting accuracy on the test scenes at each checkpoint."""
    run = load_run(path, device)
    seconds = {record["step"]: record["seconds"] for record in run.folder.timing()} | {0: 0.0}
    curve = []
    for folder in list_checkpoints(path / "checkpoints"):
        checkpoint = read_checkpoint(folder)
        if checkpoint.state["step"] not in seconds:
            continue  # written when a run was interrupted, between two lines of the log
        assign_weights(run.model, run.guide, checkpoint.weights)
        accuracy = Counting().compute(Evaluated(run.model, run.guide, run.test))
        assert accuracy is not None
        curve.append(
            {
                "step": checkpoint.state["step"],
                "minutes": seconds[checkpoint.state["step"]] / 60,
                "counting": accuracy,
            }
        )
    return curve


def trained(name: str, estimator: str, options: argparse.Namespace) -> dict[str, Any]:
    """Train and evaluate one estimator, resuming an existing run; its record."""
    recipe = RECIPES[name]
    assert isinstance(recipe.training, AIRTraining), f"{name} is not an AIR recipe"
    recipe = recipe.with_options(estimator=estimator, data=options.data, seed=options.seed)
    plan = options.output / "plans" / estimator
    recipe = planned(recipe, plan, options.minutes, options.device, options.compile)
    path = options.output / f"{name}-{estimator}-{recipe.seed}"
    every = max(1, recipe.num_steps // POINTS)
    every = max(50, every - every % 50)  # times are known at multiples of the log's interval
    kept = {"checkpoint_every": every, "keep_last": 2 * POINTS}
    train_recipe(recipe, path, device=options.device, compile=options.compile, **kept)
    folder = RunFolder.open(path)
    evaluation = read_evaluation(folder)
    if evaluation is None:
        run = load_run(path, options.device)
        budget = Budget(particles=options.evidence_particles)
        evaluation = evaluate(run, num_particles=options.num_particles, budget=budget, progress=True)
        write_evaluation(folder, evaluation)
    curve = learning_curve(path, options.device)
    print(f"{estimator}: counts {curve[-1]['counting']:.3f} after {curve[-1]['minutes']:.1f} minutes", flush=True)
    return {"run": path.name, "steps": recipe.num_steps, "curve": curve}


def main() -> None:
    """Train, count, write and draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", default="air-small", choices=sorted(n for n in RECIPES if n.startswith("air")))
    parser.add_argument("--estimators", nargs="+", default=list(LOSSES), choices=list(LOSSES))
    parser.add_argument("--minutes", type=float, default=5.0, help="minutes of training for each estimator")
    parser.add_argument("--data", type=Path, default=None, help="folder with MNIST's files")
    parser.add_argument("--num-particles", type=int, default=1000, help="draws of the guide for bounds (%(default)s)")
    parser.add_argument("--evidence-particles", type=int, default=512, help="most particles of a repeat (%(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--compile", choices=COMPILE_MODES, default="trace")
    parser.add_argument("--output", type=Path, default=Path("runs/presence"))
    options = parser.parse_args()
    keep_freed_memory()
    curves = {estimator: trained(options.recipe, estimator, options) for estimator in options.estimators}
    record = {
        "provenance": provenance(options.seed),
        "recipe": options.recipe,
        "minutes": options.minutes,
        "compile": options.compile,
        "estimators": curves,
    }
    written = options.output / f"presence-{options.recipe}.json"
    write_bytes(written, json.dumps(record, indent=1).encode())
    figure = draw_learning_curves(
        {
            name: ([point["minutes"] for point in found["curve"]], [point["counting"] for point in found["curve"]])
            for name, found in curves.items()
        },
        label="scenes counted right",
        title=f"{options.recipe}: unseen scenes, by the estimator that trained",
    )
    figure.savefig(written.with_suffix(".png"))
    print(written, written.with_suffix(".png"))


if __name__ == "__main__":
    main()
