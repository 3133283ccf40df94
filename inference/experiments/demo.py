"""The demonstration: simulate, train, evaluate and draw in about three minutes on two CPU cores."""

import time
from pathlib import Path

from inference.evidence import Budget, log_evidence
from inference.experiments.evaluate import evaluated_run
from inference.experiments.render import render
from inference.experiments.runs import TrainedRun, load_run, train_recipe
from inference.recipes import RECIPES
from inference.scores.imputation_curves import imputation_curve

RECIPE = "kvae-demo"
NUM_WEIGHED = 8  # test sequences of bound and evidence
BUDGET = Budget(seconds=60.0, particles=128)  # a slow or busy machine stops after the smallest particle count
QUESTIONS = {"12 in a row": ("gap", 12), "half of them": ("random", 0.5), "all of them": ("random", 1.0)}
METHODS = {
    "last frame": "copy of the last frame",
    "filtering": "Kalman VAE, filtering",
    "smoothing": "Kalman VAE, smoothing",
}


def run_demo(path: Path, *, seed: int = 0, num_train: int | None = None) -> None:
    """Train a small Kalman VAE on simulated videos of a ball in a box, evaluate it and draw its imputations.

    The same call resumes an interrupted training, or evaluates a finished one.

    Args:
        path: folder of the run.
        seed: of everything random.
        num_train: training videos, which also sets the number of steps; None = the recipe's.
    """
    began = time.monotonic()
    recipe = RECIPES[RECIPE].with_options(seed=seed)
    if num_train is not None:
        recipe = recipe.with_options(num_train=num_train)
    print(
        f"Training a Kalman VAE on {recipe.videos.num_train} simulated videos of a ball in a box, "
        f"{recipe.num_steps} steps of {recipe.training.batch_size} videos (Ctrl-C keeps the run)"
    )
    train_recipe(recipe, path, validate_every=200)
    trained = load_run(path)
    print("Evaluating it on held-out videos\n")
    _print_bounds(trained, seed)
    _print_imputation(trained)
    pictures = render(trained)
    film = next(picture for picture in pictures if picture.suffix == ".gif")
    print(f"\nThe run is in {path}; {len(pictures)} pictures are in {pictures[0].parent}. Start with")
    print(f"    {pictures[0]}\n    {film}")
    print(f"Done in {(time.monotonic() - began) / 60:.1f} minutes")


def _print_bounds(trained: TrainedRun, seed: int) -> None:
    weighed = trained.test.select(slice(0, NUM_WEIGHED))
    evidence = log_evidence(trained.model, trained.guide, *weighed.arguments, method=BUDGET, seed=seed)
    values = evidence.log_evidence
    error = values.std() / weighed.num_sequences**0.5
    print(f"    ELBO          {evidence.elbo.mean():8.1f} nats per video")
    verdict = evidence.verdict
    bound = " at least" if verdict is not None and verdict.kind == "lower bound" else ""
    print(f"    log evidence{bound}  {values.mean():8.1f} +- {error:.1f} over {NUM_WEIGHED} videos")
    print(f"    {verdict}")


def _print_imputation(trained: TrainedRun) -> None:
    print("\n    Wrong pixels in the missing frames, after four observed frames")
    print(f"    {'missing:':28}" + "".join(f"{question:>15}" for question in QUESTIONS))
    for method, name in METHODS.items():
        curves = [
            imputation_curve(evaluated_run(trained), pattern, method, levels=(level,), num_masks=1)
            for pattern, level in QUESTIONS.values()
        ]
        print(f"    {name:28}" + "".join(f"{curve.errors[0]:>15.2%}" for curve in curves))
