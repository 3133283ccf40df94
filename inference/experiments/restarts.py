"""Runs that fail an early health check: named, or abandoned and restarted from another seed."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from inference.experiments.runs import load_run, train_recipe
from inference.programs.traces import evaluation_mode
from inference.recipes import Recipe
from inference.recipes.recipe import OptionError
from inference.runs.folder import CONFIG, RunFolder
from inference.runs.lock import training_in
from inference.runtime.processes import ALONE, Processes
from inference.training.train import TrainingResult

SEED_STRIDE = 1000  # added at each restart, so restarts of runs with seeds 0, 1, 2, ... use different seeds


def train_with_restarts(
    recipe: Recipe,
    path: str | Path,
    *,
    restarts: int = 0,
    device: torch.device | str = "cpu",
    processes: Processes = ALONE,
    **options: Any,
) -> TrainingResult:
    """Train a recipe, check it after its `check_step`, and restart from another seed if the recipe complains.

    An abandoned run is kept beside the new one, as PATH-abandoned-1 and so on. These folders count the restarts, so
    the same call resumes after an interruption. Once no restart is left, a complaint is printed, and training goes on.

    Args:
        recipe: recipe to train.
        path: folder of the run.
        restarts: maximum number of abandoned runs; the run after them is trained to the end.
        device: device of model, guide and batches.
        processes: processes that train together; restarts need a single one.
        options: passed on to `train_recipe`.

    Raises:
        OptionError: if `restarts` is negative, or positive with a recipe that defines no health check or with several
            processes.
        ValueError: what `train_recipe` raises.
    """
    path, step = Path(path), recipe.check_step
    options |= {"device": device, "processes": processes}
    if restarts < 0:
        raise OptionError(f"--restarts: expected at least 0, got {restarts}")
    if restarts == 0 and (step is None or step >= recipe.num_steps or processes.size > 1):
        return train_recipe(recipe, path, **options)
    if step is None or processes.size > 1:
        why = f"{recipe.name} defines no health check" if step is None else "several processes train together"
        raise OptionError(f"--restarts: expected 0, since {why}, got {restarts}")
    while True:
        abandoned = len(list(path.parent.glob(f"{path.name}-abandoned-*")))
        current = replace(recipe, seed=recipe.seed + SEED_STRIDE * abandoned)
        with training_in(path, force=options.get("force", False)):
            complaint = _complaint(current, path, step, options) if _steps_taken(path) <= step else None
            if complaint is None or abandoned >= restarts:
                if complaint is not None:
                    print(f"step {step}: {complaint}; {_remedy(restarts)}")
                return train_recipe(current, path, **options)
        aside = path.with_name(f"{path.name}-abandoned-{abandoned + 1}")
        path.rename(aside)
        print(f"step {step}: {complaint}; run abandoned ({aside})")


def _complaint(recipe: Recipe, path: Path, step: int, options: Mapping[str, Any]) -> str | None:
    """Train up to the health check and make it."""
    train_recipe(recipe, path, last_step=step, **options)
    run = load_run(path, options["device"], "last")
    with evaluation_mode(run.model, run.guide):
        return recipe.complaint(run.model, run.guide, recipe.splits().validation.to(options["device"]))


def _remedy(restarts: int) -> str:
    if restarts:
        return f"training goes on, as {restarts} restart{'s are' if restarts > 1 else ' is'} used up"
    return "training goes on; with --restarts 3 it would start again from another seed"


def _steps_taken(path: Path) -> int:
    checkpoint = RunFolder.open(path).last_checkpoint() if (path / CONFIG).is_file() else None
    return 0 if checkpoint is None else checkpoint.state["step"]
