"""Recipes, each of which reproduces one row of one paper: videos, a pair of model and guide, and a training.

Every module of this package that has a tuple `RECIPES` adds them to the list; nothing else needs an edit.
"""

import importlib
import pkgutil
from typing import Any

from inference.recipes.options import OptionError
from inference.recipes.recipe import Recipe, Splits


def _found() -> dict[str, Recipe[Any, Any, Any]]:
    found: dict[str, Recipe[Any, Any, Any]] = {}
    for module in sorted(one.name for one in pkgutil.iter_modules(__path__)):
        for recipe in getattr(importlib.import_module(f"{__name__}.{module}"), "RECIPES", ()):
            if recipe.name in found:
                raise ValueError(f"recipes: expected different names, got {recipe.name!r} twice; rename one")
            found[recipe.name] = recipe
    return found


RECIPES = _found()
"""Name on the command line -> recipe."""

__all__ = ["RECIPES", "OptionError", "Recipe", "Splits"]
