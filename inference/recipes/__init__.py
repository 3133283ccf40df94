"""Recipes: videos, a model with its guide, and a training, each reproducing one row of one paper.

A new recipe of the library needs no registration: the tuples `RECIPES` of all modules in this package are collected
here. Others are registered by a program, or found through the entry points of installed packages; see `Recipes`.
"""

import importlib
import pkgutil
from typing import Any

from inference.recipes.given_videos import on_videos
from inference.recipes.options import OptionError
from inference.recipes.recipe import Pair, Recipe, Splits, Training, Videos
from inference.recipes.registry import Recipes
from inference.recipes.simulated_videos import SimulatedVideos


def _found() -> dict[str, Recipe[Any, Any, Any]]:
    found: dict[str, Recipe[Any, Any, Any]] = {}
    for module in sorted(one.name for one in pkgutil.iter_modules(__path__)):
        for recipe in getattr(importlib.import_module(f"{__name__}.{module}"), "RECIPES", ()):
            if recipe.name in found:
                raise ValueError(f"recipes: expected different names, got {recipe.name!r} twice; rename one")
            found[recipe.name] = recipe
    return found


RECIPES = Recipes(_found())
"""Name on the command line -> recipe."""

register = RECIPES.register

__all__ = [
    "RECIPES",
    "OptionError",
    "Pair",
    "Recipe",
    "Recipes",
    "SimulatedVideos",
    "Splits",
    "Training",
    "Videos",
    "on_videos",
    "register",
]
