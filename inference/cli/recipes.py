"""`kinema recipes`, and recipes by name."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from inference.cli.words import choose, parse
from inference.recipes import RECIPES, Recipe
from inference.recipes.recipe import PARTS


def recipes(words: Sequence[str]) -> int:
    """List the recipes."""
    parse(words, prog="kinema recipes", description=str(recipes.__doc__))
    width = max(map(len, RECIPES))
    for name, recipe in RECIPES.items():
        steps = f"{recipe.num_steps:6} steps of {recipe.training.batch_size:3}"
        print(f"{name:{width}}  {recipe.videos.world:12} {steps}   {recipe.paper}")
    print("\nkinema train RECIPE --help lists a recipe's options with their default values")
    return 0


def recipe_named(words: Sequence[str], *, prog: str, description: str) -> Recipe:
    """The recipe that the first word names.

    Args:
        words: words of the command line after the command.
        prog: the command.
        description: one sentence for its help.

    Raises:
        OptionError: if there is no such recipe; suggests the nearest.
        SystemExit: after the help with all recipes was shown, or what is missing.
    """
    papers = {name: recipe.paper for name, recipe in RECIPES.items()}
    return RECIPES[choose("recipe", papers, words[:1], prog=prog, description=description)]


def with_words(
    recipe: Recipe, words: Sequence[str], *, prog: str, description: str = "", **groups: Any
) -> tuple[Recipe, Any]:
    """The recipe with some options replaced, and the options of other groups.

    Args:
        recipe: a recipe.
        words: words of the command line after its name.
        prog: the command before them.
        description: one sentence for its help.
        groups: see `inference.cli.words.parse`.

    Raises:
        OptionError: if an option has an invalid value.
        SystemExit: after the help was shown, or an error that names the option and suggests similar ones.
    """
    parts = {part: getattr(recipe, part) for part in PARTS}
    options = parse(words, prog=prog, description=description, **groups, **parts)
    return replace(recipe, **{part: getattr(options, part) for part in PARTS}), options
