"""Recipes by name: the library's own, those that a program registers, and those of installed packages."""

import importlib.metadata
import logging
from collections.abc import Iterator, Mapping
from typing import Any

from inference.recipes.recipe import Recipe

ENTRY_POINTS = "kinema.recipes"
"""Group of entry points; each names a recipe, or several in a list or tuple, such as `my_package.recipes:RECIPES`."""

_log = logging.getLogger(__name__)


class Recipes(Mapping[str, Recipe[Any, Any, Any]]):
    """Name on the command line -> recipe.

    Entry points of installed packages are read when a name is asked for that is not known yet, or when all are listed.

    Args:
        own: the library's own recipes, which no other can replace.
    """

    def __init__(self, own: Mapping[str, Recipe[Any, Any, Any]]) -> None:
        self._own = dict(own)
        self._others: dict[str, Recipe[Any, Any, Any]] = {}
        self._entry_points_are_read = False

    def __getitem__(self, name: str) -> Recipe[Any, Any, Any]:
        """The recipe of this name.

        Raises:
            KeyError: if there is none.
        """
        if name in self._own:
            return self._own[name]
        if name not in self._others:
            self._read_entry_points()
        return self._others[name]

    def __iter__(self) -> Iterator[str]:
        self._read_entry_points()
        return iter([*self._own, *self._others])

    def __len__(self) -> int:
        self._read_entry_points()
        return len(self._own) + len(self._others)

    def register(self, recipe: Any) -> None:
        """Add a recipe, so that runs of it load and the command line knows it.

        A recipe of the same name that was registered before is replaced, as when a notebook's cell runs again. The
        command `kinema` finds recipes of an installed package by an entry point in its pyproject.toml:

            [project.entry-points."kinema.recipes"]
            mine = "my_package.recipes:RECIPES"

        Args:
            recipe: a `Recipe` with a name that none of the library's own recipes has.

        Raises:
            TypeError: if it is no recipe.
            ValueError: if the name is one of the library's own.
        """
        if not isinstance(recipe, Recipe):
            raise TypeError(f"recipe: expected a Recipe, got {recipe!r}; see inference.recipes.Recipe")
        if recipe.name in self._own:
            raise ValueError(
                f"recipe: expected a name of its own, got {recipe.name!r}, which the library has; "
                "use recipe.named(NAME)"
            )
        self._others[recipe.name] = recipe

    def _read_entry_points(self) -> None:
        if self._entry_points_are_read:
            return
        self._entry_points_are_read = True  # first: a package that is loaded may itself list the recipes
        for point in importlib.metadata.entry_points(group=ENTRY_POINTS):
            try:
                found = point.load()
                for recipe in [found] if isinstance(found, Recipe) else found:
                    self.register(recipe)
            except Exception as error:  # a package that is broken, whatever it raises, leaves the others usable
                package = point.dist.name if point.dist else "a package"
                _log.warning("recipes of %s (%s) are left out: %s", package, point.value, error)
