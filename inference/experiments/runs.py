"""Runs of recipes: trained into a folder, read back from it."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypedDict

import torch
from torch import nn

from inference.experiments.fit_checks import build_for_videos, check_fit, darkness, nothing_found
from inference.experiments.source_records import DATA_SET, SOURCES, check_data_set, check_sources, source_records
from inference.recipes import RECIPES, Recipe
from inference.recipes.given_videos import GIVEN, GivenVideos
from inference.recipes.options import hints_of
from inference.recipes.recipe import PARTS
from inference.runs.folder import CONFIG, RunFolder
from inference.runs.lock import training_in
from inference.runs.records import with_tuples
from inference.runs.schema import check_fields, mismatches
from inference.runtime.processes import ALONE, Processes
from inference.training.stages import first_steps
from inference.training.train import TrainingOptions, TrainingResult, train
from videos.batch import VideoBatch

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainedRun:
    """A run with its weights loaded.

    Attributes:
        folder: the run's folder.
        recipe: the recipe it was trained by.
        model: with the weights of the best validation bound.
        guide: with the weights of the same step.
        test: test videos.
        step: the step whose weights these are.
    """

    folder: RunFolder
    recipe: Recipe
    model: nn.Module
    guide: nn.Module
    test: VideoBatch
    step: int


def train_recipe(
    recipe: Recipe,
    path: str | Path,
    *,
    device: torch.device | str = "cpu",
    processes: Processes = ALONE,
    last_step: int | None = None,
    **options: Any,
) -> TrainingResult:
    """Train a recipe into a folder, or resume the run of the same recipe found there.

    Args:
        recipe: with its options.
        path: folder of the run.
        device: device of model, guide and batches.
        processes: processes that train together.
        last_step: stop after this step, as if the recipe ended; a later call without it trains to the recipe's end.
        options: further `TrainingOptions`, such as `compile` and `progress`.

    Raises:
        ValueError: if the folder holds anything else, or a run with another configuration or other videos, or if
            another process trains in it.
        OptionError: if given videos do not fit the recipe.
    """
    with training_in(path, force=options.get("force", False), processes=processes):
        return _train_recipe(recipe, path, device, processes, last_step, options)


def _train_recipe(
    recipe: Recipe,
    path: str | Path,
    device: torch.device | str,
    processes: Processes,
    last_step: int | None,
    options: Mapping[str, Any],
) -> TrainingResult:
    sources = source_records(recipe.videos)
    data_set = recipe.videos.data_set()
    config = plain_config(recipe) | ({SOURCES: sources} if sources else {}) | ({DATA_SET: data_set} if data_set else {})
    if (Path(path) / CONFIG).is_file():
        known = RunFolder.open(path).config
        check_sources(known, Path(path), sources)
        check_data_set(known, Path(path), data_set)
        if DATA_SET not in known:  # a run of Kinema 0.1.0
            config.pop(DATA_SET, None)
    model, guide = build_for_videos(recipe)  # first: it refuses wrong options, and videos may take a while
    model.to(device)
    guide.to(device)
    splits, stages = recipe.splits(), recipe.stages()
    if recipe.videos.sources():
        check_fit(recipe, model, guide, splits)
        if dark := darkness(recipe, splits.train):
            _log.warning(dark)
    result = train(
        model,
        guide,
        recipe.training_source(splits.train),
        stages if last_step is None else first_steps(stages, last_step),
        loss=recipe.loss(),
        validation=splits.validation,
        run=processes.of_the_leader(lambda: RunFolder.start(path, config, seed=recipe.seed)),
        options=TrainingOptions(
            learning_rate=recipe.schedule(),
            optimizer=recipe.optimizer(),
            clip_norm=recipe.training.clip_norm,
            precision=recipe.training.precision,
            seed=recipe.seed,
            processes=processes,
            **options,
        ),
    )
    if recipe.videos.sources() and last_step is None and processes.leads:
        if complaint := nothing_found(recipe, model, guide):
            _log.warning(complaint)
    return result


def plain_config(recipe: Recipe) -> dict[str, Any]:
    """Contents of a run's config.json, but for what was read of given videos: the recipe's name and every option."""
    values = {key: str(value) if isinstance(value, Path) else value for key, value in recipe.options.items()}
    return {"recipe": recipe.name, "fields": values}


class _Config(TypedDict):
    recipe: str
    fields: dict[str, Any]


def recipe_of(config: Mapping[str, Any]) -> Recipe:
    """The recipe that a run was trained by.

    Raises:
        ValueError: if this version lacks the recipe or one of its options, or if a field is missing or of another type.
    """
    check_fields(config, _Config, CONFIG)
    name = config["recipe"]
    if name not in RECIPES:
        raise ValueError(
            f"recipe: expected one of {', '.join(RECIPES)}, got {name!r} in the run's config.json; a recipe of your "
            "own has to be registered first, see inference.register"
        )
    recipe = RECIPES[name]
    values = with_tuples(config["fields"])
    if values.get("world") == GIVEN:
        recipe = replace(recipe, videos=GivenVideos(), replaced=recipe.videos)
    # An option added since the run was made takes its class's default, whatever the recipe sets now.
    recipe = replace(recipe, **{part: type(getattr(recipe, part))() for part in PARTS})
    unknown = sorted(set(values) - set(recipe.options))
    if unknown:
        raise ValueError(f"recipe: {name!r} has no field {', '.join(unknown)}; the run was made by another version")
    for option in ("data", "test"):
        if isinstance(values.get(option), str):
            values[option] = Path(values[option])
    hints = {"seed": int} | {
        name: hint for part in PARTS for name, hint in hints_of(type(getattr(recipe, part))).items()
    }
    if wrong := mismatches(values, hints):
        raise ValueError(f"{CONFIG}: fields: {'; '.join(wrong)}; put the old values back")
    return recipe.with_options(**values)


def load_run(path: str | Path, device: torch.device | str = "cpu", which: str = "best") -> TrainedRun:
    """Rebuild a run's model and guide and load their weights.

    Args:
        path: the run's folder.
        device: device of model, guide and test videos.
        which: "best" validation bound, or "last".

    Raises:
        ValueError: if the folder is no run, has no checkpoint yet, is damaged, or was made by another version; or if
            its videos are not those that it was trained on.
        FileNotFoundError: if the videos that it was given are not there any more.
    """
    folder = RunFolder.open(path)
    check_sources(folder.config, folder.path)
    recipe = recipe_of(folder.config)
    check_data_set(folder.config, folder.path, recipe.videos.data_set())
    model, guide = _built(recipe, folder)
    step = folder.load_weights(model, guide, which)
    model.to(device).eval()
    guide.to(device).eval()
    return TrainedRun(folder, recipe, model, guide, recipe.splits().test.to(device), step)


def _built(recipe: Recipe, folder: RunFolder) -> tuple[nn.Module, nn.Module]:
    """Model and guide of a configuration from a file, which may hold any numbers."""
    try:
        return recipe.build()
    except (ArithmeticError, LookupError, MemoryError, RuntimeError, TypeError, ValueError) as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)  # torch adds its C++ stack below
        raise ValueError(f"{folder.path / CONFIG}: no model can be built from its fields ({reason})") from error
